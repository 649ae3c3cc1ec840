"""Scrapes answered on a port of our own, for programs that serve no HTTP themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

__all__ = ["MetricsServer"]

_TIMEOUT_S = 10.0


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a connection; a scraper that hangs holds up nobody."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Writes no access log; a connection that says nothing is given up."""

    timeout = _TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so.
        """Say nothing."""


class MetricsServer:
    """Listens until `close`, or until Python exits. `port` is the one taken (0 asks for a free one)."""

    def __init__(self, app: Callable[..., Any], host: str, port: int) -> None:
        self._server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="ninesight-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)
