"""Serve an ASGI application until told to stop; what comes after is left to the caller.

uvicorn raises a captured signal again once it has shut down, which would end the process before the
store is closed. Here SIGTERM and Ctrl-C only end the serving.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Generator
from typing import Any, Literal

import uvicorn

from ninesight_suite.one_write import OneWriteProtocol

__all__ = ["HttpServer"]


CONNECTIONS_MAX = 512
"""Open connections, as Prometheus bounds them; one more is answered 503."""


class HttpServer(uvicorn.Server):
    """One server on one listening socket, run in the main thread."""

    def __init__(
        self,
        app: Any,
        *,
        protocol: type[OneWriteProtocol] = OneWriteProtocol,
        loop: Literal["auto", "asyncio"] = "auto",
        lifespan: bool = False,
        drain_s: int = 5,
        keep_alive_s: int = 5,
    ) -> None:
        """`drain_s` is how long running requests get after the stop, `keep_alive_s` how long a silent client is kept.

        A `PromptApp` is served by the `PromptProtocol`; an argument, so that who has none does not import the queries.
        `loop` is uvloop where it is installed, unless asyncio's own is asked for.
        """
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                loop=loop,
                log_level="warning",
                access_log=False,
                # What answers is nobody's business, and each header costs the client microseconds.
                server_header=False,
                lifespan="on" if lifespan else "off",
                timeout_graceful_shutdown=drain_s,
                timeout_keep_alive=keep_alive_s,
                limit_concurrency=CONNECTIONS_MAX,
            )
        )

    def stop(self) -> None:
        """End the serving soon. Safe from any thread and from a signal handler."""
        self.should_exit = True

    def serve_on(self, sock: socket.socket, *, on_serving: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop`, SIGTERM or Ctrl-C; return after running requests were answered."""
        on_serving()
        self.run(sockets=[sock])

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Turn signals into `stop`, and put the handlers back afterwards."""
        before = {number: signal.signal(number, self._told) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _told(self, _number: int, _frame: Any) -> None:
        self.stop()
