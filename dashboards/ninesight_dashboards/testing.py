"""Fakes for tests and for work on the pages: a small fleet whose figures are functions of time.

    fleet = Fleet(models=("ranker", "sentiment"))
    pages_of(engine=FakeEngine(fleet), figures=FakeFigures(fleet), alerts=FakeAlerts(), settings=PagesSettings())

Set `FakeEngine.error` to make every query fail, `Fleet.models = ()` for an empty installation.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ninesight_alerts.contract import AlertView, DeliveryView, RuleView
from ninesight_analytics.contract import (
    Basis,
    CostLine,
    CostReport,
    Estimate,
    Key,
    ModelSummary,
    ObjectiveReport,
    Scope,
    SlaReport,
    SlaState,
    Window,
)
from ninesight_query.contract import (
    Answer,
    Capabilities,
    Labels,
    Matcher,
    Matrix,
    Metadata,
    SeriesExemplars,
    Vector,
    labels_of,
)
from ninesight_query.errors import QueryError

__all__ = ["FakeAlerts", "FakeEngine", "FakeFigures", "Fleet"]

_MODEL = re.compile(r'model="((?:[^"\\]|\\.)*)"')
_BY = re.compile(r"by \(([a-z, ]*)\)")
_QUANTILE = re.compile(r"histogram_quantile\(([0-9.]+)")


def _phase(name: str) -> float:
    return zlib.crc32(name.encode()) % 1000 / 1000


@dataclass
class Fleet:
    """What runs. Change its fields to change what the pages see."""

    models: tuple[str, ...] = ("ranker", "sentiment")
    instances: tuple[str, ...] = ("node-a:8000", "node-b:8000")
    gpus: tuple[str, ...] = ("0", "1")
    simulated: tuple[str, ...] = ()
    """Models whose series are simulated."""
    simulated_gpus: bool = False
    idle: tuple[str, ...] = ()
    """Models nobody asks."""

    def rate(self, model: str, times_s: np.ndarray) -> np.ndarray:
        """Requests per second of a model."""
        if model in self.idle:
            return np.zeros(len(times_s))
        base = 20 + 200 * _phase(model)
        return base * (1 + 0.4 * np.sin(times_s / 200 + 6 * _phase(model)) + 0.05 * np.sin(times_s / 7))

    def latency(self, model: str, quantile: float, times_s: np.ndarray) -> np.ndarray:
        """A latency percentile in seconds."""
        if model in self.idle:
            return np.full(len(times_s), np.nan)
        base = 0.008 + 0.08 * _phase(model + "latency")
        wave = 1 + 0.2 * np.sin(times_s / 90 + 6 * _phase(model)) + 0.03 * np.sin(times_s / 5)
        return base * (0.6 - 0.45 * math.log(1.0001 - quantile)) * wave


@dataclass
class FakeEngine:
    """An `Engine` that knows the panels' expressions by their shape."""

    fleet: Fleet = field(default_factory=Fleet)
    error: QueryError | None = None
    """Raised by every call while set."""
    calls: list[str] = field(default_factory=list)

    @property
    def capabilities(self) -> Capabilities:
        """Say what this engine is."""
        return Capabilities("fake")

    def instant(self, query: str, at_ms: int) -> Answer:
        """Return an empty vector."""
        self._called(query)
        return Answer(Vector(at_ms, (), np.zeros(0)))

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """Return the lines the expression would give for this fleet."""
        self._called(query)
        times = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        rows = {labels: values for labels, values in self._rows(query, times / 1000) if len(values)}
        ordered = sorted(rows)
        values = np.array([rows[labels] for labels in ordered]).reshape(len(ordered), len(times))
        return Answer(Matrix(times, tuple(ordered), values, ~np.isnan(values)))

    def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[Labels, ...]:
        """Return the request counters, only the simulated ones where that is asked."""
        self._called("series")
        wanted = {(m.name, m.value) for selector in selectors for m in selector}
        simulated = ("simulated", "true") in wanted
        names = self.fleet.simulated if simulated else self.fleet.models
        found = [labels_of("model_requests_total", {"model": model}) for model in names]
        if simulated and self.fleet.simulated_gpus:
            found += [labels_of("gpu_utilization_ratio", {"gpu": gpu}) for gpu in self.fleet.gpus]
        return tuple(found)

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Return one name."""
        return ("model",)

    def label_values(
        self, name: str, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Return the models."""
        return self.fleet.models if name == "model" else ()

    def metadata(self) -> tuple[Metadata, ...]:
        """Return nothing."""
        return ()

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return nothing."""
        return ()

    def _called(self, query: str) -> None:
        self.calls.append(query)
        if self.error is not None:
            raise self.error

    def _rows(self, query: str, times_s: np.ndarray) -> list[tuple[Labels, np.ndarray]]:
        by = next(iter(_BY.findall(query)), "").replace(",", "").split()
        by = [label for label in by if label != "le"]
        if "gpu_" in query:
            level = 0.55 if "utilization" in query else 0.7
            return [
                (
                    labels_of("", {"instance": host, "gpu": gpu}),
                    level + 0.3 * np.sin(times_s / 60 + 5 * _phase(host + gpu)),
                )
                for host in self.fleet.instances
                for gpu in self.fleet.gpus
            ]
        named = _MODEL.search(query)
        models = [m for m in self.fleet.models if named is None or m == named.group(1)]
        if not models:
            return []
        if by == ["model"]:
            return [(labels_of("", {"model": model}), self._value(query, model, times_s)) for model in models]
        parts = {
            "instance": self.fleet.instances,
            "outcome": ("ok", "error", "timeout", "shed"),
            "stage": ("preprocess", "queue", "batch", "inference", "postprocess"),
        }.get(by[0] if by else "", ("",))
        return [
            (
                labels_of("", {by[0]: part} if by else {}),
                self._value(query, models[0], times_s) * _share(part),
            )
            for part in parts
        ]

    def _value(self, query: str, model: str, times_s: np.ndarray) -> np.ndarray:
        if (quantile := _QUANTILE.search(query)) and "batch_size" not in query:
            return self.fleet.latency(model, float(quantile.group(1)), times_s)
        if "batch_size" in query:
            return 4 + 3 * np.sin(times_s / 100)
        if "histogram_avg" in query:
            return self.fleet.latency(model, 0.55, times_s)
        if "outcome=~" in query:
            return np.abs(0.01 * _phase(model) * np.sin(times_s / 300))
        if "queue_depth" in query:
            return np.round(3 + 3 * np.sin(times_s / 60))
        if "in_flight" in query:
            return np.round(8 + 4 * np.sin(times_s / 40))
        return self.fleet.rate(model, times_s)


_SHARES = {"ok": 0.97, "error": 0.012, "timeout": 0.006, "shed": 0.012, "preprocess": 0.1, "queue": 0.25}
_SHARES |= {"batch": 0.05, "inference": 0.5, "postprocess": 0.1, "node-a:8000": 1.0, "node-b:8000": 1.25}


def _share(part: str) -> float:
    return _SHARES.get(part, 1.0)


@dataclass
class FakeFigures:
    """`Figures` made of the fleet's own functions."""

    fleet: Fleet = field(default_factory=Fleet)
    error: Exception | None = None
    reports: tuple[SlaReport, ...] = ()
    priced: bool = True

    def models(
        self, window: Window, by: tuple[str, ...] = ("model",), scope: Scope | None = None
    ) -> Sequence[ModelSummary]:
        """Return one row per model, or per instance of the scope's model."""
        self._fail()
        models = [m for m in self.fleet.models if scope is None or scope.model in (None, m)]
        if by == ("model",):
            return [self._row((model,), {"model": model}, model, window) for model in models]
        return [
            self._row((host, "1"), {"instance": host, "version": "1"}, model, window)
            for model in models
            for host in self.fleet.instances
        ]

    def latency(self, window: Window, quantiles: Sequence[float]) -> Mapping[Key, Mapping[float, Estimate]]:
        """Return the first model's percentiles under the key ()."""
        self._fail()
        rows = self.models(window)
        return {(): {q: rows[0].latency[q] for q in quantiles}} if rows else {}

    def cost(self, window: Window) -> CostReport | None:
        """Return a bill of 4 USD an hour, a quarter of it idle."""
        self._fail()
        if not self.priced:
            return None
        bill = 4.0 * window.duration_s / 3600
        each = bill * 0.75 / max(1, len(self.fleet.models))
        lines = tuple(
            CostLine(m, "1", 100.0, each, 5000.0, Estimate(each / 5000), Estimate(each / 5, count=5000))
            for m in self.fleet.models
        )
        attributed = math.fsum(line.amount for line in lines)
        idle = bill - attributed
        units = (("gpu 0", 2 * window.duration_s / 3600, 2.0),)
        return CostReport(window, "USD", bill, attributed, idle, idle / bill, lines, units, Basis.SDK_BATCH)

    def slas(self, now_ms: int) -> Sequence[SlaReport]:
        """Return the planned reports, or one made up per model."""
        self._fail()
        return self.reports or tuple(self._report(model, now_ms) for model in self.fleet.models)

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error

    def _row(self, key: Key, labels: Mapping[str, str], model: str, window: Window) -> ModelSummary:
        middle = np.array([(window.start_ms + window.end_ms) / 2000])
        rate = float(self.fleet.rate(model, middle)[0])
        count = rate * window.duration_s
        latency = {}
        for q in (0.5, 0.9, 0.95, 0.99):
            value = float(self.fleet.latency(model, q, middle)[0])
            known = value == value  # noqa: PLR0124 (NaN is not itself)
            if known:
                latency[q] = Estimate(value, value * 0.99, value * 1.01, count, Basis.NATIVE)
            else:
                latency[q] = Estimate(None)
        ratio = Estimate(0.012 * _phase(model), 0.0, 0.02, count, Basis.COUNTER) if count else Estimate(None)
        return ModelSummary(
            key=key,
            labels=labels,
            request_rate=Estimate(rate, rate, rate, count, Basis.COUNTER),
            error_ratio=ratio,
            outcomes={"ok": Estimate(rate)},
            latency=latency,
            latency_mean=latency[0.5],
            prediction_rate=Estimate(rate),
            in_flight=Estimate(8.0),
            queue_depth=Estimate(2.0),
            simulated=model in self.fleet.simulated,
        )

    def _report(self, model: str, now_ms: int) -> SlaReport:
        left = 1.1 - 1.3 * _phase(model)
        state = SlaState.BREACHED if left <= 0 else SlaState.AT_RISK if left < 0.3 else SlaState.OK
        burn = {"5m": Estimate(1 - left), "1h": Estimate(1.5 - left)}
        objectives = tuple(
            ObjectiveReport(
                name,
                name,
                target,
                Estimate(target + 0.0004 * left, count=1e5),
                99e3,
                1e5,
                Estimate(left),
                burn,
                state,
                limit,
            )
            for name, target, limit in (("availability", 0.999, None), ("latency", 0.99, 0.25))
        )
        window = Window(now_ms - 30 * 86_400_000, now_ms)
        return SlaReport(
            f"{model}-sla", model, "acme", model, window, objectives, state, model in self.fleet.simulated
        )


@dataclass
class FakeAlerts:
    """An `AlertsReader` over lists."""

    alerts: list[AlertView] = field(default_factory=list)
    past: list[AlertView] = field(default_factory=list)
    attempts: list[DeliveryView] = field(default_factory=list)

    def active(self) -> Sequence[AlertView]:
        """Return pending and firing alerts."""
        return self.alerts

    def history(self, *, limit: int = 100) -> Sequence[AlertView]:
        """Return alerts that fired."""
        return self.past[:limit]

    def deliveries(self, *, limit: int = 100) -> Sequence[DeliveryView]:
        """Return the latest attempts."""
        return self.attempts[:limit]

    def rules(self) -> Sequence[RuleView]:
        """Return nothing."""
        return ()
