"""The API and receivers as one ASGI application: each part brings its own routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from ninesight_alerts import http as alerts_http
from ninesight_query import http as query_http
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ninesight_suite.facts import facts_of
from ninesight_suite.targets import target_answers

if TYPE_CHECKING:
    from ninesight_suite.app import Suite

__all__ = ["api_app"]


def api_app(suite: Suite, *, token: str, now_ms: Callable[[], int]) -> ASGIApp:
    """Return the application served on `listen`; `token` is what who asks must show, "" for nothing."""
    routes = [
        *query_http.routes(
            suite.engine,
            now_ms=now_ms,
            pool=suite.queries,
            facts=facts_of(suite, now_ms),
            more=target_answers(suite.collector.targets),
            status_pool=suite.looks,
        ),
        *alerts_http.routes(suite.alerts, suite.alerting.group_limits),
        *suite.collector.routes(),
        Route("/", _home),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _not_found})
    return _guarded(query_http.Direct(app, routes), suite, token)


def _guarded(app: ASGIApp, suite: Suite, token: str) -> ASGIApp:
    """Other sites' pages only where they are named; the token after that, so that a browser may ask first."""
    if token:
        open_paths = {*query_http.OPEN_PATHS, *suite.collector.guarded_paths()}
        app = query_http.BearerGuard(app, token=token, open_paths=open_paths)
    if origins := suite.config.api.origins:
        app = CORSMiddleware(
            app,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Accept", "Authorization", "Content-Type"],
        )
    return app


def _json(body: Any, status: int = 200) -> Response:
    headers = {"x-content-type-options": "nosniff"}
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


async def _not_found(request: Request, _error: Exception) -> Response:
    words = f"there is nothing at {request.url.path[:200]}; queries go to /api/v1/query, OTLP to /v1/metrics, remote write to /api/v1/write"
    return _json({"status": "error", "errorType": "not_found", "error": words}, 404)


async def _home(_request: Request) -> Response:
    return _json(
        {
            "name": "ninesight",
            "query": "/api/v1/query",
            "otlp": "/v1/metrics",
            "remote_write": "/api/v1/write",
            "targets": "/api/v1/targets",
            "alerts": "/api/v1/alerts",
            "store": "/api/v1/status/tsdb",
        }
    )
