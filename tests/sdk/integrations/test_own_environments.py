"""Ray Serve, BentoML and MLServer, each in the environment that `make frameworks` made, judged by the client's log."""

import tempfile
from pathlib import Path

import pytest

BATCHES = [1, 2, 3, 1, 5, 8, 2, 1, 3, 13] * 2


def check(client, until, count, seconds_of):
    """What all three share: requests, predictions, stages and percentiles are the client's own."""
    until(lambda: client.total("model_requests_total", model="sentiment", outcome="ok") == count, 60.0)
    assert client.total("model_predictions_total", model="sentiment") == sum(BATCHES)
    until(
        lambda: (
            client.total("model_stage_duration_seconds_count", model="sentiment", stage="inference") == count
        )
    )
    assert client.total("model_ready", model="sentiment") == 1
    assert client.total("model_loaded", model="sentiment") == 1
    assert client.total("model_requests_in_flight", model="sentiment") == 0
    client.check_durations("sentiment", seconds_of)


def texts(count):
    return {"texts": ["text"] * count}


def seconds_of(body):
    return 0.01 * len(body["texts"])


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
    """Two replicas, each an actor's process; a shed request by the exception's status. One CPU, no dashboard."""
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
    assert {status for _, status, _ in client.log} == {200}
    check(client, until, len(BATCHES), seconds_of)
    assert client.post("/predict", texts(40))[0] == 429
    until(lambda: client.total("model_requests_total", model="sentiment", outcome="shed") == 1)


def test_bentoml_counts_over_its_workers(example, framework, serve, until):
    """The middleware in each worker's process; its metrics beside BentoML's own."""
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
    assert {status for _, status, _ in client.log} == {200}
    check(client, until, len(BATCHES), seconds_of)


def test_mlserver_counts_its_models(example, framework, serve, until):
    """The model in the server's process, scraped on the port it opened."""
    python = framework("mlserver")
    folder = example("mlserver.md")
    (folder / "model-settings.json").write_text('{"name": "sentiment", "implementation": "app.Sentiment"}')
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
        # Its parallel workers do not start with the uvloop that its own pins let in.
        MLSERVER_PARALLEL_WORKERS="0",
    )
    path = "/v2/models/sentiment/infer"

    def rows(count):
        data = [1.0] * (4 * count)
        tensor = {"name": "x", "shape": [count, 4], "datatype": "FP32", "data": data}
        return {"inputs": [tensor]}

    until(lambda: client.total("model_ready", model="sentiment") == 1, 60.0)
    client.many([(path, rows(count)) for count in BATCHES])
    assert {status for _, status, _ in client.log} == {200}
    check(client, until, len(BATCHES), lambda body: 0.01 * body["inputs"][0]["shape"][0])
