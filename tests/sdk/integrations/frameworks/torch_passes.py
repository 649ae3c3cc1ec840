"""Run by test_torch.py in PyTorch's environment, beside the page's example: passes from four threads, and their log.

Argument: the rows of each pass, as JSON. Writes log.json ([[rows, status, seconds], ...]) when all are done, then
goes on answering scrapes until it is ended.
"""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import app
import ninesight
import torch

SECONDS_A_ROW = 0.005


def main() -> None:
    """Pass, log, wait."""
    forward = app.module.forward

    def slowed(rows: torch.Tensor) -> torch.Tensor:
        time.sleep(SECONDS_A_ROW * len(rows))  # Time that is known, for percentiles that are judged.
        return forward(rows)

    def timed(rows: int, width: int = 4) -> tuple[int, int, float]:
        start = time.perf_counter()
        try:
            assert app.rank(torch.ones(rows, width)).shape == (rows, 2)
            status = 200
        except RuntimeError:
            status = 500
        return rows, status, time.perf_counter() - start

    app.module.forward = slowed
    with ThreadPoolExecutor(4) as pool:
        log = list(pool.map(timed, json.loads(sys.argv[1])))
    log.append(timed(1, 3))
    app.search(torch.ones(3, 4))
    app.observed.remove()
    app.rank(torch.ones(1, 4))
    ninesight.serve_metrics(int(os.environ["METRICS_PORT"]))
    Path("log.new").write_text(json.dumps(log))
    Path("log.new").rename("log.json")
    threading.Event().wait()


if __name__ == "__main__":
    main()
