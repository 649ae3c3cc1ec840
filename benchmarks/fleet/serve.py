"""Our own HTTP API over a store's file, in a process of its own: `python serve.py FILE PORT NOW_MS`."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from ninesight_query import LocalEngine
from ninesight_query.http import Direct, routes
from ninesight_store import LocalStore
from ninesight_suite.http_server import HttpServer
from ninesight_suite.prompt_protocol import PromptProtocol
from starlette.applications import Starlette


def main() -> None:
    path, port, now_ms = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    store = LocalStore(path)
    engine = LocalEngine(store, now_ms=lambda: now_ms)
    api = routes(engine, now_ms=lambda: now_ms)
    # As `ninesight up` serves it.
    app = Direct(Starlette(routes=api), api)
    server = HttpServer(app, protocol=PromptProtocol, keep_alive_s=600)
    server.serve_on(socket.create_server(("127.0.0.1", port)))


if __name__ == "__main__":
    main()
