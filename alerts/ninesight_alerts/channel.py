"""The webhook channel: one POST, signed, bounded, never following a redirect.

2xx is delivered, whatever becomes of the answer's body. 4xx is final, except 408 and 429: the
receiver has understood and said no. All else may be tried again, a redirect too: it stands in the
ledger until somebody corrects the URL.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpcore2
import httpx2

from ninesight_alerts.contract import Notification, Receipt
from ninesight_alerts.errors import PermanentError, RetryableError, TargetError
from ninesight_alerts.signing import delivery_headers
from ninesight_alerts.targets import Resolve, resolve
from ninesight_alerts.transport import GuardedTransport

__all__ = ["WebhookChannel", "WebhookSettings"]

RESPONSE_BYTES_MAX = 64 * 1024
RETRY_AFTER_S_MAX = 3_600
_RETRIED = frozenset({408, 429})


@dataclass(frozen=True)
class WebhookSettings:
    """One webhook. `repr` shows neither the key nor the path and query of the URL, which may be secret."""

    name: str
    url: str
    key: bytes | None = None
    allow_private: bool = False
    timeout_s: float = 10.0
    """For the whole attempt: connect, send and read."""

    def __repr__(self) -> str:
        return f"WebhookSettings(name={self.name!r}, target={self.target!r}, signed={self.key is not None})"

    @property
    def target(self) -> str:
        """Scheme, host and port: what may be logged of the URL."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


class WebhookChannel:
    """Delivers to one webhook. Safe to use from many threads."""

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        resolver: Resolve = resolve,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._now_ms = now_ms
        self._monotonic = monotonic
        # Loading the system's certificates takes tens of milliseconds: once, not per attempt.
        self._context = ssl.create_default_context() if settings.url.startswith("https:") else None

    def send(self, notification: Notification) -> Receipt:
        """Deliver once. Raises RetryableError or PermanentError; their words hold no secret."""
        started = self._monotonic()
        try:
            status, retry_after_s = self._post(notification, started)
        except TargetError as error:
            raise PermanentError(str(error)) from None
        except httpcore2.TimeoutException:
            raise RetryableError(f"no answer within {self._settings.timeout_s:g} s") from None
        except (httpx2.InvalidURL, httpcore2.UnsupportedProtocol) as error:
            raise PermanentError(f"the URL cannot be used: {type(error).__name__}") from None
        except (OSError, *_NETWORK) as error:
            raise RetryableError(f"{type(error).__name__}: {error}") from None
        duration_ms = round((self._monotonic() - started) * 1000)
        if 200 <= status < 300:
            return Receipt(status, duration_ms)
        if 400 <= status < 500 and status not in _RETRIED:
            raise PermanentError(f"HTTP {status}")
        words = "; redirects are not followed, set url to the final address" if 300 <= status < 400 else ""
        raise RetryableError(f"HTTP {status}{words}", retry_after_s=retry_after_s)

    def _post(self, notification: Notification, started: float) -> tuple[int, float]:
        settings = self._settings
        transport = GuardedTransport(
            deadline=started + settings.timeout_s,
            allow_private=settings.allow_private,
            resolver=self._resolver,
            context=self._context,
            monotonic=self._monotonic,
        )
        # Without httpx2.Client: it logs the whole URL, and a webhook's path is often its secret.
        request = httpx2.Request(
            "POST",
            settings.url,
            content=notification.body,
            headers=delivery_headers(notification, settings.key, self._now_ms()),
        )
        with transport, closing(transport.handle_request(request)) as response:
            _drain(response)
            return response.status_code, _retry_after_s(response.headers.get("retry-after", ""))


def _drain(response: httpx2.Response) -> None:
    """Read a bounded part of the answer, for peers that mind a reader who hangs up; its errors say nothing."""
    read = 0
    with suppress(OSError, httpcore2.TimeoutException, *_NETWORK):
        for piece in response.iter_raw():
            read += len(piece)
            if read > RESPONSE_BYTES_MAX:
                return


_NETWORK = (httpcore2.NetworkError, httpcore2.ProtocolError, ValueError)


def _retry_after_s(text: str) -> float:
    """Return the wait a receiver asks for in seconds; a date or nonsense counts as none."""
    return (
        float(min(int(text), RETRY_AFTER_S_MAX))
        if text.isascii() and text.isdigit() and len(text) < 10
        else 0.0
    )
