"""Our own HTTP API over a store's file, in a process of its own: `python serve.py FILE PORT NOW_MS`."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from ninesight_query import LocalEngine
from ninesight_query.http import Direct, routes
from ninesight_store import LocalStore
from starlette.applications import Starlette


def main() -> None:
    path, port, now_ms = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    store = LocalStore(path)
    engine = LocalEngine(store, now_ms=lambda: now_ms)
    api = routes(engine, now_ms=lambda: now_ms)
    # As `ninesight up` serves it.
    app = Direct(Starlette(routes=api), api)
    uvicorn.run(
        app, host="127.0.0.1", port=port, log_level="warning", access_log=False, timeout_keep_alive=600
    )


if __name__ == "__main__":
    main()
