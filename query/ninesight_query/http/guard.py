"""A bearer token before the whole API: who does not show it gets 401 and learns nothing else."""

from __future__ import annotations

import hmac
from collections.abc import Collection

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ninesight_query.encode import encode_error
from ninesight_query.http.prompt_app import at_once_of
from ninesight_query.http.replies import json_reply

__all__ = ["OPEN_PATHS", "BearerGuard"]

OPEN_PATHS = frozenset({"/-/healthy", "/-/ready"})
"""Health checks tell nothing and often cannot log in."""


class BearerGuard:
    """ASGI middleware. `open_paths` need no token here: they are harmless, or ask for one themselves."""

    def __init__(self, app: ASGIApp, token: str, open_paths: Collection[str] = OPEN_PATHS) -> None:
        self._app, self._at_once = app, at_once_of(app)
        self._wanted = token.encode()
        self._open_paths = frozenset(open_paths)
        self.refused_total = 0
        """Requests without the token."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass; anything but HTTP is refused by what comes after."""
        if self._passes(scope):
            await self._app(scope, receive, send)
            return
        self.refused_total += 1
        words = "a valid bearer token is needed; send Authorization: Bearer <api.token>"
        reply = json_reply(encode_error("unauthorized", words), status=401)
        reply.headers["www-authenticate"] = 'Bearer realm="ninesight"'
        await reply(scope, receive, send)

    def at_once(self, scope: Scope) -> Response | None:
        """Ask on behalf of who may pass; see `PromptApp`. Whoever may not is refused, and counted, by the call."""
        return self._at_once(scope) if self._passes(scope) else None

    def _passes(self, scope: Scope) -> bool:
        return scope["type"] != "http" or scope["path"] in self._open_paths or self._knows(scope)

    def _knows(self, scope: Scope) -> bool:
        shown = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = shown.decode("latin-1").partition(" ")
        # Compared whatever the scheme is, in a time that tells nothing of how much of it is right.
        same = hmac.compare_digest(token.strip().encode(), self._wanted)
        return same and scheme.lower() == "bearer"
