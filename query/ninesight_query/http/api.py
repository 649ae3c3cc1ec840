"""The Prometheus HTTP API over an engine, as Starlette routes.

    GET or POST  /api/v1/query  /api/v1/query_range  /api/v1/series  /api/v1/labels
    GET          /api/v1/label/<name>/values  /api/v1/metadata  /api/v1/status/buildinfo
                 /-/healthy  /-/ready

Every reply is Prometheus' envelope; 400 bad_data, 413 too large, 422 execution, 503 timeout or busy.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ninesight_query.contract import Engine
from ninesight_query.errors import QueryError
from ninesight_query.http import catalogue, queries
from ninesight_query.http.params import Params, read_params
from ninesight_query.http.pool import EnginePool
from ninesight_query.http.replies import accepts_gzip, error_reply, json_reply, packed
from ninesight_query.http.settings import HttpSettings
from ninesight_query.http.times import parse_timeout_s

__all__ = ["routes"]

_log = logging.getLogger(__name__)
Answering = Callable[[Request, Params], bytes]
Handler = Callable[[Request], Awaitable[Response]]


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def routes(
    engine: Engine,
    *,
    settings: HttpSettings | None = None,
    now_ms: Callable[[], int] = _wall_ms,
    pool: EnginePool | None = None,
) -> list[Route]:
    """Return the routes of the API, to be mounted at the root.

    `now_ms` is the time of an instant query that names none. Who passes a `pool` closes it; otherwise its
    idle threads end with the process.
    """
    limits = settings or HttpSettings()
    workers = pool or EnginePool(limits.workers_max, limits.queue_max)

    def handler(answering: Answering) -> Handler:
        return _handler(answering, limits, workers)

    both = ["GET", "POST"]
    return [
        Route(
            "/api/v1/query", handler(lambda _, p: queries.query(engine, p, limits, now_ms())), methods=both
        ),
        Route(
            "/api/v1/query_range",
            handler(lambda _, p: queries.query_range(engine, p, limits, now_ms())),
            methods=both,
        ),
        Route("/api/v1/series", handler(lambda _, p: catalogue.series(engine, p)), methods=both),
        Route("/api/v1/labels", handler(lambda _, p: catalogue.label_names(engine, p)), methods=both),
        Route(
            "/api/v1/label/{name}/values",
            handler(lambda r, p: catalogue.label_values(engine, p, r.path_params["name"])),
        ),
        Route("/api/v1/metadata", handler(lambda _, p: catalogue.metadata(engine, p))),
        Route("/api/v1/status/buildinfo", handler(lambda *_: catalogue.build_info(limits))),
        Route("/-/healthy", _healthy),
        Route("/-/ready", _ready),
    ]


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("Ninesight is Healthy.\n")


async def _ready(_: Request) -> Response:
    return PlainTextResponse("Ninesight is Ready.\n")


def _handler(answering: Answering, settings: HttpSettings, pool: EnginePool) -> Handler:
    """Wrap an answering function: parameters before, errors and compression after."""

    async def handle(request: Request) -> Response:
        try:
            params = await read_params(request, settings)
            timeout = params.first("timeout")
            timeout_s = min(parse_timeout_s(timeout), settings.timeout_s) if timeout else settings.timeout_s
            wants_gzip = accepts_gzip(request)

            def work() -> tuple[bytes, bool]:
                body = answering(request, params)
                small = len(body) < settings.gzip_bytes_min
                return (body, False) if small or not wants_gzip else (packed(body), True)

            body, gzipped = await pool.run(work, timeout_s)
        except QueryError as error:
            return error_reply(error)
        except Exception as error:
            _log.exception("answering %s", request.url.path)
            return error_reply(error)
        return json_reply(body, gzipped=gzipped)

    return handle
