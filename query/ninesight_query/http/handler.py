"""One request from its parameters to its reply: errors, compression, a client that goes away.

    parameters ──► at once, on the event loop ───► reply
               └─► a worker's thread ────────────► reply

What takes next to nothing is answered at once (`Prompt`), everything else where it holds nobody up. A server that
knows `PromptApp` asks for the former without a task; it is tried once a request, here or there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ninesight_query.errors import QueryError
from ninesight_query.http.params import Params, query_params, read_params
from ninesight_query.http.pool import EnginePool
from ninesight_query.http.replies import accepts_gzip, error_reply, json_reply, packed
from ninesight_query.http.settings import HttpSettings
from ninesight_query.http.times import parse_timeout_s

__all__ = ["Answering", "Asked", "Endpoint", "Prompt"]

_log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """One question as its answering function sees it."""

    params: Params
    path: Mapping[str, str]
    """The variable parts of the path."""
    queued_s: float
    """How long it waited for a worker, in seconds."""


Answering = Callable[[Asked], bytes]
"""Runs in a worker's thread; b"" is the answer 204. Raises QueryError."""


class Prompt(Protocol):
    """Answers what takes next to nothing without a worker. Called on the event loop; never waits, raises nothing."""

    def at_once(self, asked: Asked) -> bytes | None:
        """Return the answer if it is there within about a millisecond, else None: then a worker is asked."""

    def took(self, asked: Asked, spent_s: float) -> None:
        """Learn how long a worker was busy with an answer, in seconds."""


class _Request(NamedTuple):
    """What an endpoint reads of a request before it answers."""

    asked: Asked
    timeout_s: float
    wants_gzip: bool


_TRIED = "ninesight.tried"
"""Where a scope holds the `_Request` that could not be answered at once."""
_WATCH_AFTER_S = 0.02
"""How long a question is answered before anybody looks whether its client went away: most are over by then."""
_AT_ONCE_S = 0.005
"""Who wants to wait less than this gets the worker's answer to that."""


class Endpoint:
    """One path of the API as an ASGI application, with no layer between the server and it."""

    def __init__(
        self,
        answering: Answering,
        settings: HttpSettings,
        pool: EnginePool,
        *,
        prompt: Prompt | None = None,
        clock_s: Callable[[], float] = time.perf_counter,
        busy_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._busy_s = busy_s
        self._answering, self._settings, self._pool, self._clock_s = answering, settings, pool, clock_s
        self._prompt = prompt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: parameters before, errors and compression after."""
        try:
            body, gzipped = await self._answer(scope, receive)
            reply = _reply(body, gzipped)
        except QueryError as error:
            reply = error_reply(error)
        except Exception as error:
            _log.exception("answering %s", scope["path"])
            reply = error_reply(error)
        await reply(scope, receive, send)

    def at_once(self, scope: Scope) -> Response | None:
        """Answer a GET without a task if its answer is there; see `PromptApp`. What is wrong with it is told by a call."""
        if self._prompt is None:
            return None
        try:
            request = self._request(scope, query_params(scope, self._settings))
        except QueryError:
            return None
        # The call that follows where there is no answer neither reads the parameters again nor tries again.
        scope[_TRIED] = request
        done = self._tried(request)
        return None if done is None else _reply(*done)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bool]:
        request = scope.pop(_TRIED, None)
        if request is None:
            request = self._request(scope, await read_params(scope, receive, self._settings))
            done = self._tried(request)
            if done is not None:
                return done
        return await self._worked(request, receive)

    def _request(self, scope: Scope, params: Params) -> _Request:
        timeout, timeout_s = params.first("timeout"), self._settings.timeout_s
        if timeout:
            timeout_s = min(parse_timeout_s(timeout), timeout_s)
        asked = Asked(params, scope.get("path_params", {}), 0.0)
        return _Request(asked, timeout_s, accepts_gzip(scope["headers"]))

    def _tried(self, request: _Request) -> tuple[bytes, bool] | None:
        """Answer at once, if that is possible."""
        if self._prompt is None or request.timeout_s <= _AT_ONCE_S:
            return None
        body = self._prompt.at_once(request.asked)
        if body is None:
            return None
        self._pool.at_once_total += 1
        return self._finished(body, request.wants_gzip)

    async def _worked(self, request: _Request, receive: Receive) -> tuple[bytes, bool]:
        """Answer by a worker's thread."""
        clock_s, asked, came_s, spent_s = self._clock_s, request.asked, self._clock_s(), 0.0

        def work() -> tuple[bytes, bool]:
            nonlocal spent_s
            began_s = self._busy_s()
            body = self._answering(Asked(asked.params, asked.path, clock_s() - came_s))
            done = self._finished(body, request.wants_gzip)
            spent_s = self._busy_s() - began_s
            return done

        done = await _watched(receive, self._pool, work, request.timeout_s)
        if self._prompt is not None:
            self._prompt.took(asked, spent_s)
        return done

    def _finished(self, body: bytes, wants_gzip: bool) -> tuple[bytes, bool]:
        if not wants_gzip or len(body) < self._settings.gzip_bytes_min:
            return body, False
        return packed(body), True


def _reply(body: bytes, gzipped: bool) -> Response:
    return json_reply(body, gzipped=gzipped) if body else Response(status_code=204)


async def _watched(
    receive: Receive, pool: EnginePool, work: Callable[[], tuple[bytes, bool]], timeout_s: float
) -> tuple[bytes, bool]:
    """Run the work as long as the client's connection is there."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    watchers: list[asyncio.Task[None]] = []

    def watch() -> None:
        watchers.append(loop.create_task(_until_gone(receive, gone)))

    timer = loop.call_later(_WATCH_AFTER_S, watch)
    try:
        return await pool.run(work, timeout_s, gone=gone)
    finally:
        timer.cancel()
        for watcher in watchers:
            watcher.cancel()
        gone.cancel()


async def _until_gone(receive: Receive, gone: asyncio.Future[None]) -> None:
    """Settle the future once the connection is closed. The body was read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if not gone.done():
        gone.set_result(None)
