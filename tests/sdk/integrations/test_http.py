"""FastAPI under uvicorn, Flask under gunicorn, LitServe: the examples of their pages, judged by the client's log."""

import contextlib
import http.client
import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from ... import needs
from .sockets import processes_of

COMMANDS = {
    "fastapi": ("fastapi.md", "-m", "uvicorn", "app:app", "--port", "{port}", "--log-level", "error"),
    "flask": (
        "flask.md",
        "-m",
        "gunicorn",
        "app:app",
        "-w",
        "3",
        "-b",
        "127.0.0.1:{port}",
        "--log-level",
        "error",
    ),
}

BATCHES = [1, 2, 3, 1, 5, 8, 2, 1, 3, 13] * 4


def texts(count):
    return {"texts": ["text"] * count}


@pytest.fixture(params=COMMANDS)
def client(request, example, serve):
    """A client of each framework's example."""
    needs.package("uvicorn" if request.param == "fastapi" else "gunicorn")
    needs.package(request.param)
    page, *command = COMMANDS[request.param]
    return serve(example(page), *command)


def test_counts_and_percentiles_are_the_clients_own(client, until):
    """Requests by outcome and tenant, predictions, stages; quantiles within the client's."""
    asks = [("/predict", texts(count), {"x-tenant": f"t{count % 2}"}) for count in BATCHES]
    asks += [("/predict", texts(0)), ("/predict", texts(33)), ("/predict", texts(40))]
    client.many(asks)
    statuses = Counter(status for _, status, _ in client.log)
    assert statuses == {200: len(BATCHES), 422: 1, 429: 2}
    until(lambda: client.total("model_requests_total", model="sentiment") == len(asks))
    for outcome, count in (("ok", len(BATCHES)), ("error", 1), ("shed", 2), ("cancelled", 0)):
        assert client.total("model_requests_total", model="sentiment", version="3", outcome=outcome) == count
    for tenant in ("t0", "t1"):
        expected = sum(ask[2]["x-tenant"] == tenant for ask in asks if ask[2:])
        assert client.total("model_requests_total", model="sentiment", tenant=tenant) == expected
    assert client.total("model_predictions_total", model="sentiment") == sum(BATCHES)
    assert client.total("model_stage_duration_seconds_count", model="sentiment", stage="inference") == len(
        BATCHES
    )
    assert client.total("model_requests_in_flight", model="sentiment") == 0
    client.log = [row for row in client.log if row[1] == 200]
    for tenant in ("t0", "t1"):
        only = type(client)(client.port)
        only.log = [row for row in client.log if f"t{len(row[0]['texts']) % 2}" == tenant]
        only.check_durations("sentiment", lambda body: 0.01 * len(body["texts"]), tenant=tenant)


def test_streams_have_a_pace_and_readers_may_go_away(client, until):
    """Five pieces, 10 ms each; one reader leaves after the first piece of a long one."""
    for _ in range(4):
        assert client.post("/stream", texts(5))[0] == 200
    until(lambda: client.total("model_time_to_first_token_seconds_count", model="sentiment") == 4)
    low, high = client.quantile(0.5, "model_time_per_output_token_seconds", model="sentiment")
    assert high >= 0.0099
    assert low <= max(took for *_, took in client.log) / 4
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    body = json.dumps(texts(3000))
    connection.request("POST", "/stream", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read1(1)
    answer.close()
    connection.close()
    until(lambda: client.total("model_requests_total", model="sentiment", outcome="cancelled") == 1, 60.0)


def test_the_openai_example_counts_tokens_and_their_pace(example, serve, until):
    """Model from the body, usage from a whole answer and from the last chunk."""
    needs.package("fastapi")
    folder = example("openai.md")
    client = serve(folder, "-m", "uvicorn", "app:app", "--port", "{port}", "--log-level", "error")
    asks = [
        (
            "/v1/chat/completions",
            {"model": model, "stream": stream, "messages": [{"role": "user", "content": "w " * words}]},
        )
        for words in (2, 4, 8)
        for stream in (False, True)
        for model in ("small", "large")
    ]
    client.many(asks)
    assert {status for _, status, _ in client.log} == {200}
    for model in ("small", "large"):
        until(lambda model=model: client.total("model_requests_total", model=model, outcome="ok") == 6)
        assert client.total("model_tokens_total", model=model, direction="output") == 28
        assert client.total("model_tokens_total", model=model, direction="input") == 28
        assert client.total("model_time_to_first_token_seconds_count", model=model) == 3
        low, _ = client.quantile(0.5, "model_time_to_first_token_seconds", model=model)
        _, high = client.quantile(0.5, "model_time_to_first_token_seconds", model=model)
        assert high >= 0.03 * 0.98
        assert low <= max(took for *_, took in client.log)
        only = type(client)(client.port)
        only.log = [row for row in client.log if row[0]["model"] == model]
        only.check_durations(model, lambda body: 0.02 + 0.01 * len(body["messages"][0]["content"].split()))
    assert client.total("model_requests_total", model="unknown") == 0


def test_litserve_is_seen_from_its_server_and_its_workers(example, serve, until):
    """Requests in the server's process, stages and accelerator time in the workers': one scrape has both."""
    needs.package("litserve")
    client = serve(example("litserve.md"), "app.py", PORT="{port}")
    until(lambda: client.post("/predict", texts(1))[0] == 200, 60.0)
    until(lambda: client.total("model_stage_duration_seconds_count", model="sentiment", stage="postprocess"))
    answered = sum(status == 200 for _, status, _ in client.log)
    client.many([("/predict", texts(count)) for count in BATCHES])
    count = answered + len(BATCHES)
    client.log = [row for row in client.log if row[1] == 200]
    assert len(client.log) == count
    until(lambda: client.total("model_requests_total", model="sentiment", outcome="ok") == count)
    for stage in ("preprocess", "inference", "postprocess"):
        until(
            lambda stage=stage: (
                client.total("model_stage_duration_seconds_count", model="sentiment", stage=stage) == count
            )
        )
    assert client.total("model_loaded", model="sentiment") == 1
    seconds = client.total("model_accelerator_seconds_total", model="sentiment", basis="wall")
    assert seconds >= 0.01 * sum(BATCHES)
    client.check_durations("sentiment", lambda body: 0.01 * len(body["texts"]))


def test_litserve_goes_down_with_a_killed_worker_and_counts_on_when_it_is_back(example, serve, until):
    """LitServe replaces no worker: it ends. What was counted is in the folder, once, for the next one to tell."""
    needs.package("litserve")
    needs.given(Path("/proc/self").exists(), "this system has no /proc to find workers in")
    folder = example("litserve.md")
    model = {"model": "sentiment"}
    counted = 0
    for asked in (20, 5):
        client = serve(folder, "app.py", PORT="{port}")
        until(lambda client=client: client.post("/predict", texts(1))[0] == 200, 60.0)
        client.many([("/predict", texts(1))] * asked)
        assert [status for _, status, _ in client.log[-asked:]] == [200] * asked
        counted += sum(status == 200 for _, status, _ in client.log)
        until(
            lambda client=client, counted=counted: (
                client.total("model_requests_total", outcome="ok", **model) == counted
                and client.total("model_stage_duration_seconds_count", stage="inference", **model) == counted
            )
        )
        worker = max(pid for pid in processes_of(client.session) if "spawn_main" in command_of(pid))
        os.kill(worker, signal.SIGKILL)
        until(lambda client=client: not client.answers(), 60.0)


def command_of(pid):
    """The words a process was started with; none once it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""
