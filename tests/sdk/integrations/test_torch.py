"""PyTorch in its own environment: the example of its page on a real module, judged by its user's log."""

import json
from pathlib import Path

BATCHES = [1, 2, 3, 1, 5, 8, 2, 1, 3, 13] * 4
PROGRAM = Path(__file__).with_name("frameworks") / "torch_passes.py"


def test_counts_and_percentiles_are_the_callers_own(example, framework, serve, until):
    """Alone a pass is a call; inside a call it is a stage; a pass that raised is an error; removed hooks say nothing."""
    python = framework("torch")
    folder = example("pytorch.md")
    client = serve(
        folder,
        str(PROGRAM),
        json.dumps(BATCHES),
        python=python,
        metrics_port=True,
        PYTHONPATH=str(folder),
        METRICS_PORT="{metrics_port}",
    )
    until((folder / "log.json").exists, 120.0)
    client.log = json.loads((folder / "log.json").read_text())
    assert [rows for rows, *_ in client.log] == [*BATCHES, 1]
    ranker = {"model": "ranker", "version": "3"}
    until(lambda: client.total("model_requests_total", **ranker) == len(BATCHES) + 1)
    assert client.total("model_requests_total", outcome="ok", **ranker) == len(BATCHES)
    assert client.total("model_requests_total", outcome="error", **ranker) == 1
    assert client.total("model_predictions_total", **ranker) == sum(BATCHES)
    assert client.total("model_loaded", **ranker) == 1
    assert client.total("model_requests_in_flight", model="ranker") == 0
    busy = client.total("model_accelerator_seconds_total", model="ranker", gpu="cpu", basis="wall")
    assert 0.005 * sum(rows for rows, *_ in client.log) * 0.99 <= busy <= sum(took for *_, took in client.log)
    client.check_durations("ranker", lambda rows: 0.005 * rows, lambda status: True)
    assert client.total("model_requests_total", model="search", outcome="ok") == 1
    assert client.total("model_predictions_total", model="search") == 3
    search = {"model": "search", "stage": "inference"}
    assert client.total("model_stage_duration_seconds_count", **search) == 1
