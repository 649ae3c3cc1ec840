"""Metrics of the user's own: counter, gauge, histogram, with the budgets and the error bound of ours.

    hits = ninesight.counter("feature_cache_hits_total", "Features found in the cache.", labels=("store",))
    hits.add(1, store="redis")

Saying a value is an append to the thread's buffer, as a call is; it never raises and never locks.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import isfinite
from time import perf_counter
from typing import TypeVar

from ninesight.checks import amount
from ninesight.contract import OTHER, Family, HistogramPoint, Kind, Labels, NumberPoint
from ninesight.errors import ConfigError
from ninesight.events import OWN
from ninesight.histogram import Histogram
from ninesight.labels import check_label_names
from ninesight.metrics import METRICS
from ninesight.registry import Registry
from ninesight.slots import Buffers

__all__ = ["ACROSS", "CounterMetric", "GaugeMetric", "HistogramMetric", "OwnMetric", "OwnMetrics"]

ACROSS = ("sum", "max", "min")
"""How the values that several processes have of one gauge become one."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_METRICS_MAX = 200

M = TypeVar("M", bound="OwnMetric")


class OwnMetric(ABC):
    """One metric. Values are kept by the aggregator; `say` may be called from any thread."""

    def __init__(
        self, owner: OwnMetrics, name: str, help_text: str, kind: Kind, unit: str, labels: Sequence[str]
    ) -> None:
        self.name = name
        self.help = help_text
        self.kind = kind
        self.unit = unit
        self.labels = tuple(labels)
        self._owner = owner

    @property
    def shape(self) -> tuple[object, ...]:
        """What must be the same wherever the metric is asked for."""
        return self.labels

    def say(self, value: float, labels: dict[str, object]) -> None:
        """Put a value into the thread's buffer; a wrong one is refused and counted."""
        faults = self._owner.registry.faults
        try:
            number = float(value)
            key = tuple([labels[name] for name in self.labels])
        except Exception:
            number, key = float("nan"), ()
        if not isfinite(number) or len(labels) != len(key):
            faults.refuse(
                f"{self.name} takes a finite number and the labels {', '.join(self.labels) or '(none)'}",
                (value, *labels),
                "ignored",
            )
            return
        self._owner.buffers.here().put((OWN, self, key, number, perf_counter()))

    def fit(self, key: tuple[object, ...], held: dict[tuple[str, ...], object]) -> tuple[str, ...]:
        """Return the label values within the budgets. For the aggregator."""
        registry = self._owner.registry
        fitted = tuple(
            registry.labels.value(name, value) or OTHER for name, value in zip(self.labels, key, strict=True)
        )
        limit = self._owner.sets_max
        if fitted not in held and len(held) >= limit:
            registry.faults.exceed(f"sets of labels of {self.name}", limit)
            return (OTHER,) * len(key)
        return fitted

    def _named(self, values: tuple[str, ...]) -> Labels:
        return tuple(zip(self.labels, values, strict=True))

    @abstractmethod
    def take(self, key: tuple[object, ...], value: float, at_s: float) -> None:
        """Add a value. For the aggregator."""

    @abstractmethod
    def clear(self) -> None:
        """Set everything to nothing."""

    @abstractmethod
    def family(self) -> Family | None:
        """Return what is known; None while nothing was said. Hold the aggregation lock."""


class CounterMetric(OwnMetric):
    """Counts up."""

    def __init__(
        self, owner: OwnMetrics, name: str, help_text: str, unit: str, labels: Sequence[str]
    ) -> None:
        super().__init__(owner, name, help_text, Kind.COUNTER, unit, labels)
        self._totals: dict[tuple[str, ...], float] = {}

    def add(self, value: float = 1.0, **labels: object) -> None:
        """Count `value` more, at least 0."""
        number = amount(value)
        self.say(float("nan") if number is None else number, labels)

    def take(self, key: tuple[object, ...], value: float, at_s: float) -> None:
        """Add to the total."""
        fitted = self.fit(key, self._totals)  # type: ignore[arg-type] # Only looked into.
        self._totals[fitted] = self._totals.get(fitted, 0.0) + value

    def clear(self) -> None:
        """Count from zero; what was known stays known."""
        self._totals = dict.fromkeys(self._totals, 0.0)

    def family(self) -> Family | None:
        """Return the totals."""
        points = tuple(NumberPoint(self._named(key), value) for key, value in sorted(self._totals.items()))
        return Family(self.name, self.kind, self.unit, self.help, points) if points else None


