"""One request from its parameters to its reply: errors, compression, a client that goes away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ninesight_query.errors import QueryError
from ninesight_query.http.params import Params, read_params
from ninesight_query.http.pool import EnginePool
from ninesight_query.http.replies import accepts_gzip, error_reply, json_reply, packed
from ninesight_query.http.settings import HttpSettings
from ninesight_query.http.times import parse_timeout_s

__all__ = ["Answering", "Asked", "Handler", "handler_of"]

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
Handler = Callable[[Request], Awaitable[Response]]


def handler_of(
    answering: Answering,
    settings: HttpSettings,
    pool: EnginePool,
    *,
    clock_s: Callable[[], float] = time.perf_counter,
) -> Handler:
    """Wrap an answering function: parameters before, errors and compression after."""

    async def handle(request: Request) -> Response:
        try:
            params = await read_params(request, settings)
            timeout = params.first("timeout")
            timeout_s = min(parse_timeout_s(timeout), settings.timeout_s) if timeout else settings.timeout_s
            wants_gzip = accepts_gzip(request)
            came_s = clock_s()

            def work() -> tuple[bytes, bool]:
                body = answering(Asked(params, request.path_params, clock_s() - came_s))
                small = len(body) < settings.gzip_bytes_min
                return (body, False) if small or not wants_gzip else (packed(body), True)

            body, gzipped = await _watched(request, pool, work, timeout_s)
        except QueryError as error:
            return error_reply(error)
        except Exception as error:
            _log.exception("answering %s", request.url.path)
            return error_reply(error)
        return json_reply(body, gzipped=gzipped) if body else Response(status_code=204)

    return handle


async def _watched(
    request: Request, pool: EnginePool, work: Callable[[], tuple[bytes, bool]], timeout_s: float
) -> tuple[bytes, bool]:
    """Run the work as long as the client's connection is there."""
    gone = asyncio.ensure_future(_gone(request))
    try:
        return await pool.run(work, timeout_s, gone=gone)
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    """Return once the connection is closed. The body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
