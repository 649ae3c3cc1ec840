"""A FastAPI application in every shape, in one process: bare, bare again, and observed in four ways.

Two requests. `/model`: 64 candidates of 32 features, checked by pydantic, ranked by a network of three
layers in numpy, answered through pydantic. `/rows`: four short lists taken as plain JSON and summed:
nearly nothing but the framework. A path is `/REQUEST/SHAPE`; under `/timed` the dispatcher notes the CPU
time that the request took on the loop's thread, and `/told` gives what was noted.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable

import ninesight
import numpy as np
from fastapi import FastAPI
from ninesight.integrations.asgi import ObserveASGI
from pydantic import BaseModel

SHAPES = ("bare", "control", "decorator", "coroutine", "stages", "middleware")
REQUESTS = ("model", "rows")
FEATURES = 32


class Candidates(BaseModel):
    rows: list[list[float]]


class Scores(BaseModel):
    scores: list[float]


class Network:
    """Three layers of float32, 32-256-256-1."""

    def __init__(self, seed: int = 7) -> None:
        source = np.random.default_rng(seed)
        sizes = (FEATURES, 256, 256, 1)
        self._layers = [source.normal(0, 0.1, pair).astype(np.float32) for pair in itertools.pairwise(sizes)]

    def rank(self, rows: list[list[float]]) -> list[float]:
        values = np.asarray(rows, np.float32)
        for layer in self._layers[:-1]:
            values = np.maximum(values @ layer, 0)
        return (values @ self._layers[-1])[:, 0].tolist()


def summed(rows: list[list[float]]) -> list[float]:
    return [sum(row) for row in rows]


def model_of(shape: str, request: str, work: Callable) -> Callable:
    """The awaitable model of a shape; where the work itself is observed as a function, that is inside."""
    name = f"{request}-{shape}"
    inside = ninesight.observe(model=name)(work) if shape == "decorator" else work

    async def waited(rows):
        return inside(rows)

    async def staged(rows):
        with ninesight.stage("inference"):
            return work(rows)

    if shape == "stages":
        return ninesight.observe(model=name, predictions=len)(staged)
    return ninesight.observe(model=name)(waited) if shape == "coroutine" else waited


def app_of(shape: str, request: str) -> Callable:
    app = FastAPI()
    path = f"/{request}/{shape}"
    model = model_of(shape, request, Network().rank if request == "model" else summed)

    if request == "model":

        @app.post(path)
        async def rank(body: Candidates) -> Scores:
            return Scores(scores=await model(body.rows))

    else:

        @app.post(path)
        async def add(body: dict):
            return {"scores": await model(body["rows"])}

    if shape == "middleware":
        return ObserveASGI(app, model=f"{request}-{shape}", paths=("/",))
    return app


class Dispatcher:
    """Every shape of every request behind its path."""

    def __init__(self) -> None:
        self._apps = {
            f"/{request}/{shape}": app_of(shape, request) for request in REQUESTS for shape in SHAPES
        }
        self._spent: dict[str, list[float]] = {path: [] for path in self._apps}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self._apps["/model/bare"](scope, receive, send)
            return
        app = self._apps.get(scope["path"])
        if app is not None:
            await app(scope, receive, send)
        elif scope["path"].startswith("/timed"):
            path = scope["path"].removeprefix("/timed")
            scope = {**scope, "path": path, "raw_path": path.encode()}
            start = time.thread_time_ns()
            await self._apps[path](scope, receive, send)
            self._spent[path].append((time.thread_time_ns() - start) / 1e3)
        else:
            await self._tell(send)

    async def _tell(self, send) -> None:
        told = {
            "spent_us": self._spent,
            "background_s": background_s(),
            "recorded": ninesight.stats().recorded + ninesight.stats().buffered,
        }
        body = json.dumps(told).encode()
        self._spent = {path: [] for path in self._spent}
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def background_s() -> float:
    """CPU seconds of the aggregation thread so far."""
    for thread in threading.enumerate():
        if thread.name == "ninesight-aggregation":
            return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return 0.0


async def check() -> None:
    """Fail at start if two shapes of a request do not answer alike."""
    network = Network()
    rows = [[0.1] * FEATURES] * 2
    for shape in SHAPES:
        assert await model_of(shape, "check", network.rank)(rows) == network.rank(rows), shape


asyncio.run(check())
app = Dispatcher()
