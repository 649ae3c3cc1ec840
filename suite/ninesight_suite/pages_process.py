"""The pages in a process of their own: `python -m ninesight_suite.pages_process`, started by `up`.

Reads its configuration as JSON from standard input, and serves on the socket it inherits. It asks the
server that `query.url` names, or opens the store read-only, so a slow page never holds up ingest.
"""

from __future__ import annotations

import socket
from typing import Any

import orjson

from ninesight_suite.app import store_url
from ninesight_suite.child import read_document, stop_with_parent
from ninesight_suite.config import SuiteConfig
from ninesight_suite.documents import load_figures
from ninesight_suite.engines import engine_for
from ninesight_suite.http_server import HttpServer

__all__ = ["main"]


def pages_for(config: SuiteConfig) -> Any:
    """Wire the pages' ASGI application for a configuration."""
    from ninesight_alerts import DatabaseAlerts
    from ninesight_dashboards import pages_app
    from ninesight_store import LocalStore

    figures = load_figures(config.analytics)
    url = store_url(config)

    def store() -> LocalStore:
        return LocalStore(url, settings=config.store.settings(), read_only=True)

    return pages_app(
        engine=engine_for(config, store),
        alerts=DatabaseAlerts(url),
        price_book=figures.price_book,
        slas=figures.slas,
        billing=config.analytics.billing,
        settings=config.pages.settings(otlp_url=config.api_address.url, api_url=config.api_address.url),
    )


def main() -> None:
    """Serve until SIGTERM, or until the parent is gone."""
    document = orjson.loads(read_document())
    config = SuiteConfig.model_validate(document["config"])
    server = HttpServer(pages_for(config), lifespan=True, drain_s=3)
    stop_with_parent(server.stop)
    server.serve_on(socket.socket(fileno=int(document["fd"])))


if __name__ == "__main__":
    main()