class GaugeMetric(OwnMetric):
    """Holds the value that was said last."""

    def __init__(
        self, owner: OwnMetrics, name: str, help_text: str, unit: str, labels: Sequence[str], across: str
    ) -> None:
        super().__init__(owner, name, help_text, Kind.GAUGE, unit, labels)
        self.across = across
        self._values: dict[tuple[str, ...], tuple[float, float]] = {}

    @property
    def shape(self) -> tuple[object, ...]:
        """Labels, and how processes are put together."""
        return (*self.labels, self.across)

    def set(self, value: float, **labels: object) -> None:
        """Say the value of this moment."""
        self.say(value, labels)

    def take(self, key: tuple[object, ...], value: float, at_s: float) -> None:
        """Keep the value unless a later one is known: threads are taken one after the other."""
        fitted = self.fit(key, self._values)  # type: ignore[arg-type] # Only looked into.
        if fitted not in self._values or self._values[fitted][0] <= at_s:
            self._values[fitted] = (at_s, value)

    def clear(self) -> None:
        """Know nothing."""
        self._values.clear()

    def family(self) -> Family | None:
        """Return the latest values."""
        points = tuple(
            NumberPoint(self._named(key), value) for key, (_, value) in sorted(self._values.items())
        )
        if not points:
            return None
        return Family(self.name, self.kind, self.unit, self.help, points, across=self.across)


class HistogramMetric(OwnMetric):
    """Counts values into base-2 exponential buckets; any quantile is off by at most 1.1 %."""

    def __init__(
        self,
        owner: OwnMetrics,
        name: str,
        help_text: str,
        unit: str,
        labels: Sequence[str],
        bounds: tuple[float, ...],
    ) -> None:
        super().__init__(owner, name, help_text, Kind.HISTOGRAM, unit, labels)
        self.bounds = bounds
        self._histograms: dict[tuple[str, ...], Histogram] = {}

    @property
    def shape(self) -> tuple[object, ...]:
        """Labels and classic bounds."""
        return (*self.labels, *self.bounds)

    def record(self, value: float, **labels: object) -> None:
        """Count one value; it may be negative."""
        self.say(value, labels)

    def take(self, key: tuple[object, ...], value: float, at_s: float) -> None:
        """Count into the histogram of these labels."""
        fitted = self.fit(key, self._histograms)  # type: ignore[arg-type] # Only looked into.
        found = self._histograms.get(fitted)
        if found is None:
            found = Histogram(buckets_max=self._owner.buckets_max, bounds=self.bounds)
            self._histograms[fitted] = found
        found.add((value,))

    def clear(self) -> None:
        """Forget all counts."""
        self._histograms.clear()

    def family(self) -> Family | None:
        """Return the histograms."""
        points = tuple(
            HistogramPoint(self._named(key), item.value()) for key, item in sorted(self._histograms.items())
        )
        return Family(self.name, self.kind, self.unit, self.help, (), points) if points else None


class OwnMetrics:
    """All metrics of the user's own, at most 200."""

    def __init__(self, buffers: Buffers, registry: Registry) -> None:
        self.buffers = buffers
        self.registry = registry
        self.sets_max = 500
        self.buckets_max = 1024
        self._metrics: dict[str, OwnMetric] = {}

    def counter(self, name: str, help_text: str, unit: str, labels: Sequence[str]) -> CounterMetric:
        """Return the counter of this name, made on first use. Raises ConfigError for a name or label that cannot be."""
        if not name.endswith("_total"):
            raise ConfigError(f"a counter's name must end in _total, got {name!r}; call it {name}_total")
        self._check(name, labels)
        return self._kept(CounterMetric(self, name, help_text, unit, labels))

    def gauge(self, name: str, help_text: str, unit: str, labels: Sequence[str], across: str) -> GaugeMetric:
        """Return the gauge of this name, made on first use."""
        self._check(name, labels)
        if across not in ACROSS:
            raise ConfigError(
                f"across must be one of {', '.join(ACROSS)}, got {across!r}; leave it out for sum"
            )
        return self._kept(GaugeMetric(self, name, help_text, unit, labels, across))

    def histogram(
        self, name: str, help_text: str, unit: str, labels: Sequence[str], bounds: tuple[float, ...]
    ) -> HistogramMetric:
        """Return the histogram of this name, made on first use."""
        self._check(name, labels)
        return self._kept(HistogramMetric(self, name, help_text, unit, labels, bounds))

    def families(self) -> list[Family]:
        """Return what was said, by name. Hold the aggregation lock."""
        found = (metric.family() for _, metric in sorted(self._metrics.items()))
        return [family for family in found if family is not None]

    def clear(self) -> None:
        """Set all to nothing; the metrics stay."""
        for metric in self._metrics.values():
            metric.clear()

    def _check(self, name: str, labels: Sequence[str]) -> None:
        if not _NAME.match(name) or name in METRICS or name.startswith("ninesight_"):
            raise ConfigError(
                f"a metric's name must be of letters, digits, _ and :, and none of the SDK's own, got {name!r}; "
                "choose another"
            )
        check_label_names(labels, f"labels of {name}")

    def _kept(self, metric: M) -> M:
        """Return the metric of this name: an equal one that is there already, or this one."""
        found = self._metrics.get(metric.name)
        if found is None:
            if len(self._metrics) >= _METRICS_MAX:
                raise ConfigError(
                    f"there must be at most {_METRICS_MAX} metrics of your own, {metric.name!r} is one more; "
                    "tell things apart by labels"
                )
            self._metrics[metric.name] = found = metric
        if not isinstance(found, type(metric)) or found.shape != metric.shape:
            raise ConfigError(
                f"{metric.name} must stay a {found.kind} of {found.shape}, got a {metric.kind} of "
                f"{metric.shape}; choose another name"
            )
        return found
