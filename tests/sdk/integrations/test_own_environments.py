"""Ray Serve, BentoML and MLServer, each in the virtual environment that an environment variable names."""

import os
import subprocess

import pytest

BATCHES = [1, 2, 3, 1, 5, 8, 2, 1, 3, 13] * 2


def python_of(name, module):
    """The Python that has the framework and ninesight, or a skip with the reason."""
    variable = f"NINESIGHT_PYTHON_{name}"
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} does not name a Python that has {module}")
    done = subprocess.run(
        [path, "-c", f"import {module}, ninesight"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return path


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


def test_ray_serve_counts_over_its_replicas(example, serve, until):
    """Two replicas, each an actor's process; a shed request by the exception's status."""
    python = python_of("RAY", "ray.serve")
    client = serve(
        example("rayserve.md"),
        "app.py",
        python=python,
        PORT="{port}",
        RAY_USAGE_STATS_ENABLED="0",
        timeout_s=170.0,
    )
    client.many([("/predict", texts(count)) for count in BATCHES])
    assert {status for _, status, _ in client.log} == {200}
    check(client, until, len(BATCHES), seconds_of)
    assert client.post("/predict", texts(40))[0] == 429
    until(lambda: client.total("model_requests_total", model="sentiment", outcome="shed") == 1)


def test_bentoml_counts_over_its_workers(example, serve, until):
    """The middleware in each worker's process; its metrics beside BentoML's own."""
    python = python_of("BENTOML", "bentoml")
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


def test_mlserver_counts_its_models(example, serve, until):
    """The model in the server's process, scraped on the port it opened."""
    python = python_of("MLSERVER", "mlserver")
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
