"""The API and receivers as one ASGI application: each part brings its own routes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from ninesight_alerts import http as alerts_http
from ninesight_collector.contract import TargetView
from ninesight_query import http as query_http
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from ninesight_suite.app import Suite

__all__ = ["api_app"]

_HEALTH = {True: "up", False: "down", None: "unknown"}


def api_app(suite: Suite, *, now_ms: Callable[[], int]) -> Starlette:
    """Return the application served on `listen`."""
    routes = [
        *query_http.routes(suite.engine, now_ms=now_ms, pool=suite.queries),
        *alerts_http.routes(suite.alerts),
        *suite.collector.routes(),
        Route("/api/v1/targets", _targets(suite)),
        Route("/api/v1/status/tsdb", _store_status(suite)),
        Route("/", _home),
    ]
    return Starlette(routes=routes, exception_handlers={404: _not_found})


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body, default=str), status, media_type="application/json")


async def _not_found(request: Request, _error: Exception) -> Response:
    words = f"there is nothing at {request.url.path}; queries go to /api/v1/query, OTLP to /v1/metrics"
    return _json({"status": "error", "errorType": "not_found", "error": words}, 404)


async def _home(_request: Request) -> Response:
    return _json(
        {
            "name": "ninesight",
            "query": "/api/v1/query",
            "otlp": "/v1/metrics",
            "targets": "/api/v1/targets",
            "alerts": "/api/v1/alerts",
            "store": "/api/v1/status/tsdb",
        }
    )


def _targets(suite: Suite) -> Callable[[Request], Any]:
    async def targets(_request: Request) -> Response:
        found = await run_in_threadpool(suite.collector.targets)
        body = {"activeTargets": [_target(one) for one in found], "droppedTargets": []}
        return _json({"status": "success", "data": body})

    return targets


def _target(view: TargetView) -> dict[str, Any]:
    """A target in Prometheus' shape, with what we know beyond it."""
    return {
        "scrapePool": view.name,
        "scrapeUrl": view.url,
        "labels": {"job": view.name},
        "kind": view.kind,
        "health": _HEALTH[view.up],
        "lastError": view.error,
        "lastScrapeMs": view.last_ms,
        "lastScrapeDuration": view.duration_s,
        "samples": view.samples,
    }


def _store_status(suite: Suite) -> Callable[[Request], Any]:
    async def status(_request: Request) -> Response:
        stat = await run_in_threadpool(suite.store.stat)
        return _json({"status": "success", "data": dataclasses.asdict(stat)})

    return status
