"""What every page needs at hand, shared between browsers: readings, figures, the clock, colours, settings."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ninesight_alerts.contract import AlertsReader, AlertView, DeliveryView
from ninesight_analytics.contract import (
    CostReport,
    Estimate,
    Key,
    ModelSummary,
    Scope,
    SlaReport,
    Window,
)
from ninesight_query.contract import Engine
from ninesight_query.parse import parse_selector

from ninesight_dashboards.contract import Ask, Figures, PagesSettings
from ninesight_dashboards.memo import Known, Memo
from ninesight_dashboards.palette import ColourBook, Palette, palette
from ninesight_dashboards.panel import Panel, scope_of
from ninesight_dashboards.ranges import RangeReader, Reading
from ninesight_dashboards.timerange import Grid, TimeRange, grid_of, read_range
from ninesight_dashboards.zone import Zone, zone_of

__all__ = ["Desk", "Frame"]

T = TypeVar("T")
_ANY_MODEL = (
    '{__name__=~"model_requests_total|model_request_duration_seconds|model_request_duration_seconds_count"}'
)
_SIMULATED = '{simulated="true"}'
_SUFFIXES = ("_bucket", "_count", "_sum")
_LOOK_BACK_MS = 86_400_000
_SLA_FRESH_MS = 15_000
_ALERTS_FRESH_MS = 2_000
_SEEN_FRESH_MS = 60_000
_SIMULATED_FRESH_MS = 15_000


class Frame:
    """One view of a page: the range, the steps, the zone and the colours of one browser at one time."""

    def __init__(self, ask: Ask, settings: PagesSettings, now_ms: int) -> None:
        self.now_ms = now_ms
        self.ask = ask
        self.chosen: TimeRange = read_range(ask.search, now_ms=now_ms, default_from=settings.default_from)
        self.grid: Grid = grid_of(self.chosen, points_max=settings.points_max)
        self.zone: Zone = zone_of(ask.zone if settings.time_zone == "browser" else settings.time_zone)
        self.colours: Palette = palette(ask.theme)
        self.refresh_s = settings.refresh_s or _refresh_s(self.chosen.span_ms)

    @property
    def lag_ms(self) -> int:
        """How old a figure that is slow to make may be shown: two refreshes, at least 10 s; a fixed range waits."""
        return max(10_000, round(2000 * self.refresh_s)) if self.chosen.live else 0

    @property
    def window(self) -> Window:
        """The window of the figures: exact for a fixed range, aligned for a live one so that it is shared."""
        if not self.chosen.live:
            return Window(self.chosen.start_ms, self.chosen.end_ms)
        align_ms = max(5000, min(60_000, self.grid.step_ms // 5))
        end_ms = self.chosen.end_ms // align_ms * align_ms
        return Window(end_ms - self.chosen.span_ms, end_ms)


def _refresh_s(span_ms: int) -> float:
    """5 s up to 15 minutes, else a thousandth of the range, 10 s to 5 minutes."""
    return 5.0 if span_ms <= 900_000 else max(10.0, min(300.0, span_ms / 1_000_000))


class Desk:
    """Shared by all browsers. Safe from many threads; everything it keeps is bounded."""

    def __init__(
        self,
        *,
        engine: Engine,
        figures: Figures,
        alerts: AlertsReader,
        settings: PagesSettings,
        now_ms: Callable[[], int],
    ) -> None:
        self.settings = settings
        self.now_ms = now_ms
        self.book = ColourBook()
        self.reader = RangeReader(engine, now_ms=now_ms)
        self._engine = engine
        self._figures = figures
        self._alerts = alerts
        self._seen = False
        renewals = ThreadPoolExecutor(1, thread_name_prefix="pages-renewal")
        self._memo = Memo(now_ms=now_ms, pool=renewals)

    def frame(self, ask: Ask) -> Frame:
        """Return the view of a browser's request, as of now."""
        return Frame(ask, self.settings, self.now_ms())

    def read(self, panel: Panel, grid: Grid, model: str | None = None) -> list[Reading]:
        """Return the answers of a panel's queries."""
        scope = scope_of(model)
        return [self.reader.read(query.text(grid.rate_window_s, scope), grid) for query in panel.queries]

    def models(self, frame: Frame, by: tuple[str, ...], model: str | None) -> Known[Sequence[ModelSummary]]:
        """Return one row per group over the view's window."""
        window = frame.window
        key = ("models", by, model, self._span(frame))
        return self._memo.get(
            key,
            (window.start_ms, window.end_ms),
            lambda: self._figures.models(window, by, Scope(model=model)),
            lag_ms=frame.lag_ms,
        )

    def latency(self, frame: Frame) -> Known[dict[float, Estimate]]:
        """Return p95 over every request."""
        window = frame.window

        def compute() -> dict[float, Estimate]:
            answer: dict[Key, dict[float, Estimate]] = dict(self._figures.latency(window, (0.95,)))  # type: ignore[arg-type]
            return dict(answer.get((), {}))

        key = ("latency", self._span(frame))
        return self._memo.get(key, (window.start_ms, window.end_ms), compute, lag_ms=frame.lag_ms)

    def cost(self, frame: Frame) -> Known[CostReport | None]:
        """Return the bill over the view's window."""
        window = frame.window
        key = ("cost", self._span(frame))
        return self._memo.get(
            key, (window.start_ms, window.end_ms), lambda: self._figures.cost(window), lag_ms=frame.lag_ms
        )

    def slas(self, frame: Frame) -> Known[Sequence[SlaReport]]:
        """Return how each contract stands now, whatever range is shown."""
        return self._recent("slas", _SLA_FRESH_MS, frame, lambda: self._figures.slas(frame.now_ms))

    def active(self, frame: Frame) -> Known[Sequence[AlertView]]:
        """Return pending and firing alerts."""
        return self._recent("active", _ALERTS_FRESH_MS, frame, self._alerts.active)

    def history(self, frame: Frame) -> Known[Sequence[AlertView]]:
        """Return alerts that fired."""
        return self._recent("history", _ALERTS_FRESH_MS, frame, lambda: self._alerts.history(limit=200))

    def deliveries(self, frame: Frame) -> Known[Sequence[DeliveryView]]:
        """Return the latest attempts to deliver."""
        return self._recent("deliveries", _ALERTS_FRESH_MS, frame, lambda: self._alerts.deliveries(limit=200))

    def any_model(self, frame: Frame) -> Known[bool]:
        """Return whether any model reported in the last day or in the range shown."""
        start_ms = min(frame.chosen.start_ms, frame.now_ms - _LOOK_BACK_MS)
        selector = parse_selector(_ANY_MODEL)
        known = self._recent(
            "any model",
            _ALERTS_FRESH_MS if not self._seen else _SEEN_FRESH_MS,
            frame,
            lambda: bool(self._engine.series([selector], start_ms, frame.now_ms)),
        )
        self._seen = bool(known.value)
        return known

    def simulated(self, frame: Frame) -> Known[frozenset[tuple[str, str]]]:
        """Return (metric, model) of every simulated series in the range; model is "" where there is none."""

        def compute() -> frozenset[tuple[str, str]]:
            series = self._engine.series(
                [parse_selector(_SIMULATED)], frame.chosen.start_ms, frame.chosen.end_ms
            )
            found = [dict(labels) for labels in series]
            return frozenset((_base(labels.get("__name__", "")), labels.get("model", "")) for labels in found)

        key = ("simulated", self._span(frame))
        return self._memo.get(key, frame.now_ms // _SIMULATED_FRESH_MS, compute, lag_ms=frame.lag_ms)

    def _recent(self, key: str, fresh_ms: int, frame: Frame, compute: Callable[[], T]) -> Known[T]:
        return self._memo.get(key, frame.now_ms // fresh_ms, compute, lag_ms=frame.lag_ms)

    def _span(self, frame: Frame) -> Hashable:
        return frame.chosen.span_ms if frame.chosen.live else (frame.chosen.start_ms, frame.chosen.end_ms)


def _base(name: str) -> str:
    """The metric's canonical name: classic histograms end in _bucket, _count or _sum."""
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name
