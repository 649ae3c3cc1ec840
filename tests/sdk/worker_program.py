"""A worker for test_workers.py: records calls and tells its parent, over a pipe, which are safe.

Lines in: `run N` (record N calls, flush, answer `safe TOTAL`), `more N` (record N, do not flush, answer
`done TOTAL`), `scrape` (answer the total over all workers), `fork N` (a child records N and exits), `exit`.
"""

import json
import multiprocessing
import os
import sys

import ninesight
from ninesight.api import RUNTIME
from ninesight.testing import histogram, total


@ninesight.observe(model="shared")
def work():
    return 1


def child(count):
    for _ in range(count):
        work()


def scrape():
    snapshot = RUNTIME.snapshot()
    return {
        "requests": total(snapshot, "model_requests_total", model="shared"),
        "predictions": total(snapshot, "model_predictions_total", model="shared"),
        "durations": histogram(snapshot, "model_request_duration_seconds", model="shared", version="1").count,
        "queue": total(snapshot, "model_queue_depth", model="shared"),
        "start_ns": snapshot.start_ns,
    }


def answer(words):
    if words[0] in {"run", "more"}:
        child(int(words[1]))
        return ninesight.flush() if words[0] == "run" else True
    if words[0] == "fork":
        pid = os.fork()
        if pid == 0:
            child(int(words[1]))
            ninesight.shutdown()
            os._exit(0)
        return os.waitpid(pid, 0)[1] == 0
    if words[0] == "spawn":
        process = multiprocessing.get_context(words[2]).Process(target=child, args=(int(words[1]),))
        process.start()
        process.join()
        return process.exitcode == 0
    assert words[0] == "scrape", words
    return scrape()


if __name__ == "__main__":
    ninesight.model("shared").queue_depth(1)
    for line in sys.stdin:
        if line.strip() == "exit":
            break
        sys.stdout.write(json.dumps(answer(line.split())) + "\n")
        sys.stdout.flush()
