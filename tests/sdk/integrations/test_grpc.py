"""Real gRPC servers, of threads and of asyncio: the example of the page, judged by the client's log."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ... import needs

grpc = needs.package("grpc", "pip install ninesight[grpc]")

BATCHES = [1, 2, 3, 1, 5, 8, 2, 1, 3, 13] * 2
CODING = {
    "request_serializer": lambda message: json.dumps(message).encode(),
    "response_deserializer": json.loads,
}


def body(count, model="sentiment"):
    return {"model": model, "texts": ["text"] * count}


@pytest.mark.parametrize("kind", ["threads", "aio"])
def test_counts_and_percentiles_are_the_clients_own(example, serve, until, kind):
    """Unary and streaming, shed by status, given up by deadline, cancelled by the client."""
    settings = {"PORT": "{port}", "METRICS_PORT": "{metrics_port}", **({"AIO": "1"} if kind == "aio" else {})}
    client = serve(example("grpc.md"), "app.py", metrics_port=True, **settings)
    with grpc.insecure_channel(f"127.0.0.1:{client.port}") as channel:
        grpc.channel_ready_future(channel).result(30)
        predict = channel.unary_unary("/example.Predictor/Predict", **CODING)
        stream = channel.unary_stream("/example.Predictor/Stream", **CODING)

        def ask(count):
            start = time.perf_counter()
            assert len(predict(body(count), timeout=60)["scores"]) == count
            client.log.append((count, 200, time.perf_counter() - start))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, BATCHES))
        with pytest.raises(grpc.RpcError) as shed:
            predict(body(40), timeout=60)
        assert shed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(list(stream(body(4, "streams"), timeout=60))) == 4
        running = stream(body(2000, "leaves"), timeout=60)
        next(running)
        running.cancel()
        until(lambda: client.total("model_requests_total", model="leaves", outcome="cancelled") == 1, 60.0)
    until(lambda: client.total("model_requests_total", model="sentiment") == len(BATCHES) + 1)
    assert client.total("model_requests_total", model="sentiment", outcome="ok") == len(BATCHES)
    assert client.total("model_requests_total", model="sentiment", outcome="shed") == 1
    assert client.total("model_requests_total", model="streams", outcome="ok") == 1
    assert client.total("model_time_to_first_token_seconds_count", model="streams") == 1
    inference = {"model": "sentiment", "stage": "inference"}
    assert client.total("model_stage_duration_seconds_count", **inference) == len(BATCHES)
    client.check_durations("sentiment", lambda count: 0.01 * count)
