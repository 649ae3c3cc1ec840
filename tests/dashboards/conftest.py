"""A real engine over a store of canonical series, and a page server on a free port."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import pytest
import uvicorn
from ninesight_analytics import pricebook
from ninesight_dashboards.app import pages_app
from ninesight_dashboards.contract import PagesSettings
from ninesight_dashboards.testing import FakeAlerts
from ninesight_query.engine import LocalEngine
from ninesight_store.memory import MemoryStore

from .fleet import Fleet


def wait_for(
    condition: Callable[[], object], *, timeout_s: float = 60.0, what: str = "the condition"
) -> object:
    """Return the condition's value once it is true."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true in {timeout_s} s")


@dataclass
class World:
    """A store that a fleet fills, and what reads it."""

    fleet: Fleet
    every_ms: int = 5000
    store: MemoryStore = field(default_factory=MemoryStore)
    alerts: FakeAlerts = field(default_factory=FakeAlerts)
    written_ms: int = 0

    def write_until(self, end_ms: int) -> None:
        """Write every scrape up to a time."""
        first = max(self.fleet.start_ms, self.written_ms + self.every_ms)
        times = list(range(first, end_ms + 1, self.every_ms))
        if times:
            self.store.write(self.fleet.batch(times))
            self.written_ms = times[-1]


class LiveServer:
    """The pages served by uvicorn in a thread, over a world that keeps receiving samples."""

    def __init__(self, world: World, *, slas=(), settings: PagesSettings | None = None, engine=None) -> None:
        self.world = world
        self._stop = threading.Event()
        self.engine = engine or LocalEngine(world.store)
        app = pages_app(
            engine=self.engine,
            alerts=world.alerts,
            price_book=pricebook.built_in(),
            slas=slas,
            settings=settings or PagesSettings(refresh_s=1.0),
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        self._threads = [
            threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}),
            threading.Thread(target=self._feed),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self._server.started, what="the page server's start")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.should_exit = True
        for thread in self._threads:
            thread.join(timeout=60)
        self._socket.close()

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of a GET."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def _feed(self) -> None:
        while not self._stop.wait(0.25):
            self.world.write_until(time.time_ns() // 1_000_000)


@pytest.fixture
def world() -> World:
    """Twenty minutes of two models up to now."""
    now_ms = time.time_ns() // 1_000_000 // 5000 * 5000
    made = World(Fleet(start_ms=now_ms - 1_200_000))
    made.write_until(now_ms)
    return made
