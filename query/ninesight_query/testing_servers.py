"""For tests: real servers of other makers, started on a free port of 127.0.0.1 and stopped afterwards."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["free_port", "running_prometheus", "running_victoria_metrics"]

_START_S_MAX = 60.0
_PORT_MIN, _PORT_MAX = 15_000, 32_000
"""Below the range from which systems give ports to outgoing connections and to whoever binds port 0."""
_TRIES = 3
"""Another process may take a free port before the server does."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has, out of those that no outgoing connection gets by chance."""
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(_PORT_MIN, _PORT_MAX)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def running_prometheus(
    binary: str, folder: Path, *, config: str = "scrape_configs: []\n", options: Sequence[str] = ()
) -> Iterator[str]:
    """Run Prometheus with its data in `folder/tsdb`, log in `folder/prometheus.log`; yields its address."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(config)
    command = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--storage.tsdb.retention.time=100y",
        "--web.enable-remote-write-receiver",
        "--enable-feature=native-histograms",
        *options,
    ]
    with _running(command, "--web.listen-address", "/-/ready", folder / "prometheus.log") as address:
        yield address


@contextlib.contextmanager
def running_victoria_metrics(binary: str, folder: Path, *, options: Sequence[str] = ()) -> Iterator[str]:
    """Run VictoriaMetrics with its data in `folder/data`, log in `folder/victoria.log`; yields its address."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        binary,
        f"-storageDataPath={folder / 'data'}",
        "-retentionPeriod=100y",
        "-memory.allowedBytes=268435456",
        *options,
    ]
    with _running(command, "-httpListenAddr", "/health", folder / "victoria.log") as address:
        yield address


@contextlib.contextmanager
def _running(command: Sequence[str], listen: str, health: str, log: Path) -> Iterator[str]:
    for left in reversed(range(_TRIES)):
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        with log.open("wb") as out:
            process = subprocess.Popen([*command, f"{listen}=127.0.0.1:{port}"], stdout=out, stderr=out)
        try:
            if _answers(process, address + health) or not left:
                assert process.poll() is None, f"{command[0]} ended at start:\n{log.read_text()[-2000:]}"
                yield address
                return
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    """Wait until it answers; False where it ended before, or time ran out."""
    deadline = time.monotonic() + _START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own loopback address
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return False
