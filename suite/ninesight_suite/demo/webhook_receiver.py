"""A local on-call receiver: takes webhooks on loopback, remembers them, and shows them."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["ReceivedWebhook", "WebhookReceiver"]

_BODY_BYTES_MAX = 4 << 20
_KEPT_MAX = 1000


@dataclass(frozen=True, slots=True)
class ReceivedWebhook:
    """One accepted message."""

    at_s: float
    """Unix time."""
    id: str
    """Its idempotency key."""
    body: dict[str, Any]

    @property
    def status(self) -> str:
        """firing or resolved."""
        return str(self.body.get("status", ""))

    @property
    def alert_names(self) -> tuple[str, ...]:
        """Names of the alerts in it."""
        alerts = self.body.get("alerts", ())
        return tuple(sorted({str(alert["labels"].get("alertname", "")) for alert in alerts}))


class WebhookReceiver:
    """An HTTP server on 127.0.0.1 with a port of its own. Messages with a key seen before are counted once."""

    def __init__(
        self,
        *,
        on_message: Callable[[ReceivedWebhook], None] = lambda message: None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._messages: deque[ReceivedWebhook] = deque(maxlen=_KEPT_MAX)
        self._keys: dict[str, int] = {}
        self._on_message = on_message
        self._now_s = now_s
        self._arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                code, words = receiver._take(self)
                payload = words.encode()
                self.send_response(code)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="webhook-receiver", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/on-call"

    @property
    def messages(self) -> tuple[ReceivedWebhook, ...]:
        """What arrived, oldest first, each key once."""
        with self._arrived:
            return tuple(self._messages)

    def wait_for(self, wanted: Callable[[ReceivedWebhook], bool], timeout_s: float) -> ReceivedWebhook | None:
        """Return the first message that is wanted, waiting for it; None when time runs out."""

        def found() -> ReceivedWebhook | None:
            return next((message for message in self._messages if wanted(message)), None)

        with self._arrived:
            self._arrived.wait_for(lambda: found() is not None, timeout_s)
            return found()

    def close(self) -> None:
        """Stop listening. Safe to call twice."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)

    def _take(self, request: BaseHTTPRequestHandler) -> tuple[int, str]:
        size = int(request.headers.get("Content-Length") or 0)
        if not 0 < size <= _BODY_BYTES_MAX:
            return 413, f"a webhook body must have 1 to {_BODY_BYTES_MAX} bytes, got {size}\n"
        try:
            body = json.loads(request.rfile.read(size))
        except ValueError:
            return 400, "a webhook body must be JSON\n"
        key = request.headers.get("webhook-id") or request.headers.get("Idempotency-Key") or ""
        message = ReceivedWebhook(self._now_s(), key, body)
        with self._arrived:
            self._keys[key] = self._keys.get(key, 0) + 1
            if self._keys[key] > 1 and key:
                return 200, "seen before\n"
            self._messages.append(message)
            self._arrived.notify_all()
        self._on_message(message)
        return 200, "ok\n"
