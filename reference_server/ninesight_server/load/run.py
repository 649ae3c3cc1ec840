"""Run a load: ask the server for its models, send requests on time, log each, show progress."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ninesight_server.load.record import LoadLog, RequestRecord, server_seconds
from ninesight_server.load.shapes import SHAPES, arrivals

__all__ = ["LoadError", "LoadSettings", "run_load"]

_RUNNING_MAX = 2000
"""Requests under way at once; beyond it arrivals wait, and the wait counts in their client time."""


class LoadError(Exception):
    """The load cannot begin: the server is not there, or lacks a model."""


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What to send. Raises ValueError that names the option."""

    url: str
    rate_per_s: float = 20.0
    duration_s: float = 30.0
    shape: str = "steady"
    models: tuple[str, ...] = ()
    rows: int = 1
    seed: int = 1
    delay_ms: float = 250.0

    def __post_init__(self) -> None:
        if not 0 < self.rate_per_s <= 100_000:
            raise ValueError(f"--rate must be greater than 0 and at most 100000, got {self.rate_per_s:g}")
        if not self.duration_s > 0:
            raise ValueError(f"--seconds must be greater than 0, got {self.duration_s:g}")
        if self.shape not in SHAPES:
            raise ValueError(f"--shape must be one of {', '.join(SHAPES)}, got {self.shape!r}")
        if self.rows < 1:
            raise ValueError(f"--rows must be at least 1, got {self.rows}")


async def run_load(settings: LoadSettings, *, log: Path | None = None, quiet: bool = False) -> int:
    """Send the load. Returns 0 if every request got an answer, 1 if some got none. Raises LoadError."""
    limits = httpx2.Limits(max_connections=_RUNNING_MAX, max_keepalive_connections=256)
    async with httpx2.AsyncClient(base_url=settings.url, timeout=30.0, limits=limits) as client:
        bodies = await _bodies(client, settings)
        with log.open("w") if log else contextlib.nullcontext() as file:
            written = LoadLog(file)
            async with _fault(client, settings, sorted(bodies)):
                await _send_all(client, settings, bodies, written, quiet=quiet)
    if not quiet:
        _summary(written)
    return 1 if written.statuses[0] else 0


async def _bodies(client: httpx2.AsyncClient, settings: LoadSettings) -> dict[str, list[bytes]]:
    """Return eight different request bodies per model, made from the server's own description of its inputs."""
    try:
        served = (await client.get("/v2")).raise_for_status().json()["models"]
        wanted = settings.models or tuple(served)
        if missing := sorted(set(wanted) - set(served)):
            raise LoadError(f"{settings.url} has no model {missing}; it serves {served}")
        faces = {
            model: (await client.get(f"/v2/models/{model}")).raise_for_status().json() for model in wanted
        }
    except (httpx2.HTTPError, ValueError, KeyError) as error:
        raise LoadError(f"{settings.url} is not an Open Inference Protocol v2 server: {error}") from error
    rng = random.Random(settings.seed)
    return {model: [_body(face, settings.rows, rng) for _ in range(8)] for model, face in faces.items()}


def _body(face: dict[str, Any], rows: int, rng: random.Random) -> bytes:
    inputs = []
    for tensor in face["inputs"]:
        shape = [rows, *(1 if size == -1 else size for size in tensor["shape"][1:])]
        size = 1
        for one in shape:
            size *= one
        data = [round(rng.gauss(0.0, 1.0), 4) for _ in range(size)]
        inputs.append({**tensor, "shape": shape, "data": data})
    return orjson.dumps({"inputs": inputs})


async def _send_all(
    client: httpx2.AsyncClient,
    settings: LoadSettings,
    bodies: dict[str, list[bytes]],
    log: LoadLog,
    *,
    quiet: bool,
) -> None:
    rng = random.Random(settings.seed + 1)
    models = sorted(bodies)
    start = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=quiet) as progress:
        bar = progress.add_task("sending", total=settings.duration_s, said="")
        async with asyncio.TaskGroup() as group:
            running = asyncio.Semaphore(_RUNNING_MAX)
            for at_s in arrivals(settings.shape, settings.rate_per_s, settings.duration_s, rng):
                if (wait_s := at_s - (time.perf_counter() - start)) > 0:
                    await asyncio.sleep(wait_s)
                model = rng.choice(models)
                body = rng.choice(bodies[model])
                await running.acquire()
                task = group.create_task(_send(client, model, body, settings.rows, log))
                task.add_done_callback(lambda _: running.release())
                progress.update(bar, completed=at_s, said=_so_far(log))
        progress.update(bar, completed=settings.duration_s, said=_so_far(log))


async def _send(client: httpx2.AsyncClient, model: str, body: bytes, rows: int, log: LoadLog) -> None:
    at_s, start = time.time(), time.perf_counter()
    try:
        answer = await client.post(
            f"/v2/models/{model}/infer", content=body, headers={"Content-Type": "application/json"}
        )
    except httpx2.HTTPError as error:
        log.add(RequestRecord(at_s, model, 0, time.perf_counter() - start, None, rows, type(error).__name__))
        return
    client_s = time.perf_counter() - start
    server_s = server_seconds(answer.headers.get("server-timing"))
    log.add(RequestRecord(at_s, model, answer.status_code, client_s, server_s, rows))


@contextlib.asynccontextmanager
async def _fault(
    client: httpx2.AsyncClient, settings: LoadSettings, models: list[str]
) -> AsyncIterator[None]:
    """Under the shape `fault`, slow every model down in the middle third. Raises LoadError without --faults."""
    if settings.shape != "fault":
        yield
        return

    async def tell(delay_ms: float) -> None:
        for model in models:
            answer = await client.post(f"/admin/faults/{model}", json={"delay_ms": delay_ms})
            if answer.status_code == 404:
                raise LoadError("the server takes no faults; start it with --faults")
            answer.raise_for_status()

    async def schedule() -> None:
        third_s = settings.duration_s / 3
        await asyncio.sleep(third_s)
        try:
            await tell(settings.delay_ms)
            await asyncio.sleep(third_s)
        finally:
            await tell(0.0)

    await tell(0.0)
    task = asyncio.create_task(schedule())
    try:
        yield
        await task
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _so_far(log: LoadLog) -> str:
    sent = sum(log.statuses.values())
    bad = sent - log.statuses[200]
    return f"{sent} answered, {bad} not ok"


def _summary(log: LoadLog) -> None:
    from rich.console import Console

    console = Console()
    for status, count in sorted(log.statuses.items()):
        console.print(f"{'no answer' if status == 0 else f'HTTP {status}':>10}  {count}")
    for quantile in (0.5, 0.95, 0.99):
        if (value := log.percentile_s(quantile)) is not None:
            console.print(f"{f'p{quantile * 100:g}':>10}  {value * 1000:.2f} ms as the client saw it")
