"""Ray Serve in a network of its own, seen from outside: its sockets are out of reach. The test itself: rayserve_alone.py."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ... import needs
from .alone import NOT_ALLOWED
from .sockets import Listening, listening, listening_in, network_of, processes_in

HERE = Path(__file__).parent
ALONE = [sys.executable, str(HERE / "alone.py")]


@pytest.fixture
def alone(until):
    """`alone(command, **environment)` starts a command in a network of its own: (process, network)."""
    tried = subprocess.run([*ALONE, "true"], check=False, capture_output=True, text=True, timeout=60)
    needs.given(tried.returncode != NOT_ALLOWED, tried.stderr.strip())
    assert tried.returncode == 0, tried.stderr
    running = []

    def start(*command, **environment):
        process = subprocess.Popen(
            [*ALONE, *command],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        until(lambda: network_of(process.pid) != network_of() or process.poll() is not None)
        running.append((process, network_of(process.pid)))
        return running[-1]

    yield start
    for process, network in running:
        # Never in everybody's network: there they are not ours.
        for pid in processes_in(network) if network not in (None, network_of()) else [process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(20)
        process.stdout.close()


def reach(address, port):
    """What the system says to somebody outside who tries to connect."""
    with socket.socket() as outside:
        outside.settimeout(5)
        return outside.connect_ex((address, port))


@pytest.mark.timeout(400)
def test_ray_serve_is_out_of_reach(alone, framework, until, tmp_path):
    """Counts and percentiles are the client's own, and nobody outside has a way to what Ray listens on."""
    framework("rayserve")
    process, network = alone(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "rayserve_alone.py")),
        NINESIGHT_TOLD_TO=str(tmp_path),
        NINESIGHT_REQUIRE_REAL="1",
    )
    told = tmp_path / "listening.json"
    until(lambda: told.exists() or process.poll() is not None, 300.0)
    assert told.exists(), process.communicate(timeout=60)[0]
    inside = [Listening(*each) for each in json.loads(told.read_text())]
    assert not all(each.loopback for each in inside), "Ray learned to listen on loopback alone: this may go"

    theirs = processes_in(network)
    assert {each.inode for each in listening(theirs, process.pid)} >= {each.inode for each in inside}
    assert not listening(theirs), "a socket of Ray's is in everybody's network"
    free = {each.port for each in inside} - {each.port for each in listening_in()}
    assert free
    assert {reach("127.0.0.1", port) for port in free} == {errno.ECONNREFUSED}
    (tmp_path / "looked").touch()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "1 passed" in said
    until(lambda: not processes_in(network))
