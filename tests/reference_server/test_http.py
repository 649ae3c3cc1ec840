"""The server over real HTTP: protocol, errors, shedding, timeouts, faults, draining, and its own metrics."""

import asyncio
import concurrent.futures
import signal
import time

import httpx2
import numpy as np
import pytest
from ninesight.testing import isolated
from ninesight_server.config import ServerSettings
from ninesight_server.http_app import InferenceApp
from ninesight_server.onnx_mlp import LIGHT, mlp_reference, mlp_weights
from ninesight_server.slot import ModelSlot
from ninesight_server.testing import DoublingBackend
from ninesight_suite.testing import eventually, running_server

INFER = "/v2/models/digits-light/infer"


def body(rows, **changes):
    tensor = {"name": "x", "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel().tolist()}
    return {"inputs": [{**tensor, **changes}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    # Golden inputs come from the tests alone after the first: one that fell into a fault would shed requests.
    rarely = ["--golden-every", "3600"]
    with (
        running_server(tmp_path_factory.mktemp("server"), options=rarely) as running,
        httpx2.Client(base_url=running.url, timeout=60.0) as client,
    ):
        running.client = client
        yield running


def metric(client, name, **labels):
    """Read one sample of the server's own exposition."""
    from prometheus_client.parser import text_string_to_metric_families

    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


def test_it_answers_the_protocols_questions(server):
    """Server, health and model metadata have the protocol's fields."""
    assert server.client.get("/v2").json()["models"] == ["digits-light", "ranker-heavy"]
    assert server.client.get("/v2/health/live").status_code == 200
    assert server.client.get("/v2/health/ready").status_code == 200
    face = server.client.get("/v2/models/digits-light/versions/1").json()
    assert face["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}]
    assert server.client.get("/v2/models/digits-light/ready").json() == {"ready": True}


def test_answers_are_right_alone_and_under_concurrency(server):
    """Sixty requests of different sizes at once: each gets its own rows' answer, as numpy computes it."""
    layers = mlp_weights(LIGHT)
    rng = np.random.default_rng(11)
    inputs = [rng.standard_normal((1 + i % 5, 64), dtype=np.float32) for i in range(60)]

    def ask(rows):
        answer = server.client.post(INFER, json=body(rows)).raise_for_status().json()
        return np.array(answer["outputs"][0]["data"], np.float32).reshape(answer["outputs"][0]["shape"])

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for rows, found in zip(inputs, pool.map(ask, inputs), strict=True):
            np.testing.assert_allclose(found, mlp_reference(layers, rows), atol=1e-4)


def test_its_metrics_tell_the_life_of_a_model_and_its_batches(server):
    """Loaded in how long, ready, golden input right; batches by the SDK's own execution; no number twice."""
    rows = np.zeros((2, 256), np.float32)
    asked = 4
    labels = {"model": "ranker-heavy", "version": "1"}
    stage = "model_stage_duration_seconds_count"

    def counted():
        names = ("preprocess", "batch", "inference", "postprocess")
        return [metric(server.client, stage, stage=name, **labels) or 0 for name in names]

    before = counted()
    sizes = metric(server.client, "model_batch_size_sum", **labels)
    for _ in range(asked):
        server.client.post("/v2/models/ranker-heavy/infer", json=body(rows)).raise_for_status()
    assert eventually(lambda: counted() == [count + asked for count in before])
    assert metric(server.client, "model_batch_size_sum", **labels) == sizes + asked
    assert metric(server.client, stage, stage="queue", **labels) is None
    for name in ("model_loaded", "model_ready", "model_golden_check_success"):
        assert metric(server.client, name, **labels) == 1
    assert metric(server.client, "model_load_duration_seconds", **labels) > 0
    assert time.time() - metric(server.client, "model_golden_check_timestamp_seconds", **labels) < 3600
    busy = metric(server.client, "model_accelerator_seconds_total", gpu="0", basis="wall", **labels)
    assert (
        0 < busy <= metric(server.client, "model_stage_duration_seconds_sum", stage="inference", **labels) + 5
    )


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "words"),
    [
        ("POST", INFER, b"{", 400, "the body must be JSON"),
        ("POST", INFER, b'{"inputs": []}', 400, "digits-light takes the inputs ['x'], got []"),
        ("GET", INFER, b"", 405, "takes POST, got GET"),
        ("POST", "/v2/models/none/infer", b"{}", 404, "there is no model 'none'"),
        ("POST", "/v2/models/digits-light/versions/9/infer", b"{}", 404, "has the version '1'"),
        ("GET", "/nothing", b"", 404, "there is nothing at /nothing"),
        ("POST", INFER, b" " * (5 << 20), 413, "at most 4194304 bytes"),
        ("POST", "/admin/faults/digits-light", b'{"delay_ms": -1}', 400, "delay_ms must be a number from 0"),
        ("POST", "/admin/faults/digits-light", b'{"delay": 1}', 400, "a fault must be a JSON object"),
    ],
)
def test_what_is_wrong_is_said(server, method, path, content, status, words):
    """Every refusal has its status and a sentence in `error`."""
    answer = server.client.request(method, path, content=content)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_the_recorded_duration_is_told_and_counted(server):
    """Server-Timing carries the recorded duration: the sum over requests equals the histogram's."""
    before = metric(server.client, "model_request_duration_seconds_sum", model="ranker-heavy") or 0.0
    rows = np.zeros((1, 256), np.float32)
    told_s = 0.0
    for _ in range(5):
        answer = server.client.post("/v2/models/ranker-heavy/infer", json=body(rows)).raise_for_status()
        told_s += float(answer.headers["server-timing"].removeprefix("app;dur=")) / 1000.0

    def counted():
        after = metric(server.client, "model_request_duration_seconds_sum", model="ranker-heavy")
        return after is not None and abs((after - before) - told_s) < 1e-6

    assert eventually(counted, what="the sum of the told durations in the histogram")


def test_a_slow_model_times_out_and_recovers(server):
    """Under a fault of 3 s requests are 504 after 2 s; without it all is well again, and nothing was shed."""
    rows = np.zeros((1, 64), np.float32)

    def ask(_):
        return server.client.post(INFER, json=body(rows)).status_code

    shed_before = metric(server.client, "model_requests_total", model="digits-light", outcome="shed") or 0
    server.client.post("/admin/faults/digits-light", json={"delay_ms": 3000}).raise_for_status()
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert set(pool.map(ask, range(4))) == {504}
    finally:
        server.client.post("/admin/faults/digits-light", json={}).raise_for_status()
    assert eventually(lambda: ask(0) == 200)
    assert eventually(
        lambda: (
            (metric(server.client, "model_requests_total", model="digits-light", outcome="timeout") or 0) >= 4
        )
    )
    assert (
        metric(server.client, "model_requests_total", model="digits-light", outcome="shed") or 0
    ) == shed_before


def test_an_injected_error_is_a_500_and_an_error_outcome(server):
    """A faulty share of 1 makes every request fail; the outcome says error."""
    server.client.post("/admin/faults/digits-light", json={"error_ratio": 1.0}).raise_for_status()
    try:
        answer = server.client.post(INFER, json=body(np.zeros((1, 64), np.float32)))
        assert (answer.status_code, answer.json()["error"]) == (500, "injected fault")
    finally:
        server.client.post("/admin/faults/digits-light", json={}).raise_for_status()
    assert eventually(
        lambda: (
            (metric(server.client, "model_requests_total", model="digits-light", outcome="error") or 0) >= 1
        )
    )


def test_readiness_says_why_not():
    """Of the model that answers wrongly, of the server that has it, and of one that drains; live all the while."""

    async def scene():
        right, wrong = DoublingBackend("right"), DoublingBackend("wrong")
        wrong.drift = 1.0
        settings = ServerSettings(golden_every_s=3600.0)
        slots = {backend.spec.name: ModelSlot(backend, settings) for backend in (right, wrong)}
        app = InferenceApp(slots, settings)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://app") as client:

            async def said(path, **given):
                answer = await client.request("POST" if given else "GET", path, **given)
                return answer.status_code, answer.json()

            loading = await said("/v2/health/ready")
            for slot in slots.values():
                await slot.load()
            found = {
                path: await said(path)
                for path in (
                    "/v2/health/ready",
                    "/v2/health/live",
                    "/v2/models/right/ready",
                    "/v2/models/wrong/ready",
                )
            }
            rows = np.ones((1, 2), np.float32)
            shed = await said("/v2/models/wrong/infer", json=body(rows))
            app.draining = True
            draining = await said("/v2/models/right/ready")
            for slot in slots.values():
                await slot.unload()
        return loading, found, shed, draining

    with isolated():
        loading, found, shed, draining = asyncio.run(scene())
    off = "the golden input must be answered within 1e-06, was off by 1"
    reason = "right: the model is loading; wrong: the model is loading"
    assert loading == (503, {"ready": False, "reason": reason})
    assert found["/v2/models/right/ready"] == (200, {"ready": True})
    assert found["/v2/models/wrong/ready"] == (503, {"ready": False, "reason": off})
    assert found["/v2/health/ready"] == (503, {"ready": False, "reason": f"wrong: {off}"})
    assert found["/v2/health/live"] == (200, {"live": True})
    assert shed == (503, {"error": f"wrong is not ready: {off}"})
    assert draining == (503, {"ready": False, "reason": "the server is draining"})


def test_sigterm_drains(tmp_path):
    """A request under way when SIGTERM arrives is answered; the process then ends with 0."""
    with (
        running_server(tmp_path, options=["--timeout", "30"]) as running,
        httpx2.Client(base_url=running.url, timeout=60.0) as client,
    ):
        rows = np.zeros((1, 64), np.float32)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            # Longer and longer, until it is still under way when the signal is sent.
            for delay_ms in (800, 3000, 9000):
                client.post("/admin/faults/digits-light", json={"delay_ms": delay_ms}).raise_for_status()
                asked = pool.submit(lambda: client.post(INFER, json=body(rows)).status_code)
                eventually(
                    lambda asked=asked: (
                        asked.done()
                        or (metric(client, "model_requests_in_flight", model="digits-light") or 0) >= 1
                    )
                )
                if not asked.done():
                    break
            running.child._process.send_signal(signal.SIGTERM)
            assert asked.result(60) == 200
        assert running.child._process.wait(60) == 0


def test_a_full_queue_is_503_with_retry_after(tmp_path):
    """With two places in the queue and a slow batch, further requests are shed at once and counted as such."""
    rows = np.zeros((1, 64), np.float32)
    with (
        running_server(tmp_path, options=["--queue", "2"]) as running,
        httpx2.Client(base_url=running.url, timeout=60.0) as client,
        concurrent.futures.ThreadPoolExecutor(12) as pool,
    ):
        client.post("/admin/faults/digits-light", json={"delay_ms": 700}).raise_for_status()
        answers = list(pool.map(lambda _: client.post(INFER, json=body(rows)), range(12)))
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(503) >= 6
        assert statuses.count(200) + statuses.count(503) == 12
        shed = next(answer for answer in answers if answer.status_code == 503)
        assert shed.headers["retry-after"] == "1"
        assert "at most 2 requests may wait" in shed.json()["error"]
        assert eventually(
            lambda: (
                metric(client, "model_requests_total", model="digits-light", outcome="shed")
                == statuses.count(503)
            )
        )
