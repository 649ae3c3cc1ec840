"""A page opens with its data in it: the layout request is answered with filled leaves, read off the event loop.

The request for the layout names no page, so the address comes from its referrer, theme and zone from a
cookie that the index page sets. Without them the default Overview is sent, and the browser asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from contextvars import ContextVar
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import unquote, urlsplit

from dash import html

from ninesight_dashboards.callbacks import Pages
from ninesight_dashboards.contract import Ask, Leaves, PagesSettings
from ninesight_dashboards.layout import body, shell
from ninesight_dashboards.model_page import PREFIX
from ninesight_dashboards.paint import packet

__all__ = ["COOKIE", "Opening", "ask_of"]

COOKIE = "ninesight_view"
_WAIT_S = 0.5
"""A page whose data takes longer opens as a skeleton, and the browser fetches the data when it is there."""
_current: ContextVar[tuple[str, Leaves | None] | None] = ContextVar("ninesight_opening", default=None)


def ask_of(headers: Iterable[tuple[bytes, bytes]]) -> Ask:
    """Return what the page behind a layout request shows."""
    found = {name.lower(): value.decode("latin-1") for name, value in headers}
    address = urlsplit(found.get(b"referer", "")[:4000])
    try:
        cookie = SimpleCookie(found.get(b"cookie", "")[:4000]).get(COOKIE)
    except CookieError:
        cookie = None
    theme, _, zone = (unquote(cookie.value) if cookie else "").partition("|")
    return Ask.read({"seq": 0, "path": address.path, "search": address.query, "theme": theme, "zone": zone})


class Opening:
    """Answers the layout request. `prepare` reads, `layout` (called by the page server) only fills."""

    def __init__(self, pages: Pages, settings: PagesSettings, *, wait_s: float = _WAIT_S) -> None:
        self._pages = pages
        self._settings = settings
        self._wait_s = wait_s
        self._reading: set[asyncio.Task[Leaves]] = set()

    async def prepare(self, scope: MutableMapping[str, Any]) -> None:
        """Read the page that a layout request is for."""
        ask = ask_of(scope.get("headers", ()))
        page = "model" if ask.path.startswith(PREFIX) else "overview"
        reading = asyncio.create_task(self._pages.leaves(page, ask))
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)
        done, _ = await asyncio.wait({reading}, timeout=self._wait_s)
        _current.set((page, reading.result() if done else None))

    def layout(self) -> html.Div:
        """Return the whole layout, with the page that was prepared in it."""
        prepared = _current.get()
        if prepared is None:
            return shell(self._settings, {}, {})
        page, leaves = prepared
        if leaves is None:
            return shell(self._settings, {page: body(page, self._settings)}, {})
        return shell(self._settings, {page: self._pages.filled(page, leaves)}, {page: packet(leaves)})
