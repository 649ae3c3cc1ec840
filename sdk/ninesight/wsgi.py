"""A WSGI app for /metrics, for servers that speak no ASGI (gunicorn's sync workers, Flask)."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from typing import Any

from ninesight.contract import Snapshot
from ninesight.errors import RetryableError
from ninesight.scrape import GZIP_BYTES_MIN, render

__all__ = ["MetricsWsgiApp"]


class MetricsWsgiApp:
    """Answers GET and HEAD on any path; mount it under /metrics. 405 for other methods."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request (PEP 3333)."""
        method = environ.get("REQUEST_METHOD", "GET")
        if method not in {"GET", "HEAD"}:
            return _answer(
                start_response,
                "405 Method Not Allowed",
                [("Allow", "GET, HEAD")],
                b"metrics are read by GET\n",
            )
        try:
            kind, body = render(self._snapshot, environ.get("HTTP_ACCEPT", ""))
        except RetryableError as error:
            return _answer(
                start_response, "503 Service Unavailable", [("Retry-After", "1")], f"{error}\n".encode()
            )
        headers = [("Content-Type", kind), ("Vary", "accept, accept-encoding")]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", "") and len(body) >= GZIP_BYTES_MIN:
            body = gzip.compress(body, compresslevel=1)
            headers.append(("Content-Encoding", "gzip"))
        return _answer(start_response, "200 OK", headers, body, head=method == "HEAD")


def _answer(
    start_response: Callable[..., Any],
    status: str,
    headers: list[tuple[str, str]],
    body: bytes,
    *,
    head: bool = False,
) -> list[bytes]:
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [] if head else [body]
