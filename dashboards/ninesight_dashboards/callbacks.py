"""Wiring: one callback a page returns every leaf it changes, in one answer.

Callbacks are asynchronous and read in a worker thread: the server's event loop never waits for data.
A page that breaks answers with its banner and leaves everything else as it stands.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dash import ClientsideFunction, Input, Output, no_update

from ninesight_dashboards.contract import Ask, Leaves
from ninesight_dashboards.desk import Desk
from ninesight_dashboards.layout import PAGES, body
from ninesight_dashboards.model_page import model_page
from ninesight_dashboards.overview import overview
from ninesight_dashboards.paint import fill, fingerprints, packet, property_of
from ninesight_dashboards.panels import MODEL, OVERVIEW

__all__ = ["Pages", "news", "outputs_of", "register"]

_LOG = logging.getLogger("ninesight.dashboards")
_TABLES = {
    "overview": ("models", "alerts", "objectives", "costs"),
    "model": ("instances", "model-objectives", "model-costs", "model-alerts"),
}
_PANELS = {"overview": OVERVIEW, "model": MODEL}
_RENDER: dict[str, Callable[[Desk, Ask, Any], Leaves]] = {"overview": overview, "model": model_page}


def outputs_of(page: str) -> tuple[str, ...]:
    """Return the component properties of a page's charts and tables."""
    charts = tuple(f"{panel.id}.figure" for panel in _PANELS[page])
    return charts + tuple(f"{table}.rowData" for table in _TABLES[page])


@dataclass(frozen=True)
class Pages:
    """Makes pages for browsers, off the event loop."""

    desk: Desk
    pool: ThreadPoolExecutor

    async def leaves(self, page: str, ask: Ask) -> Leaves:
        """Return a page's leaf values; where the page breaks, what says so. Never raises."""
        try:
            return await asyncio.to_thread(_RENDER[page], self.desk, ask, self.pool)
        except Exception as error:
            _LOG.exception("page %s could not be made", page)
            return _broken(page, ask, error)

    def filled(self, page: str, leaves: Leaves) -> list[Any]:
        """Return a page's skeleton with its first values in it."""
        return fill(body(page, self.desk.settings), leaves)


def _broken(page: str, ask: Ask, error: Exception) -> Leaves:
    return {
        "ack": {"seq": ask.sequence, "error": type(error).__name__},
        f"{page}-banner.children": f"This page could not be renewed ({type(error).__name__}); the log says why. "
        "Showing what was read before.",
        f"{page}-banner.className": "ns-banner is-bad",
    }


def register(app: Any, pages: Pages) -> None:
    """Add the callbacks of both pages and of the browser's scheduler."""
    for page in PAGES:
        _register_refresh(app, pages, page)
        _register_mount(app, pages, page)
        zoomed = [Input(panel.id, "relayoutData") for panel in _PANELS[page]]
        app.clientside_callback(ClientsideFunction("ninesight", "zoomed"), *zoomed, prevent_initial_call=True)
    paints = [Input(f"{page}-paint", "data") for page in PAGES]
    app.clientside_callback(ClientsideFunction("ninesight", "boot"), Input("boot", "data"))
    app.clientside_callback(ClientsideFunction("ninesight", "painted"), *paints)


def _register_refresh(app: Any, pages: Pages, page: str) -> None:
    names = outputs_of(page)

    @app.callback(
        [*(_output(name) for name in names), Output(f"{page}-paint", "data")],
        Input(f"{page}-ask", "data"),
        prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]
    async def refresh(data: Any) -> list[Any]:
        ask = Ask.read(data)
        leaves = await pages.leaves(page, ask)
        return [*news(names, leaves, ask), packet(leaves)]


def news(names: Sequence[str], leaves: Leaves, ask: Ask) -> list[Any]:
    """Return each output's new value, `no_update` where the browser shows it already."""
    now = fingerprints(leaves)
    return [
        no_update if now.get(name, "") == ask.have.get(name) else property_of(leaves, name, no_update)
        for name in names
    ]


def _output(name: str) -> Output:
    component, _, prop = name.rpartition(".")
    return Output(component, prop)


def _register_mount(app: Any, pages: Pages, page: str) -> None:
    """A page that was not the first one opened comes once, whole and filled; after that only leaves change."""

    @app.callback(
        Output(f"{page}-slot", "children"),
        Output(f"{page}-paint", "data", allow_duplicate=True),
        Input(f"{page}-mount", "data"),
        prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]
    async def mount(data: Any) -> tuple[Any, Any]:
        leaves = await pages.leaves(page, Ask.read(data))
        return pages.filled(page, leaves), packet(leaves)
