"""The API's fixed paths without a walk through all routes: `Direct(Starlette(routes=api), api)`.

Starlette tries the routes one after another and wraps each request into layers that find errors; an `Endpoint` knows
its errors itself. What is not exactly one of its paths and methods is passed on, so that nothing is answered otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ninesight_query.http.handler import Endpoint

__all__ = ["Direct"]


class Direct:
    """ASGI middleware around the routes; what guards them stands before it."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        for route in routes:
            if isinstance(route, Route) and isinstance(route.endpoint, Endpoint) and "{" not in route.path:
                for method in route.methods or ():
                    # The first of several routes is the one that answers.
                    self._endpoints.setdefault((method, route.path), route.endpoint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what has a fixed path, pass on everything else."""
        endpoint = self._endpoint(scope)
        await (self._app if endpoint is None else endpoint)(scope, receive, send)

    def at_once(self, scope: Scope) -> Response | None:
        """Ask the path's endpoint; see `PromptApp`."""
        endpoint = self._endpoint(scope)
        return None if endpoint is None else endpoint.at_once(scope)

    def _endpoint(self, scope: Scope) -> Endpoint | None:
        if scope["type"] != "http" or scope.get("root_path"):
            return None
        return self._endpoints.get((scope["method"], scope["path"]))
