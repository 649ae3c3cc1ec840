"""The contract of the pages: what they are given, what they ask for, what a browser sends.

browser ─Ask─► one callback per page ─► Figures, RangeReader, AlertsReader ─► leaf values ─► browser

The pages only read. They run in a process of their own and never raise into a browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ninesight_analytics.contract import CostReport, Estimate, Key, ModelSummary, Scope, SlaReport, Window

__all__ = ["Ask", "Figures", "Leaves", "PagesSettings"]

Leaves = dict[str, Any]
"""What one refresh changes: "component-id.property" to its new value."""


@dataclass(frozen=True, slots=True)
class PagesSettings:
    """What the pages are started with."""

    otlp_url: str = "http://127.0.0.1:9901"
    """Where SDKs and collectors push OTLP (they add /v1/metrics); shown to people who have no data yet."""
    api_url: str = "http://127.0.0.1:9901"
    """The Prometheus HTTP API, shown beside it."""
    refresh_s: float | None = None
    """Seconds between refreshes; None picks them from the length of the range (5 s up to 15 m)."""
    default_from: str = "now-15m"
    """Range of a page whose URL names none."""
    theme: str = "auto"
    """light, dark or auto (as the browser asks for)."""
    time_zone: str = "browser"
    """An IANA name, or "browser" for the reader's own."""
    points_max: int = 360
    """Most steps a chart asks for."""
    title: str = "ninesight"
    """Shown in the header and in the browser's tab."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one browser wants to see, as it came: nothing of it is trusted."""

    sequence: int
    path: str
    search: str
    theme: str
    zone: str
    hidden: frozenset[tuple[str, str]] = frozenset()
    """(panel id, line key) of the lines the reader switched off."""
    have: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of the charts and tables the browser shows already; what is unchanged is not sent again."""

    @classmethod
    def read(cls, data: Mapping[str, Any] | None) -> Ask:
        """Read the browser's request; fields of a wrong kind become harmless defaults."""
        given = data if isinstance(data, Mapping) else {}

        def text(name: str, length_max: int = 300) -> str:
            value = given.get(name)
            return value[:length_max] if isinstance(value, str) else ""

        sequence = given.get("seq")
        return cls(
            sequence if isinstance(sequence, int) else 0,
            text("path", 1000),
            text("search", 2000),
            "dark" if given.get("theme") == "dark" else "light",
            text("zone", 64),
            _hidden(given.get("hidden")),
            _have(given.get("have")),
        )


def _have(given: Any) -> dict[str, str]:
    """Read {component property: fingerprint}; at most 100, anything else is ignored."""
    items = given.items() if isinstance(given, Mapping) else ()
    return dict([(k, v) for k, v in items if isinstance(k, str) and isinstance(v, str)][:100])


def _hidden(given: Any) -> frozenset[tuple[str, str]]:
    """Read {panel id: [line key, ...]}; at most 200 lines, anything else is ignored."""
    pairs = [
        (panel, key[:300])
        for panel, keys in (given.items() if isinstance(given, Mapping) else ())
        if isinstance(panel, str) and isinstance(keys, list)
        for key in keys
        if isinstance(key, str)
    ]
    return frozenset(pairs[:200])


class Figures(Protocol):
    """The figures of analytics, for one engine and one configuration. Safe from many threads.

    Raises what analytics and the engine raise (AnalyticsError, QueryError).
    """

    def models(
        self, window: Window, by: tuple[str, ...] = ("model",), scope: Scope | None = None
    ) -> Sequence[ModelSummary]:
        """Return one row per group."""

    def latency(self, window: Window, quantiles: Sequence[float]) -> Mapping[Key, Mapping[float, Estimate]]:
        """Return percentiles over every request of every model, under the key ()."""

    def cost(self, window: Window) -> CostReport | None:
        """Return the bill, None where no price book is configured."""

    def slas(self, now_ms: int) -> Sequence[SlaReport]:
        """Return how each contract stands."""
