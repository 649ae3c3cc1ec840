"""A FastAPI app under load, with and without the SDK: throughput, p99, and what the SDK adds to a request.

Six servers run side by side, each one uvicorn process: bare; `control`, the same again; `decorator`, with `@ninesight.observe` on
the model's function; `coroutine`, with it on a coroutine; `stages`, with it on a coroutine whose
predictions are counted and that holds a stage; and `middleware`, with the ASGI middleware.

Each observed server is paired with the bare one: a short burst of both, in turns first and second, so
that a slow moment of the machine hits the two alike. A figure is the median of the pairs' ratios, with
the 95 % confidence interval of that median (order statistics): while it is wider than 1 %, 1 % is not
resolved, and more rounds are due. Two bare processes differ as well (memory layout, hash seeds): by how much
is what `control` says, and what the others are to be compared with.

A machine that others use moves throughput and p99 by far more than the SDK does. `server_cpu_ratio`, of
the CPU that the server processes spent, all their threads, is steadier. And the same apps are also
driven in this process without a network, on the CPU clock of one thread, in turns: `added_us` is what
the SDK adds to a request, `added_cpu_ratio` that over the CPU which the bare server spends on a request.
The last line is one JSON object.

    python benchmarks/sdk_server.py [rounds]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

APP = """
import sys
import ninesight
from fastapi import FastAPI
from ninesight.integrations.asgi import ObserveASGI

KIND = "{kind}"
app = FastAPI()
if KIND == "middleware":
    app.add_middleware(ObserveASGI, model="ranker", paths=("/predict",))


def bare(rows):
    return [sum(row) for row in rows]


async def waited(rows):
    return bare(rows)


async def staged(rows):
    with ninesight.stage("inference"):
        return bare(rows)


decorated = ninesight.observe(model="ranker")(bare)
awaited = ninesight.observe(model="ranker")(waited)
counted = ninesight.observe(model="ranker", predictions=len)(staged)


@app.post("/predict")
async def predict(body: dict):
    rows = body["rows"]
    if KIND == "coroutine":
        return {{"scores": await awaited(rows)}}
    if KIND == "stages":
        return {{"scores": await counted(rows)}}
    return {{"scores": decorated(rows) if KIND == "decorator" else bare(rows)}}
"""
KINDS = ("control", "decorator", "coroutine", "stages", "middleware")
CONNECTIONS = 8
BURST = 60
"""Requests of each connection in one burst."""

BODY = json.dumps({"rows": [[0.1] * 16] * 4}).encode()


def request_of(port: int) -> bytes:
    head = f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> float:
    """Send one request and read its answer; return the seconds it took."""
    start = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return time.perf_counter() - start


class Server:
    """One uvicorn process, and open connections to it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.process, self.port = start(kind, folder)
        self.pairs: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.cpu_s = 0.0
        self.requests = 0

    async def connect(self) -> None:
        self.pairs = [await asyncio.open_connection("127.0.0.1", self.port) for _ in range(CONNECTIONS)]
        for _ in range(5):
            await self.burst()
        self.cpu_s, self.requests = 0.0, 0

    async def burst(self) -> tuple[float, float, float]:
        """Return (requests a second, p99 in seconds, the server's CPU seconds) of one burst over the keep-alive connections."""
        request = request_of(self.port)

        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[float]:
            return [await ask(reader, writer, request) for _ in range(BURST)]

        before_s = cpu_s(self.process.pid)
        began = time.perf_counter()
        took = [item for many in await asyncio.gather(*(one(*pair) for pair in self.pairs)) for item in many]
        seconds = time.perf_counter() - began
        spent_s = cpu_s(self.process.pid) - before_s
        self.cpu_s += spent_s
        self.requests += len(took)
        return len(took) / seconds, sorted(took)[int(len(took) * 0.99)], spent_s

    def stop(self) -> None:
        # The connections ended with the loop that opened them.
        self.process.terminate()
        self.process.wait(20)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process' threads so far; the kernel's scheduler tells them in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def start(kind: str, folder: Path) -> tuple[subprocess.Popen, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / f"app_{kind}.py").write_text(APP.format(kind=kind))
    words = [sys.executable, "-m", "uvicorn", f"app_{kind}:app", "--port", str(port), "--log-level", "error"]
    process = subprocess.Popen(words, cwd=folder)
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, port
        assert process.poll() is None, f"{kind} ended by itself"
        assert time.monotonic() < deadline, f"{kind} did not start"
        time.sleep(0.05)


