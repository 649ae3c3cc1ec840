"""Ray Serve, BentoML and MLServer, each in the environment that `make frameworks` made, judged by the client's log."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest

TOO_MANY = 40
BATCHES = [*[1, 2, 3, 1, 5, 8, 2, 1, 3, 13] * 2, TOO_MANY, TOO_MANY]


def check(client, until, rows_of, answers):
    """What all three share: outcomes, predictions, stages and percentiles are the client's own."""
    assert Counter(status for _, status, _ in client.log) == answers
    served = [rows_of(body) for body, status, _ in client.log if status == 200]
    for outcome, count in (("ok", len(served)), ("shed", len(client.log) - len(served))):
        until(
            lambda outcome=outcome, count=count: (
                client.total("model_requests_total", model="sentiment", outcome=outcome) == count
            ),
            60.0,
        )
    assert client.total("model_requests_total", model="sentiment") == len(client.log)
    assert client.total("model_predictions_total", model="sentiment") == sum(served)
    inference = {"model": "sentiment", "stage": "inference"}
    until(lambda: client.total("model_stage_duration_seconds_count", **inference) == len(served))
    assert client.total("model_ready", model="sentiment") == 1
    assert client.total("model_loaded", model="sentiment") == 1
    assert client.total("model_requests_in_flight", model="sentiment") == 0
    client.check_durations("sentiment", lambda body: 0.01 * rows_of(body))


def texts(count):
    return {"texts": ["text"] * count}


def texts_of(body):
    return len(body["texts"])


RAY = """
import os, runpy
import ray

ray.init(
    num_cpus=1,
    include_dashboard=False,
    object_store_memory=80 * 2**20,
    _node_ip_address="127.0.0.1",
    _temp_dir=os.environ["RAY_FILES"],
)
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.fixture
def ray_files():
    """A short folder for Ray's files: the paths of its sockets must fit into 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.timeout(300)
def test_ray_serve_counts_over_its_replicas(example, framework, ray_files, serve, until):
    """Two replicas, each an actor's process; shed requests by the exception's status. One CPU, no dashboard."""
    client = serve(
        example("rayserve.md"),
        "-c",
        RAY,
        python=framework("rayserve"),
        PORT="{port}",
        RAY_FILES=str(ray_files),
        RAY_USAGE_STATS_ENABLED="0",
        timeout_s=200.0,
    )
    client.many([("/predict", texts(count)) for count in BATCHES])
    check(client, until, texts_of, {200: 20, 429: 2})


def test_bentoml_counts_over_its_workers(example, framework, serve, until):
    """The middleware in each worker's process, its metrics beside BentoML's own; batches once for the device."""
    python = framework("bentoml")
    client = serve(
        example("bentoml.md"),
        "-m",
        "bentoml",
        "serve",
        "app:Sentiment",
        "--port",
        "{port}",
        "--host",
        "127.0.0.1",
        python=python,
        metrics_path="/ninesight/",
        BENTOML_DO_NOT_TRACK="True",
        timeout_s=120.0,
    )
    client.many([("/predict", texts(count)) for count in BATCHES])
    check(client, until, texts_of, {200: 20, 429: 2})
    embedder = {"model": "embedder", "version": "3"}
    client.log = []
    client.many([("/embed", texts(count)) for count in range(1, 9)], threads=8)
    assert [status for _, status, _ in client.log] == [200] * 8
    until(lambda: client.total("model_requests_total", outcome="ok", **embedder) == 8)
    until(lambda: client.total("model_batch_size_sum", **embedder) == 36)
    runs = client.total("model_batch_size_count", **embedder)
    assert 1 <= runs <= 8
    seconds = client.total("model_accelerator_seconds_total", gpu="cpu", basis="wall", **embedder)
    assert 0.02 * runs <= seconds <= sum(took for *_, took in client.log)
    client.check_durations("embedder", lambda body: 0.02)


MLSERVER_PATH = "/v2/models/sentiment/infer"


@pytest.fixture
def mlserver(example, framework, serve, until):
    """`mlserver(workers, **settings)` starts the page's model with its settings; returns a client of it."""

    def start(workers, **settings):
        python = framework("mlserver")
        folder = example("mlserver.md")
        settings = {"name": "sentiment", "implementation": "app.Sentiment", **settings}
        (folder / "model-settings.json").write_text(json.dumps(settings))
        client = serve(
            folder,
            "-c",
            "from mlserver.cli import main; main()",
            "start",
            ".",
            python=python,
            metrics_port=True,
            timeout_s=120.0,
            METRICS_PORT="{metrics_port}",
            MLSERVER_HOST="127.0.0.1",
            MLSERVER_HTTP_PORT="{port}",
            MLSERVER_GRPC_PORT="0",
            MLSERVER_METRICS_PORT="0",
            MLSERVER_PARALLEL_WORKERS=str(workers),
        )
        # Behind the balancer a model is ready when every worker has it.
        until(lambda: client.post(MLSERVER_PATH, rows(1))[0] == 200, 60.0)
        client.log = [row for row in client.log if row[1] == 200]
        return client

    return start


def rows(count):
    """A request of MLServer's protocol."""
    tensor = {"name": "x", "shape": [count, 4], "datatype": "FP32", "data": [1.0] * (4 * count)}
    return {"inputs": [tensor]}


def rows_of(body):
    return body["inputs"][0]["shape"][0]


@pytest.mark.parametrize("workers", [0, 2])
def test_mlserver_counts_its_models(mlserver, until, workers):
    """The model in the server's process, or in two of its own; scraped on the port that one of them opened."""
    client = mlserver(workers)
    client.many([(MLSERVER_PATH, rows(count)) for count in BATCHES])
    check(client, until, rows_of, {200: 21, 429: 2})


def test_mlserver_merges_requests_into_batches(mlserver, until):
    """Adaptive batching: calls are batches, at most one a request; predictions are those of the requests."""
    client = mlserver(0, max_batch_size=2, max_batch_time=0.2)
    client.many([(MLSERVER_PATH, rows(count)) for count in BATCHES if count < TOO_MANY])
    assert [status for _, status, _ in client.log] == [200] * 21
    served = sum(rows_of(body) for body, *_ in client.log)
    until(lambda: client.total("model_predictions_total", model="sentiment") == served)
    assert 11 <= client.total("model_requests_total", model="sentiment", outcome="ok") < 21
