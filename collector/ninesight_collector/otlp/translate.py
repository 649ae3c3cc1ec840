"""An OTLP request as a Batch: one bad point costs itself, never the request.

    gauge                  -> name
    sum, monotonic         -> name_total;  otherwise name
    histogram              -> name_bucket{le}, name_sum, name_count
    exponential histogram  -> name, native
    summary                -> name{quantile}, name_sum, name_count

Delta temporality is refused: adding deltas up needs state that a resent request would count
twice. The message names the sender's setting that turns it to cumulative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from ninesight_store.contract import Batch, Metadata
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)

from ninesight_collector.batch_builder import BatchBuilder
from ninesight_collector.otlp.exponential import PointError
from ninesight_collector.otlp.labels import resource_labels
from ninesight_collector.otlp.points import Target, add_exponential, add_histogram, add_number, add_summary
from ninesight_collector.otlp.settings import OtlpSettings
from ninesight_collector.otlp.units import prometheus_name, unit_words

__all__ = ["Refusals", "Translated", "translate"]

_REASONS_SHOWN = 5
_DELTA = (
    'metric "{name}" must be cumulative, got {kind} temporality; set '
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative in the sender"
)
_P = TypeVar("_P", NumberDataPoint, HistogramDataPoint, ExponentialHistogramDataPoint, SummaryDataPoint)


@dataclass(slots=True)
class Refusals:
    """Points refused, by reason, with the first message of each."""

    counts: dict[str, int] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, message: str, points: int = 1) -> None:
        """Count refused points."""
        self.counts[reason] = self.counts.get(reason, 0) + points
        self.messages.setdefault(reason, message)

    @property
    def total(self) -> int:
        """Points refused in all."""
        return sum(self.counts.values())

    def text(self) -> str:
        """Return one sentence per reason, the most frequent first."""
        ordered = sorted(self.counts, key=lambda reason: -self.counts[reason])[:_REASONS_SHOWN]
        return "; ".join(f"{self.counts[reason]} refused: {self.messages[reason]}" for reason in ordered)


@dataclass(frozen=True, slots=True)
class Translated:
    """What a request came to."""

    batch: Batch
    refusals: Refusals
    exemplars_left_out: Mapping[str, int] = field(default_factory=dict)
    """By reason; their points are kept."""
    times_ms: list[int] = field(default_factory=list)
    """When each point of the batch was taken: one point may be many samples, all of its own time."""

    def points_before(self, time_ms: int) -> int:
        """Return how many points are older than that."""
        return sum(1 for taken_ms in self.times_ms if taken_ms < time_ms)


def translate(request: ExportMetricsServiceRequest, settings: OtlpSettings, now_ms: int) -> Translated:
    """Return the samples of a request and what of it was refused. Never raises for its content."""
    builder, refusals, times = BatchBuilder(), Refusals(), list[int]()
    for resource in request.resource_metrics:
        labels = resource_labels(resource.resource, settings)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                _translate_metric(metric, Target(builder, settings, labels, now_ms, times), refusals)
    left_out = builder.exemplars.take_left_out()
    return Translated(builder.batch(now_ms), refusals, left_out, times)


def _translate_metric(metric: Metric, target: Target, refusals: Refusals) -> None:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    data = getattr(metric, kind)
    points = len(data.data_points)
    problem = _metric_problem(metric, kind)
    if problem:
        refusals.add(problem[0], problem[1], points)
        return
    monotonic = kind == "sum" and metric.sum.is_monotonic
    name = prometheus_name(metric.name, metric.unit, monotonic=monotonic, gauge=kind == "gauge")
    if not name:
        refusals.add(
            "name", f'a metric must have a name with letters or digits, got "{metric.name[:80]}"', points
        )
        return
    before = len(target.builder)
    if kind in ("gauge", "sum"):
        _each(add_number, data.data_points, name, target, refusals)
    elif kind == "histogram":
        _each(add_histogram, data.data_points, name, target, refusals)
    elif kind == "exponential_histogram":
        _each(add_exponential, data.data_points, name, target, refusals)
    else:
        _each(add_summary, data.data_points, name, target, refusals)
    if len(target.builder) > before:
        target.builder.describe(
            Metadata(name, _kind(kind, monotonic=monotonic), _unit(metric.unit), metric.description)
        )


def _each(
    add: Callable[[str, _P, Target], None],
    points: Iterable[_P],
    name: str,
    target: Target,
    refusals: Refusals,
) -> None:
    for point in points:
        try:
            add(name, point, target)
        except PointError as error:
            refusals.add(error.reason, f'{error} (metric "{name[:200]}")')
        else:
            target.times_ms.append(point.time_unix_nano // 1_000_000)


def _metric_problem(metric: Metric, kind: str) -> tuple[str, str] | None:
    if kind not in ("sum", "histogram", "exponential_histogram"):
        return None
    temporality = getattr(metric, kind).aggregation_temporality
    if temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE:
        return None
    delta = temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    shown = _DELTA.format(name=metric.name[:200], kind="delta" if delta else "unspecified")
    return "temporality", shown


def _kind(kind: str, *, monotonic: bool) -> str:
    if kind == "sum":
        return "counter" if monotonic else "gauge"
    return "histogram" if kind == "exponential_histogram" else kind


def _unit(unit: str) -> str:
    main, per = unit_words(unit)
    return f"{main}_per_{per}" if per else main
