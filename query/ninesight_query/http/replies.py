"""Replies: JSON bodies, compressed where the client accepts it."""

from __future__ import annotations

import gzip
from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ninesight_query.encode import encode_error
from ninesight_query.http.errors import status_of

__all__ = ["accepts_gzip", "error_reply", "json_reply", "packed"]

_PLAIN = [
    (b"content-type", b"application/json"),
    (b"vary", b"Accept-Encoding"),
    (b"x-content-type-options", b"nosniff"),
]
_GZIPPED = [*_PLAIN, (b"content-encoding", b"gzip")]


def accepts_gzip(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the client takes gzip: named in Accept-Encoding, not with q=0."""
    wanted = next((value for name, value in headers if name == b"accept-encoding"), b"identity")
    # What most clients of ours send that do not.
    return wanted != b"identity" and _names_gzip(wanted.decode("latin-1"))


def _names_gzip(wanted: str) -> bool:
    for item in wanted.split(","):
        coding, _, rest = item.partition(";")
        if coding.strip().lower() not in ("gzip", "*"):
            continue
        weight = rest.strip().removeprefix("q=").strip()
        try:
            return float(weight or 1) > 0
        except ValueError:
            return False
    return False


def packed(body: bytes) -> bytes:
    """Return the body compressed; level 1, because replies are sent once."""
    return gzip.compress(body, compresslevel=1, mtime=0)


class _JsonReply(Response):
    """A reply with an encoded JSON body; its headers are spelled once, not for each reply."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and body, nothing else."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


def json_reply(body: bytes, *, gzipped: bool = False, status: int = 200) -> Response:
    """Return a reply with an encoded JSON body."""
    return _JsonReply(body, status, _GZIPPED if gzipped else _PLAIN)


def error_reply(error: Exception) -> Response:
    """Return the envelope of an error with its status code.

    What is not an error of ours tells its class only: its text may hold anything.
    """
    status, kind = status_of(error)
    message = f"internal error: {type(error).__name__}" if status == 500 else str(error)
    reply = json_reply(encode_error(kind, message), status=status)
    if status == 503:
        reply.headers["retry-after"] = "1"
    return reply
