"""HTTP that stops waiting when nobody wants the answer any more.

A server that evaluates says nothing for a long time. Here such a read wakes up often enough to see that
its query was cancelled, and closes the connection, by which the server learns to stop as well.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore2
import httpx2

from ninesight_query.cancel import cancelled_now
from ninesight_query.errors import QueryCancelledError

__all__ = ["StoppableTransport"]

_LOOK_S = 0.1
"""How often a read looks whether it is still wanted."""


class StoppableTransport(httpx2.HTTPTransport):
    """An ordinary transport, HTTP/1.1, on connections whose reads raise QueryCancelledError."""

    def __init__(self, limits: httpx2.Limits, verify: ssl.SSLContext | bool) -> None:
        super().__init__(verify=verify, trust_env=False, limits=limits)
        self._pool.close()
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(verify=verify, trust_env=False),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(),
        )


class _Backend(httpcore2.NetworkBackend):
    """Opens connections as the library does, and wraps them."""

    def __init__(self) -> None:
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        return _Stream(self._sockets.connect_tcp(host, port, timeout, local_address, socket_options))


class _Stream(httpcore2.NetworkStream):
    """One connection."""

    def __init__(self, inner: httpcore2.NetworkStream, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._inner = inner
        self._clock_s = clock_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        until_s = None if timeout is None else self._clock_s() + timeout
        cancelled = cancelled_now()
        while True:
            left_s = _LOOK_S if until_s is None else min(_LOOK_S, max(until_s - self._clock_s(), 0.001))
            try:
                return self._inner.read(max_bytes, left_s)
            except httpcore2.ReadTimeout:
                if cancelled():
                    raise QueryCancelledError(
                        "the query was cancelled while its answer was awaited"
                    ) from None
                if until_s is not None and self._clock_s() >= until_s:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._clock_s)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
