"""A FastAPI app under load, with and without the SDK: throughput, p99, and what the SDK adds to a request.

Four servers run side by side, each one uvicorn process: bare; `decorator`, with `@ninesight.observe` on
the model's function; `stages`, with a coroutine whose predictions are counted and a stage inside; and
`middleware`, with the ASGI middleware. Short bursts of all are interleaved, so that a
slow moment of the machine hits them all; each figure is the median over rounds of (observed / bare of
the same round), with its 10th and 90th percentile.

A machine that others use moves those ratios by far more than the SDK does. So the same apps are also
driven in this process without a network, on the CPU clock of one thread, in turns: `*_us` is what the
SDK adds to a request, and `*_share` is that over the CPU which the bare server spends on a request.
The last line is one JSON object.

    python benchmarks/sdk_server.py [rounds]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
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


async def staged(rows):
    with ninesight.stage("inference"):
        return bare(rows)


decorated = ninesight.observe(model="ranker")(bare)
counted = ninesight.observe(model="ranker", predictions=len)(staged)


@app.post("/predict")
async def predict(body: dict):
    rows = body["rows"]
    if KIND == "stages":
        return {{"scores": await counted(rows)}}
    return {{"scores": decorated(rows) if KIND == "decorator" else bare(rows)}}
"""
KINDS = ("bare", "decorator", "stages", "middleware")
CONNECTIONS = 8
BURST = 250
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


async def burst(port: int) -> tuple[float, float]:
    """Return (requests a second, p99 in seconds) of one burst over keep-alive connections."""
    request = request_of(port)
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[float]:
        return [await ask(reader, writer, request) for _ in range(BURST)]

    start = time.perf_counter()
    took = [item for many in await asyncio.gather(*(one(*pair) for pair in pairs)) for item in many]
    seconds = time.perf_counter() - start
    for _, writer in pairs:
        writer.close()
    return len(took) / seconds, sorted(took)[int(len(took) * 0.99)]


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


def rounds_of(
    count: int, servers: dict[str, tuple[subprocess.Popen, int]]
) -> tuple[dict[str, list[float]], float]:
    """Return the ratios to the bare server by kind and figure, and the bare server's CPU microseconds a request."""
    for _, port in servers.values():
        asyncio.run(burst(port))
    ratios: dict[str, list[float]] = {}
    spent_s = 0.0
    for step in range(count):
        seen = {}
        # Each kind is first, second and last equally often.
        for kind in (*KINDS[step % 4 :], *KINDS[: step % 4]):
            process, port = servers[kind]
            before_s = cpu_s(process.pid)
            seen[kind] = asyncio.run(burst(port))
            spent_s += cpu_s(process.pid) - before_s if kind == "bare" else 0.0
        for kind in KINDS[1:]:
            for name, ours, bare in zip(("throughput", "p99"), seen[kind], seen["bare"], strict=True):
                ratios.setdefault(f"{kind}_{name}_ratio", []).append(ours / bare)
    return ratios, spent_s / (count * CONNECTIONS * BURST) * 1e6


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
    apps = {kind: app_of(kind) for kind in KINDS}
    for app in apps.values():
        driven_s(app, 200)
    found: dict[str, list[float]] = {}
    for _ in range(count):
        took = {kind: driven_s(app, 500) for kind, app in apps.items()}
        for kind in KINDS[1:]:
            found.setdefault(f"{kind}_us", []).append((took[kind] - took["bare"]) * 1e6)
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    print(f"load {os.getloadavg()[0]:.2f}; {count} rounds of {CONNECTIONS * BURST} requests each")
    with tempfile.TemporaryDirectory() as folder:
        servers = {}
        try:
            for kind in KINDS:
                servers[kind] = start(kind, Path(folder))
            figures, bare_us = rounds_of(count, servers)
        finally:
            for process, _ in servers.values():
                process.terminate()
            for process, _ in servers.values():
                process.wait(20)
    figures |= added_us(count)
    print(f"{'':28s}{'median':>9s}{'p10':>9s}{'p90':>9s}")
    for name, values in figures.items():
        low, *_, high = statistics.quantiles(values, n=10)
        print(f"{name:28s}{statistics.median(values):9.4f}{low:9.4f}{high:9.4f}")
    told = {name: round(statistics.median(values), 4) for name, values in figures.items()}
    told["bare_request_us"] = round(bare_us, 1)
    for kind in KINDS[1:]:
        told[f"{kind}_share"] = round(told[f"{kind}_us"] / bare_us, 4)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
