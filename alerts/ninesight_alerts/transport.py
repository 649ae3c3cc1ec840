"""The connection of one delivery: checked address, one deadline over everything, nothing reused.

The timeouts of an HTTP client bound each read, so a peer that drips bytes holds a thread for ever.
Here every read and write gets only what is left until the deadline.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore2
import httpx2

from ninesight_alerts.targets import Resolve, allowed_addresses

__all__ = ["GuardedTransport"]


class GuardedTransport(httpx2.BaseTransport):
    """A transport for one request. Raises TargetError for a refused address."""

    def __init__(
        self,
        *,
        deadline: float,
        allow_private: bool,
        resolver: Resolve,
        context: ssl.SSLContext | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        backend = _Backend(deadline, monotonic, resolver, allow_private=allow_private)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=context, max_connections=1, max_keepalive_connections=0, network_backend=backend
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; the response's body is read as it is asked for."""
        assert isinstance(request.stream, httpx2.SyncByteStream)
        response = self._pool.handle_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    def __iter__(self) -> Any:
        return iter(self._response.iter_stream())

    def close(self) -> None:
        self._response.close()


class _Backend(httpcore2.NetworkBackend):
    """Connects only to addresses that were checked a moment before."""

    def __init__(
        self, deadline: float, monotonic: Callable[[], float], resolver: Resolve, *, allow_private: bool
    ) -> None:
        self._left = lambda: deadline - monotonic()
        self._resolver = resolver
        self._allow_private = allow_private
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        error: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in allowed_addresses(
            host, port, allow_private=self._allow_private, resolver=self._resolver
        ):
            left = _bounded(self._left, timeout, httpcore2.ConnectTimeout)
            try:
                stream = self._plain.connect_tcp(address, port, left, local_address, socket_options)
                return _Stream(stream, self._left)
            except httpcore2.ConnectError as refused:
                error = refused
        raise error


class _Stream(httpcore2.NetworkStream):
    """A stream under the deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, left: Callable[[], float]) -> None:
        self._stream = stream
        self._left = left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _bounded(self._left, timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _bounded(self._left, timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = _bounded(self._left, timeout, httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _bounded(left: Callable[[], float], timeout: float | None, error: type[Exception]) -> float:
    remaining = left()
    if remaining <= 0:
        raise error("the deadline has passed")
    return remaining if timeout is None else min(remaining, timeout)
