"""Real servers with several workers: killed and replaced under load, and /metrics tells the client's own count."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .. import needs
from ..ports import free_port

needs.package("fcntl", "file locks as Linux and macOS have them")

HERE = Path(__file__).parent


class Served:
    """One running server and what its client saw."""

    def __init__(self, process, port):
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.answered = 0
        self.pids = set()

    def predict(self):
        """Ask once; True if it was answered. A connection to a worker that is dying may break."""
        with (
            contextlib.suppress(OSError, HTTPException),
            urllib.request.urlopen(f"{self.url}/predict", timeout=30) as answer,
        ):
            self.pids.add(int(answer.read()))
            self.answered += 1
            return True
        return False

    def count(self):
        """Scrape; None if the worker that was asked died over it."""
        text = None
        with (
            contextlib.suppress(OSError, HTTPException),
            urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer,
        ):
            text = answer.read().decode()
        if text is None:
            return None
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "model_requests_total" and sample.labels["model"] == "served"
        )


COMMANDS = {
    "gunicorn": ["gunicorn", "-w", "4", "-b", "127.0.0.1:{port}", "--log-level", "error", "served_wsgi:app"],
    "uvicorn": ["uvicorn", "--workers", "4", "--port", "{port}", "--log-level", "error", "served_asgi:app"],
}


@pytest.fixture(params=COMMANDS)
def served(request, tmp_path, until):
    """A server of each kind with four workers."""
    needs.package(request.param)
    port = free_port()
    words = [word.format(port=port) for word in COMMANDS[request.param]]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NINESIGHT_", "OTEL_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=HERE,
        env={**clean, "NINESIGHT_MULTIPROCESS_DIR": str(tmp_path / "shared")},
        start_new_session=True,
    )
    found = Served(process, port)
    try:
        until(found.predict, 60.0)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_totals_are_the_clients_own_over_workers_that_are_killed(served, until, tmp_path):
    """Exact while workers are killed at rest; under load never more than asked, never less than was shown."""
    until(lambda: served.predict() and len(served.pids) >= 2, 60.0)
    for _ in range(3):
        for _ in range(20):
            served.predict()
        until(lambda: served.count() == served.answered)
        victim = served.pids.pop()
        os.kill(victim, signal.SIGKILL)
        until(served.predict, 60.0)  # Somebody answers again.
    until(lambda: served.count() == served.answered)

    shown = until(served.count)
    asked = served.answered
    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline:
        asked += 1
        served.predict()
        if asked % 20 == 0:
            found = until(served.count)
            assert shown <= found <= asked
            shown = found
        if asked % 60 == 0 and served.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(served.pids.pop(), signal.SIGKILL)
            assert until(served.count, 30.0) >= shown
    files = list((tmp_path / "shared").iterdir())
    assert len(files) <= 2 * 5 + 4, files
