"""A server process, and a client on plain sockets: it must not be what the server waits for."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

CONNECTIONS = 8

ROWS = {"model": [[(row * 32 + place) % 97 / 97 for place in range(32)] for row in range(64)]}
ROWS["rows"] = [[0.1] * 16] * 4


def request_of(path: str, rows: list[list[float]]) -> bytes:
    body = json.dumps({"rows": rows}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expected = 0
        self._got = b""
        self._began = 0.0

    def send(self, request: bytes) -> None:
        self._got = b""
        self._expected = 0
        self._began = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> float | None:
        """Take what came; return the seconds the request took once its answer is whole."""
        try:
            part = self.socket.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        assert part, "the server closed the connection"
        self._got += part
        if not self._expected:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return None
            assert self._got.startswith(b"HTTP/1.1 200"), self._got
            length = self._got[:end].lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            self._expected = end + 4 + int(length)
        return time.perf_counter() - self._began if len(self._got) >= self._expected else None

    def ask(self, request: bytes) -> bytes:
        self.send(request)
        while self.receive() is None:
            select.select([self.socket], [], [], 10)
        return self._got.split(b"\r\n\r\n", 1)[1]


class Server:
    """One uvicorn process of every shape, and open connections to it."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        words = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(self._port)]
        # While one connection is used the others wait.
        words += ["--log-level", "error", "--timeout-keep-alive", "3600"]
        # One thread for numpy: what is measured is one request after the other.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(words, cwd=Path(__file__).parent, env=environment)
        self.connections: list[Connection] = []

    def connect(self) -> None:
        deadline = time.monotonic() + 60
        while len(self.connections) < CONNECTIONS:
            try:
                self.connections.append(Connection(self._port))
            except OSError:
                assert self.process.poll() is None, "the server ended by itself"
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.05)

    def burst(self, request: bytes, each: int) -> tuple[float, list[float]]:
        """Send `each` requests over every connection; return the seconds of the whole and of each request."""
        poll = select.poll()
        places = {}
        for connection in self.connections:
            places[connection.socket.fileno()] = [connection, each]
            poll.register(connection.socket, select.POLLIN)
        took = []
        began = time.perf_counter()
        for connection in self.connections:
            connection.send(request)
        left = len(self.connections)
        while left:
            ready = poll.poll(10_000)
            assert ready, f"the server does not answer {left} of {len(self.connections)} connections"
            for number, _ in ready:
                place = places[number]
                connection = place[0]
                seconds = connection.receive()
                if seconds is None:
                    continue
                took.append(seconds)
                place[1] -= 1
                if place[1]:
                    connection.send(request)
                else:
                    left -= 1
        return time.perf_counter() - began, took

    def told(self) -> dict:
        return json.loads(self.connections[0].ask(b"GET /told HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"))

    def scheduled(self) -> tuple[float, float]:
        """Seconds so far that the server was on a processor, and that it or this client waited for one.

        The kernel's scheduler tells both in nanoseconds.
        """
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        lines = [(task / "schedstat").read_text().split() for task in tasks]
        own = Path("/proc/self/schedstat").read_text().split()
        on = sum(int(line[0]) for line in lines)
        waited = sum(int(line[1]) for line in (*lines, own))
        return on / 1e9, waited / 1e9

    def stop(self) -> None:
        for connection in self.connections:
            connection.socket.close()
        self.process.terminate()
        self.process.wait(20)
