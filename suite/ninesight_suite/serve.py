"""`ninesight up` at work: the suite in this process, the pages in a child that is started again if it dies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import orjson

from ninesight_suite.address import Address, listen
from ninesight_suite.app import Suite
from ninesight_suite.child import Child
from ninesight_suite.config import SuiteConfig
from ninesight_suite.http_server import HttpServer
from ninesight_suite.prompt_protocol import PromptProtocol

__all__ = ["run"]

_RESTART_S_MAX = 30.0


class _Pages:
    """Keeps the pages' process alive: restarts after a death, waiting 1, 2, 4 ... at most 30 s."""

    def __init__(self, config: SuiteConfig, sock: socket.socket, log: Path | None) -> None:
        # The pages need neither receivers nor targets; of the secrets only the engine's login goes to
        # them, through a pipe that no other process reads.
        told = config.model_dump(mode="json", exclude={"alerts", "api", "collector", "query"})
        told["query"] = config.query.revealed()
        self._document = orjson.dumps({"config": told, "fd": sock.fileno()})
        self._sock = sock
        self._log = log
        self._ending = threading.Event()
        self._child = self._start()
        self.restarts = 0
        self._thread = threading.Thread(target=self._watch, name="pages-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._child.stop(5.0)
        self._thread.join(5.0)
        self._sock.close()

    def _start(self) -> Child:
        return Child(
            "pages",
            ["ninesight_suite.pages_process"],
            document=self._document,
            pass_fds=[self._sock.fileno()],
            log=self._log,
        )

    def _watch(self) -> None:
        wait_s = 1.0
        while not self._ending.wait(0.5 if self._child.exit_code is None else wait_s):
            if self._child.exit_code is not None:
                self.restarts += 1
                wait_s = min(wait_s * 2, _RESTART_S_MAX)
                self._child = self._start()


def run(
    config: SuiteConfig,
    *,
    on_ready: Callable[[Address, Address], None] = lambda api, pages: None,
    pages_log: Path | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then stop in order. Raises SuiteError, StoreError before serving."""
    api_sock = listen(config.api_address, "listen")
    pages_sock = listen(config.pages_address, "pages_listen")
    api, page = _bound(api_sock), _bound(pages_sock)
    # The addresses as bound (port 0 has become a real one) are what pages tell their readers.
    config = config.model_copy(update={"listen": str(api), "pages_listen": str(page)})
    suite = Suite(config)
    try:
        suite.start()
        pages = _Pages(config, pages_sock, pages_log)
        try:
            server = HttpServer(suite.app, protocol=PromptProtocol)
            server.serve_on(api_sock, on_serving=lambda: on_ready(api, page))
        finally:
            pages.stop()
    finally:
        suite.stop()


def _bound(sock: socket.socket) -> Address:
    host, port = sock.getsockname()[:2]
    return Address(host, port)
