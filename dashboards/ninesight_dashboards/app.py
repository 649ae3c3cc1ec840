"""The pages as one ASGI application.

    uvicorn.run(pages_app(engine=engine, alerts=reader, price_book=book, slas=slas, settings=settings))

It only reads, keeps bounded caches, and runs in a process of its own, so that no page ever holds up ingest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dash import Dash
from ninesight_alerts.contract import AlertsReader
from ninesight_analytics.contract import Billing
from ninesight_analytics.pricebook import PriceBook
from ninesight_analytics.sla import Sla
from ninesight_query.contract import Engine

from ninesight_dashboards.callbacks import Pages, register
from ninesight_dashboards.contract import Figures, PagesSettings
from ninesight_dashboards.desk import Desk
from ninesight_dashboards.figures import EngineFigures
from ninesight_dashboards.gate import Gate
from ninesight_dashboards.index import index_html
from ninesight_dashboards.opening import Opening

__all__ = ["pages_app", "pages_of"]

_ASSETS = Path(__file__).parent / "assets"
_READERS = 2


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def pages_app(
    *,
    engine: Engine,
    alerts: AlertsReader,
    price_book: PriceBook | None,
    slas: Sequence[Sla],
    settings: PagesSettings | None = None,
    billing: Billing = Billing.OBSERVED,
    now_ms: Callable[[], int] = _now_ms,
) -> Gate:
    """Return the pages, to be served by uvicorn with its lifespan events on (the default)."""
    figures = EngineFigures(engine, price_book=price_book, slas=slas, billing=billing)
    return pages_of(
        engine=engine, figures=figures, alerts=alerts, settings=settings or PagesSettings(), now_ms=now_ms
    )


def pages_of(
    *,
    engine: Engine,
    figures: Figures,
    alerts: AlertsReader,
    settings: PagesSettings,
    now_ms: Callable[[], int] = _now_ms,
) -> Gate:
    """Return the pages over any citizen of `Figures`."""
    app = Dash(
        "ninesight_dashboards",
        backend="fastapi",
        assets_folder=str(_ASSETS),
        serve_locally=True,
        title=settings.title,
        update_title="",
        index_string=index_html(settings),
        eager_loading=False,
        pages_folder="",
        use_pages=False,
        add_log_handler=False,
        websocket_callbacks=False,
        enable_mcp=False,
        suppress_callback_exceptions=True,
    )
    # Else every browser opens a web socket that nothing here uses.
    app.backend.websocket_capability = False
    desk = Desk(engine=engine, figures=figures, alerts=alerts, settings=settings, now_ms=now_ms)
    pages = Pages(desk, ThreadPoolExecutor(_READERS, thread_name_prefix="pages"))
    opening = Opening(pages, settings)
    app.layout = opening.layout
    register(app, pages)
    return Gate(app.server, opening.prepare)
