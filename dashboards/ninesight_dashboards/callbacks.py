"""Wiring: one callback a page returns every leaf it changes, in one answer.

Callbacks are asynchronous and read in a worker thread: the server's event loop never waits for data.
A page that breaks answers with its banner and leaves everything else as it stands.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, no_update

from ninesight_dashboards.contract import Ask, Leaves
from ninesight_dashboards.desk import Desk
from ninesight_dashboards.layout import TILES_MODEL, TILES_OVERVIEW, VERDICT
from ninesight_dashboards.model_page import model_page
from ninesight_dashboards.overview import overview
from ninesight_dashboards.panels import MODEL, OVERVIEW

__all__ = ["leaf_names", "register"]

_LOG = logging.getLogger("ninesight.dashboards")
_TABLES = {
    "overview": ("models", "alerts", "objectives", "costs"),
    "model": ("instances", "model-objectives", "model-costs", "model-alerts"),
}
_FRAME = ("-panel.className", "-note.children", "-empty.children")
_TILE = ("-value.children", "-sub.children", ".className", "-spark.src")

Page = Callable[[Desk, Ask, Any], Leaves]


def leaf_names(page: str) -> tuple[str, ...]:
    """Return every leaf that a page's callback may change, in the order of its outputs."""
    panels, tiles = (OVERVIEW, TILES_OVERVIEW) if page == "overview" else (MODEL, TILES_MODEL)
    names = [
        f"{page}-ack.data",
        f"{page}-banner.children",
        f"{page}-banner.className",
        f"{page}-simulated.className",
    ]
    for panel in panels:
        names += [f"{panel.id}.figure", *(panel.id + suffix for suffix in _FRAME)]
    for table in _TABLES[page]:
        names += [f"{table}.rowData", *(table + suffix for suffix in _FRAME)]
    names += [tile_id + suffix for tile_id, _, _ in tiles for suffix in _TILE]
    if page == "model":
        return (*names, "model-name.children")
    names += [
        f"{leaf}{suffix}" for leaf, _, _ in VERDICT for suffix in ("-number.children", "-count.className")
    ]
    return (*names, "first-run.className", "overview-body.className")


def register(app: Dash, desk: Desk, pool: ThreadPoolExecutor) -> None:
    """Add the callbacks of both pages and of the browser's scheduler."""
    for page, render in (("overview", overview), ("model", model_page)):
        _register_page(app, desk, pool, page, render)
    graphs = [Input(panel.id, "relayoutData") for panel in (*OVERVIEW, *MODEL)]
    app.clientside_callback(ClientsideFunction("ninesight", "boot"), Input("boot", "data"))
    app.clientside_callback(
        ClientsideFunction("ninesight", "done"), Input("overview-ack", "data"), Input("model-ack", "data")
    )
    app.clientside_callback(ClientsideFunction("ninesight", "zoomed"), *graphs, prevent_initial_call=True)
    app.clientside_callback(
        ClientsideFunction("ninesight", "themed"), Input("theme-choice", "value"), prevent_initial_call=True
    )


def _register_page(app: Dash, desk: Desk, pool: ThreadPoolExecutor, page: str, render: Page) -> None:
    names = leaf_names(page)

    @app.callback(
        [Output(*name.rsplit(".", 1)) for name in names],
        Input(f"{page}-ask", "data"),
        prevent_initial_call=True,
    )
    async def refresh(data: Any) -> Sequence[Any]:
        ask = Ask.read(data)
        try:
            leaves = await asyncio.to_thread(render, desk, ask, pool)
        except Exception as error:
            _LOG.exception("page %s could not be made", page)
            leaves = _broken(page, ask, error)
        return ordered(names, leaves)


def ordered(names: Iterable[str], leaves: Leaves) -> list[Any]:
    """Return the leaves in output order; what a page did not set stays as it is in the browser."""
    return [leaves.get(name, no_update) for name in names]


def _broken(page: str, ask: Ask, error: Exception) -> Leaves:
    return {
        f"{page}-ack.data": {"seq": ask.sequence, "error": type(error).__name__},
        f"{page}-banner.children": f"This page could not be renewed ({type(error).__name__}); the log says why. "
        "Showing what was read before.",
        f"{page}-banner.className": "ns-banner is-bad",
    }
