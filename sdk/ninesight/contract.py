"""The SDK's values: words a call is told in, and what an exporter is handed.

    call -> per-thread buffer -> aggregation -> Snapshot -> exposition, OTLP, Exporter

Durations are seconds, times nanoseconds since the Unix epoch. All values are immutable and safe to
share between threads.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ninesight.buckets import relative_error, upper_bound

__all__ = [
    "OTHER",
    "STAGES",
    "Exemplar",
    "Exporter",
    "Family",
    "HistogramPoint",
    "HistogramValue",
    "Kind",
    "Labels",
    "NumberPoint",
    "Outcome",
    "ServedBy",
    "Snapshot",
    "Stats",
]

Labels = tuple[tuple[str, str], ...]
"""(name, value) pairs in the order of the metric's label names."""

OTHER = "__other__"
"""What a label value becomes beyond its budget."""

STAGES = ("preprocess", "queue", "batch", "inference", "postprocess", "prefill", "decode")
"""Stages that need no budget."""


class Outcome(enum.StrEnum):
    """How a request ended."""

    OK = "ok"
    """It was answered."""
    ERROR = "error"
    """It raised, and none of the others holds."""
    TIMEOUT = "timeout"
    """It ran out of time (TimeoutError)."""
    SHED = "shed"
    """It was turned away before it ran; such requests are not in the duration histogram."""
    CANCELLED = "cancelled"
    """The caller went away (CancelledError, or a generator closed early)."""


class ServedBy(enum.StrEnum):
    """Who gave the answer."""

    MODEL = "model"
    """The model itself."""
    CACHE = "cache"
    """A stored answer."""
    FALLBACK = "fallback"
    """Something cheaper in the model's stead."""


class Kind(enum.StrEnum):
    """What a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class HistogramValue:
    """Cumulative totals of one histogram. Bucket indexes are Prometheus' (OpenTelemetry's + 1), ascending."""

    schema: int
    count: int
    sum: float
    low: float
    """Smallest value ever counted; 0.0 while count is 0."""
    high: float
    zero_threshold: float
    zero_count: int
    positive: tuple[tuple[int, int], ...]
    negative: tuple[tuple[int, int], ...]
    bounds: tuple[float, ...]
    """Classic upper bounds, +Inf left out."""
    cumulative: tuple[int, ...]
    """Exact counts of values <= each bound, and the count of all values last."""

    @property
    def relative_error(self) -> float:
        """Bound of the error of any quantile: 2^(2^-schema) - 1."""
        return relative_error(self.schema)

    def quantile_bounds(self, q: float) -> tuple[float, float]:
        """Return (lower, upper) of the bucket that holds the ceil(q * count)-th smallest value; needs count > 0."""
        assert self.count, "an empty histogram has no quantile"
        rank = max(1, -int(-q * self.count // 1))
        seen = 0
        for index, count in reversed(self.negative):
            seen += count
            if seen >= rank:
                return -upper_bound(index, self.schema), -upper_bound(index - 1, self.schema)
        seen += self.zero_count
        if seen >= rank:
            return -self.zero_threshold, self.zero_threshold
        for index, count in self.positive:
            seen += count
            if seen >= rank:
                return upper_bound(index - 1, self.schema), upper_bound(index, self.schema)
        return self.high, self.high


class NumberPoint(NamedTuple):
    """One counter or gauge value."""

    labels: Labels
    value: float


class Exemplar(NamedTuple):
    """One counted value whose call was kept as a trace."""

    value: float
    time_ns: int
    trace_id: int
    span_id: int


class HistogramPoint(NamedTuple):
    """One histogram."""

    labels: Labels
    value: HistogramValue
    exemplars: tuple[Exemplar, ...] = ()
    """The latest of each classic bucket, by value."""


class Family(NamedTuple):
    """One metric and its points. A family holds points of one sort only."""

    name: str
    kind: Kind
    unit: str
    help: str
    numbers: tuple[NumberPoint, ...] = ()
    histograms: tuple[HistogramPoint, ...] = ()
    across: str = "sum"
    """How a gauge of several processes becomes one value: sum, max or min. Counters and histograms are summed."""


class Snapshot(NamedTuple):
    """Everything the process knows at one moment. Counters and histograms count from `start_ns`."""

    start_ns: int
    time_ns: int
    resource: Mapping[str, str]
    families: tuple[Family, ...] = ()


class Exporter(Protocol):
    """Takes snapshots. Called from the export thread only, one call at a time."""

    def export(self, snapshot: Snapshot) -> None:
        """Deliver the snapshot or raise.

        Snapshots are cumulative: one that was lost is made good by the next. Raises RetryableError
        or PermanentError; both are counted and the next snapshot is offered all the same.
        """

    def close(self) -> None:
        """Let go of connections. Called once, after the last export."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What the SDK knows of itself. Counts are since the process (or the fork) began."""

    recorded: int = 0
    """Calls taken into the totals."""
    dropped: int = 0
    """Calls and events not recorded because a buffer was full."""
    invalid: int = 0
    """Values refused: not finite, or a word that is no outcome."""
    internal_errors: int = 0
    """Errors inside the SDK, or in a callable it was given; each kind is logged once."""
    over_budget: int = 0
    """Label values that became `__other__`."""
    exports: int = 0
    """Snapshots delivered."""
    export_failures: int = 0
    """Snapshots not delivered."""
    points_rejected: int = 0
    """Data points that a receiver refused of pushes it took."""
    spans_rejected: int = 0
    """Spans that a receiver refused of pushes it took."""
    traces_waiting: int = 0
    """Kept calls that wait for export."""
    traces_dropped: int = 0
    """Calls worth a trace that did not fit, or that the receiver never took."""
    threads: int = 0
    """Threads with a buffer now."""
    buffered: int = 0
    """Records that wait for aggregation now."""
    relative_error: Mapping[str, float] = field(default_factory=dict)
    """Stated error bound of each histogram, by `metric{labels}`."""
