"""An ASGI app for /metrics. The scraper's Accept header decides the format; rendering happens off the loop."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ninesight.contract import Snapshot
from ninesight.errors import RetryableError
from ninesight.scrape import GZIP_BYTES_MIN, render

__all__ = ["MetricsApp"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class MetricsApp:
    """Answers GET and HEAD on any path; mount it under /metrics. 405 for other methods."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope; nothing but http and lifespan is known here."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(
                f"the metrics app answers http, got {scope['type']}; mount it under an http route"
            )
        if scope["method"] not in {"GET", "HEAD"}:
            await _respond(send, 405, [(b"allow", b"GET, HEAD")], b"metrics are read by GET\n")
            return
        headers = list(scope["headers"])
        try:
            kind, body = await _off_loop(lambda: render(self._snapshot, _header(headers, b"accept")))
        except RetryableError as error:
            await _respond(send, 503, [(b"retry-after", b"1")], f"{error}\n".encode())
            return
        told = [(b"content-type", kind.encode()), (b"vary", b"accept, accept-encoding")]
        if "gzip" in _header(headers, b"accept-encoding") and len(body) >= GZIP_BYTES_MIN:
            body = gzip.compress(body, compresslevel=1)
            told.append((b"content-encoding", b"gzip"))
        await _respond(send, 200, told, body, head=scope["method"] == "HEAD")


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    return ",".join(value.decode("latin-1") for key, value in headers if key.lower() == name)


async def _off_loop(work: Callable[[], tuple[str, bytes]]) -> tuple[str, bytes]:
    """Run on a worker thread under asyncio, so that a big scrape does not hold up requests; inline elsewhere."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return work()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return work()
    result: tuple[str, bytes] = await loop.run_in_executor(None, work)
    return result


async def _respond(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, head: bool = False
) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
