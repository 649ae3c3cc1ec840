"""The Prometheus HTTP API over an engine, as Starlette routes.

    GET or POST  /api/v1/query  /api/v1/query_range  /api/v1/query_exemplars  /api/v1/series  /api/v1/labels
    GET or POST  /api/v1/format_query  /api/v1/parse_query
    GET          /api/v1/label/<name>/values  /api/v1/metadata
                 /api/v1/status/{buildinfo,config,flags,runtimeinfo,tsdb}  /-/healthy  /-/ready

Every reply is Prometheus' envelope; 400 bad_data, 413 too large, 422 execution, 503 timeout or busy.
Another method is 405, by which Grafana knows to ask by GET.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ninesight_query.contract import Engine
from ninesight_query.http import catalogue, exemplars, language, queries, status
from ninesight_query.http.handler import Answering, Endpoint
from ninesight_query.http.pool import EnginePool
from ninesight_query.http.settings import HttpSettings

__all__ = ["routes"]

_BOTH = ("GET", "POST")
_GET = ("GET",)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def routes(
    engine: Engine,
    *,
    settings: HttpSettings | None = None,
    now_ms: Callable[[], int] = _wall_ms,
    pool: EnginePool | None = None,
    facts: status.ServerFacts | None = None,
    more: Mapping[str, Answering] | None = None,
    status_pool: EnginePool | None = None,
) -> list[Route]:
    """Return the routes of the API, to be mounted at the root.

    `now_ms` is the time of an instant query that names none. `facts` adds `status/config`, `flags`,
    `runtimeinfo` and `tsdb`, `more` other paths below `/api/v1/`, asked by GET; both are answered by
    `status_pool`, so that heavy queries do not hold them up. Who passes a pool closes it; otherwise its
    idle threads end with the process.
    """
    limits = settings or HttpSettings()
    workers = pool or EnginePool(limits.workers_max, limits.queue_max)
    light = {"status/buildinfo": lambda _: status.build_info(limits), **(more or {})}
    if facts is not None:
        light |= {f"status/{name}": answer for name, answer in status.status_answers(facts).items()}

    def route(path: str, answering: Answering, methods: tuple[str, ...], to: EnginePool = workers) -> Route:
        prompt = answering if isinstance(answering, queries.Queries) else None
        return Route(f"/api/v1/{path}", Endpoint(answering, limits, to, prompt=prompt), methods=list(methods))

    instant = queries.Queries(engine, lambda params: queries.instant_question(params, now_ms()))
    ranges = queries.Queries(engine, lambda params: queries.range_question(params, limits))

    return [
        route("query", instant, _BOTH),
        route("query_range", ranges, _BOTH),
        route("query_exemplars", lambda asked: exemplars.query_exemplars(engine, asked.params), _BOTH),
        route("format_query", language.format_query, _BOTH),
        route("parse_query", language.parse_query, _BOTH),
        route("series", lambda asked: catalogue.series(engine, asked.params, limits.items_max), _BOTH),
        route("labels", lambda asked: catalogue.label_names(engine, asked.params, limits.items_max), _BOTH),
        route(
            "label/{name}/values",
            lambda asked: catalogue.label_values(engine, asked.params, asked.path["name"], limits.items_max),
            _GET,
        ),
        route("metadata", lambda asked: catalogue.metadata(engine, asked.params), _GET),
        *(route(path, answer, _GET, status_pool or workers) for path, answer in light.items()),
        Route("/-/healthy", _healthy),
        Route("/-/ready", _ready),
    ]


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("Ninesight is Healthy.\n")


async def _ready(_: Request) -> Response:
    return PlainTextResponse("Ninesight is Ready.\n")
