"""The delimited protobuf exposition, the one that carries native histograms.

    length MetricFamily length MetricFamily ...

A histogram that has native buckets becomes a native-histogram point; its classic buckets are
left out then, unless `classic_histograms`. A page is taken whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from ninesight_store.contract import Metadata, ResetHint

from ninesight_collector.batch_builder import BatchBuilder, HistogramPoint
from ninesight_collector.errors import ExpositionError
from ninesight_collector.names import format_float
from ninesight_collector.scrape.client_model import MetricFamily
from ninesight_collector.scrape.exposition import HELP_MAX, ExpositionLimits, check_time
from ninesight_collector.scrape.target_labels import TargetLabels

__all__ = ["ProtobufParser"]

_KINDS = ("counter", "gauge", "summary", "unknown", "histogram", "histogram")
_HISTOGRAM, _GAUGE_HISTOGRAM = 4, 5
_INDEX_LIMIT = 1 << 31
_SCHEMA_MIN, _SCHEMA_MAX = -4, 8


@dataclass(slots=True)
class ProtobufParser:
    """Parses the pages of one target. Used by one thread at a time."""

    target: TargetLabels
    limits: ExpositionLimits = field(default_factory=ExpositionLimits)
    classic_histograms: bool = False

    def parse(self, body: bytes, builder: BatchBuilder, now_ms: int) -> int:
        """Add every sample of the page to the builder; return their number.

        Raises ExpositionError as `ExpositionParser.parse` does.
        """
        before = len(builder)
        for family in _families(body):
            if not family.name:
                raise ExpositionError("a metric family must have a name, got one without")
            for metric in family.metric:
                self._metric(family, metric, _Out(self, builder, family.name, metric, now_ms))
                if len(builder) - before > self.limits.series_max:
                    raise ExpositionError(
                        f"a page must have at most {self.limits.series_max} series, got more", reason="series"
                    )
            kind = _KINDS[family.type] if 0 <= family.type < len(_KINDS) else "unknown"
            builder.describe(Metadata(family.name, kind, family.unit, family.help[:HELP_MAX]))
        return len(builder) - before

    def _metric(self, family: Any, metric: Any, out: _Out) -> None:
        name = family.name
        if metric.HasField("histogram"):
            self._histogram(name, metric.histogram, out, gauge=family.type == _GAUGE_HISTOGRAM)
        elif metric.HasField("summary"):
            for quantile in metric.summary.quantile:
                out.add(name, quantile.value, quantile=format_float(quantile.quantile))
            out.add(f"{name}_sum", metric.summary.sample_sum)
            out.add(f"{name}_count", float(metric.summary.sample_count))
        else:
            for kind in ("counter", "gauge", "untyped"):
                if metric.HasField(kind):
                    row = out.add(name, getattr(metric, kind).value)
                    if kind == "counter" and metric.counter.HasField("exemplar"):
                        out.add_exemplar(row, metric.counter.exemplar)

    def _histogram(self, name: str, histogram: Any, out: _Out, *, gauge: bool) -> None:
        count = histogram.sample_count_float or float(histogram.sample_count)
        native = (
            histogram.positive_span
            or histogram.negative_span
            or histogram.zero_threshold > 0
            or histogram.zero_count
        )
        if native:
            row = out.add_native(name, _native(histogram, count, gauge=gauge))
            own = histogram.exemplars or [
                one.exemplar for one in histogram.bucket if one.HasField("exemplar")
            ]
            for exemplar in own:
                out.add_exemplar(row, exemplar)
            if not self.classic_histograms:
                return
        ends = False
        for bucket in histogram.bucket:
            ends = ends or bucket.upper_bound == float("inf")
            below = bucket.cumulative_count_float or float(bucket.cumulative_count)
            row = out.add(f"{name}_bucket", below, le=format_float(bucket.upper_bound))
            if bucket.HasField("exemplar"):
                out.add_exemplar(row, bucket.exemplar)
        if not ends:
            out.add(f"{name}_bucket", count, le="+Inf")
        out.add(f"{name}_sum", histogram.sample_sum)
        out.add(f"{name}_count", count)


class _Out:
    """Puts the samples of one metric into the builder, its labels checked once."""

    def __init__(
        self, parser: ProtobufParser, builder: BatchBuilder, family: str, metric: Any, now_ms: int
    ) -> None:
        self._target = parser.target
        self._builder = builder
        self._labels = {pair.name: pair.value for pair in metric.label}
        self._tracked = not metric.timestamp_ms
        self._timestamp_ms = metric.timestamp_ms or now_ms
        self._now_ms = now_ms
        check_time(self._timestamp_ms, now_ms)
        parser.limits.check(family, self._labels)

    def add(self, name: str, value: float, **extra: str) -> int:
        row = self._builder.row(self._target.series(name, self._labels | extra))
        self._builder.add_row(row, self._timestamp_ms, value, tracked=self._tracked)
        return row

    def add_native(self, name: str, point: HistogramPoint) -> int:
        series = self._target.series(name, dict(self._labels))
        self._builder.add_histogram(series, self._timestamp_ms, point)
        return self._builder.row(series)

    def add_exemplar(self, row: int, exemplar: Any) -> None:
        labels = {pair.name: pair.value for pair in exemplar.label if pair.value}
        told = exemplar.timestamp if exemplar.HasField("timestamp") else None
        at_ms = None if told is None else told.seconds * 1000 + told.nanos // 1_000_000
        self._builder.exemplars.add(row, labels, exemplar.value, at_ms, self._now_ms)


def _native(histogram: Any, count: float, *, gauge: bool) -> HistogramPoint:
    if not _SCHEMA_MIN <= histogram.schema <= _SCHEMA_MAX:
        raise ExpositionError(f"the schema of a native histogram must be -4..8, got {histogram.schema}")
    return HistogramPoint(
        schema=histogram.schema,
        count=count,
        sum=histogram.sample_sum,
        zero_threshold=histogram.zero_threshold,
        zero_count=histogram.zero_count_float or float(histogram.zero_count),
        positive=_buckets(histogram.positive_span, histogram.positive_delta, histogram.positive_count),
        negative=_buckets(histogram.negative_span, histogram.negative_delta, histogram.negative_count),
        hint=ResetHint.GAUGE if gauge else ResetHint.UNKNOWN,
    )


def _buckets(spans: Any, deltas: Any, counts: Any) -> tuple[tuple[int, float], ...]:
    """Return (index, count) of spans and either count differences (integers) or counts (floats)."""
    absolute = list(counts)
    if not absolute:
        total = 0
        for delta in deltas:
            total += delta
            absolute.append(float(total))
    if sum(span.length for span in spans) != len(absolute):
        raise ExpositionError(
            f"the spans of a native histogram must cover its {len(absolute)} buckets, got other lengths"
        )
    buckets: list[tuple[int, float]] = []
    index, place = 0, 0
    for number, span in enumerate(spans):
        if number and span.offset < 0:
            raise ExpositionError("only the first span of a native histogram may have an offset below 0")
        index += span.offset
        for _ in range(span.length):
            if absolute[place]:
                buckets.append((index, absolute[place]))
            index, place = index + 1, place + 1
    if buckets and not (buckets[0][0] >= -_INDEX_LIMIT and buckets[-1][0] < _INDEX_LIMIT):
        raise ExpositionError("a bucket index must fit 32 bits")
    return tuple(buckets)


def _families(body: bytes) -> Iterator[Any]:
    at = 0
    while at < len(body):
        size, at = _length(body, at)
        if size > len(body) - at:
            raise ExpositionError("a protobuf page must be complete, got one that ends early")
        try:
            yield MetricFamily.FromString(body[at : at + size])
        except DecodeError as error:
            raise ExpositionError(
                f"a page must be delimited MetricFamily messages, got something else ({error})"
            ) from error
        at += size


def _length(body: bytes, at: int) -> tuple[int, int]:
    size = 0
    for place in range(5):
        if at >= len(body):
            break
        byte = body[at]
        at += 1
        size |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return size, at
    raise ExpositionError("a protobuf page must be delimited by lengths, got something else")
