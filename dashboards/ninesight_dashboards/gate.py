"""What stands before the pages: unknown paths are 404, /healthz answers, nothing is loaded from elsewhere.

The chart server answers every path with its index page; here only `/` and `/model/<name>` are pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["Gate"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_SERVED = ("/_dash-component-suites/", "/assets/")
_EXACT = ("/", "/_dash-layout", "/_dash-dependencies", "/_dash-update-component")
_BODY_BYTES_MAX = 1_000_000
_POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    b"base-uri 'self'; form-action 'none'"
)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", _POLICY),
)


class Gate:
    """An ASGI application around the pages."""

    def __init__(self, pages: App, prepare: Callable[[Scope], Awaitable[None]]) -> None:
        self._pages = pages
        self._prepare = prepare

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what is known, refuse the rest."""
        if scope["type"] == "lifespan":
            await self._pages(scope, receive, send)
        elif scope["type"] != "http":
            await _close(scope, send)
        elif scope["path"] == "/healthz":
            await _answer(send, 200, b"ok\n")
        elif (inner := _inner_path(scope["path"])) is None:
            await _answer(send, 404, b"no such page; the pages are / and /model/<name>\n")
        elif _body_bytes(scope) > _BODY_BYTES_MAX:
            await _answer(send, 413, f"a request must be at most {_BODY_BYTES_MAX} bytes\n".encode())
        else:
            if inner == "/_dash-layout":
                await self._prepare(scope)
            changed = {**scope, "path": inner, "raw_path": inner.encode()}
            await self._pages(changed, receive, _with_headers(send))


def _inner_path(path: str) -> str | None:
    """Return the path to ask the pages for; None for one that does not exist."""
    if path.startswith("/model/") and len(path) > len("/model/"):
        return "/"
    return path if path in _EXACT or path.startswith(_SERVED) else None


def _body_bytes(scope: Scope) -> int:
    for name, value in scope.get("headers", ()):
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})


async def _close(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
