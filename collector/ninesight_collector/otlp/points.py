"""One data point at a time into the builder."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise

from ninesight_store.contract import Labels, labels_of
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    DataPointFlags,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)

from ninesight_collector.batch_builder import STALE_POINT, BatchBuilder
from ninesight_collector.names import format_float
from ninesight_collector.otlp.exemplars import add_exemplar, exemplar_value
from ninesight_collector.otlp.exponential import PointError, native_point
from ninesight_collector.otlp.labels import check_labels, point_labels
from ninesight_collector.otlp.settings import OtlpSettings

__all__ = ["BUCKETS_MAX", "Target", "add_exponential", "add_histogram", "add_number", "add_summary"]

BUCKETS_MAX = 2048
"""Bounds of one classic histogram."""

_NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint | SummaryDataPoint


@dataclass(frozen=True, slots=True)
class Target:
    """Where the points of one resource go."""

    builder: BatchBuilder
    settings: OtlpSettings
    resource: dict[str, str] = field(default_factory=dict)
    now_ms: int = 0
    times_ms: list[int] = field(default_factory=list)
    """When each point was taken that went there."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A checked point: its labels without the name, its time, and whether it says that the series ended."""

    labels: dict[str, str]
    timestamp_ms: int
    stale: bool
    builder: BatchBuilder

    def add(self, name: str, value: float, **extra: str) -> int:
        """Add a sample; return its row of the table."""
        series: Labels = labels_of(name, self.labels | extra)
        if self.stale:
            self.builder.add_stale(series, self.timestamp_ms)
        else:
            self.builder.add(series, self.timestamp_ms, value)
        return self.builder.row(series)


def add_number(name: str, point: NumberDataPoint, target: Target) -> None:
    """Add a gauge or sum point. Raises PointError."""
    row = _row(point, target)
    kind = point.WhichOneof("value")
    if kind is None and not row.stale:
        raise PointError("a number point must have as_double or as_int, got neither", "no_value")
    place = row.add(name, point.as_double if kind == "as_double" else float(point.as_int))
    for exemplar in point.exemplars:
        add_exemplar(target.builder, place, exemplar, target.now_ms)


def add_histogram(name: str, point: HistogramDataPoint, target: Target) -> None:
    """Add a classic histogram: cumulative buckets up to +Inf, sum where there is one, count. Raises PointError."""
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    row = _row(point, target)
    if counts and len(counts) != len(bounds) + 1:
        raise PointError(
            f"a histogram must have one bucket count more than bounds ({len(bounds)}), got {len(counts)}",
            "buckets",
        )
    if any(not low < high for low, high in pairwise(bounds)):
        raise PointError("the bounds of a histogram must ascend strictly", "buckets")
    if bounds and not (math.isfinite(bounds[0]) and math.isfinite(bounds[-1])):
        raise PointError(
            "the bounds of a histogram must be finite (the last bucket reaches to infinity by itself), "
            f"got {bounds[0]:g} to {bounds[-1]:g}",
            "buckets",
        )
    if len(bounds) > BUCKETS_MAX:
        raise PointError(
            f"a histogram must have at most {BUCKETS_MAX} bounds, got {len(bounds)}: each is a series; "
            "send an exponential histogram",
            "buckets",
        )
    below, places = 0, []
    for bound, count in zip(bounds, counts, strict=False):
        below += count
        places.append(row.add(f"{name}_bucket", float(below), le=format_float(bound)))
    places.append(row.add(f"{name}_bucket", float(point.count), le="+Inf"))
    for exemplar in point.exemplars:
        # Of the narrowest bucket that holds it.
        place = places[min(bisect_left(bounds, exemplar_value(exemplar)), len(places) - 1)]
        add_exemplar(target.builder, place, exemplar, target.now_ms)
    if point.HasField("sum") or row.stale:
        row.add(f"{name}_sum", point.sum)
    row.add(f"{name}_count", float(point.count))


def add_exponential(name: str, point: ExponentialHistogramDataPoint, target: Target) -> None:
    """Add a native-histogram point. Raises PointError."""
    row = _row(point, target)
    native = STALE_POINT if row.stale else native_point(point)
    series = labels_of(name, row.labels)
    target.builder.add_histogram(series, row.timestamp_ms, native)
    for exemplar in point.exemplars:
        add_exemplar(target.builder, target.builder.row(series), exemplar, target.now_ms)


def add_summary(name: str, point: SummaryDataPoint, target: Target) -> None:
    """Add a summary: its quantiles, sum and count. Raises PointError."""
    row = _row(point, target)
    for quantile in point.quantile_values:
        row.add(name, quantile.value, quantile=format_float(quantile.quantile))
    row.add(f"{name}_sum", point.sum)
    row.add(f"{name}_count", float(point.count))


def _row(point: _Point, target: Target) -> _Row:
    timestamp_ms = point.time_unix_nano // 1_000_000
    if not timestamp_ms:
        raise PointError("time_unix_nano must be set, got 0", "timestamp")
    ahead_ms = timestamp_ms - target.now_ms
    if ahead_ms > target.settings.future_ms_max:
        raise PointError(
            f"time_unix_nano must not be more than {target.settings.future_ms_max // 1000}s in the future, "
            f"got {ahead_ms // 1000}s; set the sender's clock",
            "timestamp",
        )
    attributes: list[KeyValue] = list(point.attributes)
    labels = {**point_labels(attributes), **target.resource}
    check_labels(labels, target.settings)
    return _Row(labels, timestamp_ms, bool(point.flags & _NO_VALUE), target.builder)
