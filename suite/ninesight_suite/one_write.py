"""A reply goes out in one piece: its head waits for its body.

uvicorn writes the head and then the body, each a system call that wakes who reads. For a small reply both take longer
than all the rest of the server's work, and the client is woken for a head that it can do nothing with.

    write(head) ──► held ──┐
    write(body) ──► held ──┴─► one write: at the reply's end, after this turn of the loop, or from 64 KiB on
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["Gathered", "OneWriteProtocol"]

_HELD_BYTES_MAX = 1 << 16
"""From here on nothing is held back, so that the transport can say when its buffer is full."""


class Gathered:
    """A transport that holds what is written for a turn of the loop. Everything else is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []
        self._bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Hold the bytes, or write all that is held."""
        self._held.append(data)
        self._bytes += len(data)
        if self._bytes >= _HELD_BYTES_MAX:
            self.flush()
        elif len(self._held) == 1:
            self._loop.call_soon(self.flush)

    def write_now(self, data: bytes) -> None:
        """Write what is held, and these bytes behind it."""
        self.flush()
        self._transport.write(data)

    def flush(self) -> None:
        """Write what is held; to a connection that is gone nothing, which a closed transport takes for a mistake."""
        if self._held:
            held, self._held, self._bytes = self._held, [], 0
            if not self._transport.is_closing():
                self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Write what is held, then close."""
        self.flush()
        self._transport.close()


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol on such a transport."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a connection."""
        self.gathered = Gathered(cast("asyncio.Transport", transport), self.loop)
        super().connection_made(cast("asyncio.Transport", self.gathered))

    def on_response_complete(self) -> None:
        """Send a reply as soon as it is whole."""
        self.gathered.flush()
        super().on_response_complete()
