"""HTTP to one server: pooled connections, one deadline, capped bodies, retries where they are safe.

Every question is a read, so asking twice changes nothing. It is asked again after a connection that
failed and after 502 and 503, never after a timeout: a query that was too heavy once is so again.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import httpx2

from ninesight_query.cancel import cancelled_now
from ninesight_query.errors import (
    DeadlineError,
    LimitError,
    QueryCancelledError,
    QueryError,
    UnavailableError,
)
from ninesight_query.remote.failures import Refusal, refusal_of
from ninesight_query.remote.settings import RemoteSettings
from ninesight_query.remote.stoppable import StoppableTransport

__all__ = ["BodyReader", "Form", "RemoteClient"]

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

Form = Sequence[tuple[str, str]]

_ERROR_BYTES_MAX = 1 << 16
_BACKOFF_S = 0.1


class BodyReader(Protocol[T_co]):
    """Takes a body in pieces; any ValueError, TypeError or KeyError means that it is no answer."""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""

    def end(self) -> T_co:
        """Return what was read."""


class RemoteClient:
    """Asks one server. Safe to call from many threads. Raises only QueryError."""

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock_s: Callable[[], float] = time.monotonic,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._sleep = sleep
        self._clock_s = clock_s
        address = httpx2.URL(settings.url)
        self.where = f"{address.scheme}://{address.netloc.decode()}{address.path.rstrip('/')}"
        """The server, for messages."""
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "ninesight"}
        if settings.bearer_token:
            headers["Authorization"] = f"Bearer {settings.bearer_token}"
        if settings.tenant:
            headers["X-Scope-OrgID"] = settings.tenant
        limits = httpx2.Limits(
            max_connections=settings.connections_max,
            max_keepalive_connections=settings.connections_max,
            keepalive_expiry=60.0,
        )
        self._client = httpx2.Client(
            headers=headers,
            auth=(settings.username, settings.password) if settings.username else None,
            # A proxy or a netrc of the environment must not get what is meant for this server.
            trust_env=False,
            follow_redirects=False,
            transport=transport or StoppableTransport(limits, _trusted(settings)),
        )
        self.retries_total = 0
        """Questions asked once more."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        form: Form,
        reader: Callable[[], BodyReader[T]],
        *,
        timeout_s: float | None = None,
    ) -> tuple[T, Mapping[str, str]]:
        """Return what a reader makes of the answer, and the answer's headers. Raises QueryError."""
        deadline = self._clock_s() + (timeout_s or self._settings.timeout_s)
        for tried in range(self._settings.retries_max + 1):
            try:
                return self._once(method, path, form, reader(), deadline)
            except Refusal as refusal:
                wait_s = _BACKOFF_S * 2**tried
                last = tried == self._settings.retries_max or self._clock_s() + wait_s >= deadline
                if last or not refusal.again:
                    raise refusal.error from refusal
            self.retries_total += 1
            self._sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    def _once(
        self, method: str, path: str, form: Form, reader: BodyReader[T], deadline: float
    ) -> tuple[T, Mapping[str, str]]:
        left = max(deadline - self._clock_s(), 0.001)
        timeout = httpx2.Timeout(left, connect=min(left, self._settings.connect_timeout_s))
        try:
            with self._stream(method, path, form, timeout) as response:
                if not response.is_success:
                    body = self._capped(response, _ERROR_BYTES_MAX)
                    location = response.headers.get("location", "")
                    raise refusal_of(response.status_code, body, self.where, location)
                return self._read(response, reader, deadline), response.headers
        except httpx2.ConnectTimeout as error:
            raise self._lost(error) from error
        except httpx2.PoolTimeout as error:
            words = (
                f"all {self._settings.connections_max} connections to {self.where} were busy for {left:g} s"
            )
            raise Refusal(UnavailableError(f"{words}; raise query.connections_max"), again=False) from error
        except httpx2.TimeoutException as error:
            raise self._late() from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise self._lost(error) from error

    def _stream(
        self, method: str, path: str, form: Form, timeout: httpx2.Timeout
    ) -> AbstractContextManager[httpx2.Response]:
        address = self.where + path
        if method == "GET":
            return self._client.stream(method, address, params=list(form), timeout=timeout)
        body = str(httpx2.QueryParams(list(form))).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._client.stream(method, address, content=body, headers=kind, timeout=timeout)

    def _read(self, response: httpx2.Response, reader: BodyReader[T], deadline: float) -> T:
        size, size_max = 0, self._settings.response_bytes_max
        cancelled = cancelled_now()
        try:
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > size_max:
                    raise LimitError(
                        f"an answer may have at most {size_max} bytes, {self.where} sends more; "
                        "narrow the query, take a longer step, or raise query.response_bytes_max"
                    )
                if self._clock_s() > deadline:
                    raise self._late()
                if cancelled():
                    raise QueryCancelledError("the query was cancelled while its answer arrived")
                reader.feed(chunk)
            return reader.end()
        except QueryError as error:
            raise Refusal(error, again=False) from error
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
            words = (
                f"{self.where} must answer as the Prometheus HTTP API does, it sends something else "
                f"({type(error).__name__}: {str(error)[:200]}); look at query.url"
            )
            raise Refusal(UnavailableError(words), again=False) from error

    def _capped(self, response: httpx2.Response, size_max: int) -> bytes:
        parts = bytearray()
        for chunk in response.iter_bytes():
            parts += chunk
            if len(parts) > size_max:
                break
        return bytes(parts[:size_max])

    def _late(self) -> Refusal:
        words = f"{self.where} must answer within {self._settings.timeout_s:g} s, it did not"
        return Refusal(DeadlineError(f"{words}; narrow the query, or raise query.deadline"), again=False)

    def _lost(self, error: Exception) -> Refusal:
        words = f"{self.where} cannot be asked: {str(error)[:300] or type(error).__name__}"
        return Refusal(UnavailableError(f"{words}; is it running, and is query.url right?"), again=True)


def _trusted(settings: RemoteSettings) -> ssl.SSLContext | bool:
    if settings.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(settings.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise UnavailableError(
            f"query.ca_file must be a file of PEM certificates, got {settings.ca_file}: {error}"
        ) from error
