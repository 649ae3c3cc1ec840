"""One request from its parameters to its reply: errors, compression, a client that goes away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ninesight_query.errors import QueryError
from ninesight_query.http.params import Params, read_params
from ninesight_query.http.pool import EnginePool
from ninesight_query.http.replies import accepts_gzip, error_reply, json_reply, packed
from ninesight_query.http.settings import HttpSettings
from ninesight_query.http.times import parse_timeout_s

__all__ = ["Answering", "Asked", "Endpoint"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as its answering function sees it."""

    params: Params
    path: Mapping[str, str]
    """The variable parts of the path."""
    queued_s: float
    """How long it waited for a worker, in seconds."""


Answering = Callable[[Asked], bytes]
"""Runs in a worker's thread; b"" is the answer 204. Raises QueryError."""
_WATCH_AFTER_S = 0.02
"""How long a question is answered before anybody looks whether its client went away: most are over by then."""


class Endpoint:
    """One path of the API as an ASGI application, with no layer between the server and it."""

    def __init__(
        self,
        answering: Answering,
        settings: HttpSettings,
        pool: EnginePool,
        *,
        clock_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._answering, self._settings, self._pool, self._clock_s = answering, settings, pool, clock_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: parameters before, errors and compression after."""
        request = Request(scope, receive, send)
        try:
            body, gzipped = await self._answer(request)
            reply = json_reply(body, gzipped=gzipped) if body else Response(status_code=204)
        except QueryError as error:
            reply = error_reply(error)
        except Exception as error:
            _log.exception("answering %s", request.url.path)
            reply = error_reply(error)
        await reply(scope, receive, send)

    async def _answer(self, request: Request) -> tuple[bytes, bool]:
        settings, clock_s = self._settings, self._clock_s
        params = await read_params(request, settings)
        timeout = params.first("timeout")
        timeout_s = min(parse_timeout_s(timeout), settings.timeout_s) if timeout else settings.timeout_s
        wants_gzip = accepts_gzip(request)
        came_s = clock_s()

        def work() -> tuple[bytes, bool]:
            body = self._answering(Asked(params, request.path_params, clock_s() - came_s))
            small = len(body) < settings.gzip_bytes_min
            return (body, False) if small or not wants_gzip else (packed(body), True)

        return await _watched(request, self._pool, work, timeout_s)


async def _watched(
    request: Request, pool: EnginePool, work: Callable[[], tuple[bytes, bool]], timeout_s: float
) -> tuple[bytes, bool]:
    """Run the work as long as the client's connection is there."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    watchers: list[asyncio.Task[None]] = []

    def watch() -> None:
        watchers.append(loop.create_task(_until_gone(request, gone)))

    timer = loop.call_later(_WATCH_AFTER_S, watch)
    try:
        return await pool.run(work, timeout_s, gone=gone)
    finally:
        timer.cancel()
        for watcher in watchers:
            watcher.cancel()
        gone.cancel()


async def _until_gone(request: Request, gone: asyncio.Future[None]) -> None:
    """Settle the future once the connection is closed. The body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    if not gone.done():
        gone.set_result(None)