async def rounds_of(count: int, servers: dict[str, Server]) -> dict[str, dict[str, list[float]]]:
    """Return, by kind and figure, the ratio to the bare server of each pair of bursts."""
    for server in servers.values():
        await server.connect()
    names = ("throughput_ratio", "p99_ratio", "server_cpu_ratio")
    ratios: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in names} for kind in KINDS}
    for step in range(count):
        for kind in KINDS:
            pair = ("bare", kind) if step % 2 else (kind, "bare")
            seen = {server: await servers[server].burst() for server in pair}
            for place, name in enumerate(names):
                ratios[kind][name].append(seen[kind][place] / seen["bare"][place])
    for server in servers.values():
        for _, writer in server.pairs:
            writer.close()
    return ratios


def app_of(kind: str) -> Callable:
    names: dict = {}
    exec(compile(APP.format(kind=kind), f"app_{kind}", "exec"), names)
    return names["app"]


def driven_s(app: Callable, calls: int) -> float:
    """CPU seconds a request of an app takes on the loop's thread, with no network around it."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]

    async def receive():
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message):
        assert message.get("status", 200) == 200, message

    async def drive():
        start = time.thread_time()
        for _ in range(calls):
            scope = {
                "type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b"",
                "root_path": "", "headers": headers, "http_version": "1.1", "scheme": "http", "client": None,
                "server": ("127.0.0.1", 80), "asgi": {"version": "3.0"},
            }  # fmt: skip
            await app(scope, receive, send)
        return (time.thread_time() - start) / calls

    return asyncio.run(drive())


def added_us(count: int) -> dict[str, list[float]]:
    """Return the microseconds that each kind adds to a request, round by round."""
    apps = {kind: app_of(kind) for kind in ("bare", *KINDS)}
    for app in apps.values():
        driven_s(app, 200)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    names = list(apps)
    for step in range(count):
        turn = step % len(names)
        took = {kind: driven_s(apps[kind], 200) for kind in (*names[turn:], *names[:turn])}
        for kind in KINDS:
            found[kind].append((took[kind] - took["bare"]) * 1e6)
    return found


def middle(values: list[float]) -> tuple[float, float, float]:
    """Return the median and the bounds of its 95 % confidence interval."""
    ordered = sorted(values)
    half = len(ordered) / 2
    reach = 0.98 * math.sqrt(len(ordered))
    low, high = max(0, math.floor(half - reach)), min(len(ordered) - 1, math.ceil(half + reach))
    return statistics.median(ordered), ordered[low], ordered[high]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    print(f"load {os.getloadavg()[0]:.2f}; {count} pairs of bursts of {CONNECTIONS * BURST} requests each")
    with tempfile.TemporaryDirectory() as folder:
        servers: dict[str, Server] = {}
        try:
            for kind in ("bare", *KINDS):
                servers[kind] = Server(kind, Path(folder))
            figures = asyncio.run(rounds_of(count, servers))
        finally:
            for server in servers.values():
                server.stop()
    bare_us = servers["bare"].cpu_s / servers["bare"].requests * 1e6
    for kind, values in added_us(count).items():
        figures[kind]["added_us"] = values
        figures[kind]["added_cpu_ratio"] = [value / bare_us for value in values]
    print(f"{'':28s}{'median':>9s}{'low':>9s}{'high':>9s}")
    told: dict[str, object] = {"bare_request_us": round(bare_us, 1)}
    for kind, named in figures.items():
        for name, values in named.items():
            print(f"{kind + ' ' + name:28s}" + "".join(f"{value:9.4f}" for value in middle(values)))
        told[kind] = {name: round(middle(values)[0], 4) for name, values in named.items()}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
