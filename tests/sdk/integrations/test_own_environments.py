"""BentoML and MLServer, each in the environment that `make frameworks` made, judged by the client's log."""

import json
import subprocess
from pathlib import Path

import pytest

from ...ports import free_port
from .judged import BATCHES, TOO_MANY, check, texts, texts_of


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


HERE = Path(__file__).parent
MLSERVER_PATH = "/v2/models/sentiment/infer"


@pytest.fixture
def mlserver(example, framework, serve, until):
    """`mlserver(workers, **settings)` starts the page's model with its settings; returns a client of it."""

    def start(workers, **settings):
        python, grpc_port = framework("mlserver"), free_port()
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
            MLSERVER_GRPC_PORT=str(grpc_port),
            MLSERVER_METRICS_PORT="0",
            MLSERVER_PARALLEL_WORKERS=str(workers),
        )
        # Behind the balancer a model is ready when every worker has it.
        until(lambda: client.post(MLSERVER_PATH, rows(1))[0] == 200, 60.0)
        client.log = [row for row in client.log if row[1] == 200]
        client.grpc_port = grpc_port
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


@pytest.mark.parametrize("workers", [0, 2])
def test_mlserver_counts_what_comes_over_grpc(mlserver, framework, until, workers):
    """Unary and streaming, typed and raw tensors, from a client in MLServer's own environment; one came over HTTP."""
    client = mlserver(workers)
    ask = [framework("mlserver"), HERE / "frameworks" / "mlserver_asks.py", str(client.grpc_port)]
    ran = subprocess.run(
        [*ask, json.dumps(BATCHES)], check=False, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    client.log += [(rows(count), status, took) for count, status, took in json.loads(ran.stdout)]
    check(client, until, rows_of, {200: 21, 429: 2})


def test_mlserver_merges_requests_into_batches(mlserver, until):
    """Adaptive batching: calls are batches, at most one a request; predictions are those of the requests."""
    client = mlserver(0, max_batch_size=2, max_batch_time=0.2)
    client.many([(MLSERVER_PATH, rows(count)) for count in BATCHES if count < TOO_MANY])
    assert [status for _, status, _ in client.log] == [200] * 21
    served = sum(rows_of(body) for body, *_ in client.log)
    until(lambda: client.total("model_predictions_total", model="sentiment") == served)
    assert 11 <= client.total("model_requests_total", model="sentiment", outcome="ok") < 21
