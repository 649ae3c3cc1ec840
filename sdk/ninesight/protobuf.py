"""The protobuf exposition: `io.prometheus.client.MetricFamily`, delimited, with native histograms.

Field numbers are those of Prometheus' `metrics.proto`:
MetricFamily{name 1, help 2, type 3, metric 4, unit 5}; Metric{label 1, gauge 2, counter 3, histogram 7};
Histogram{sample_count 1, sample_sum 2, bucket 3, schema 5, zero_threshold 6, zero_count 7, negative_span 9,
negative_delta 10, positive_span 12, positive_delta 13, created_timestamp 15,
exemplars 16}; Bucket{cumulative_count 1, upper_bound 2, exemplar 3}; Exemplar{label 1, value 2, timestamp 3}.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ninesight.contract import Exemplar, Family, HistogramPoint, Kind, Labels, Snapshot
from ninesight.wire import field_bytes, field_double, field_packed_sint, field_sint, field_uint, varint

__all__ = ["CONTENT_TYPE", "encode"]

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

_TYPES = {Kind.COUNTER: 0, Kind.GAUGE: 1, Kind.HISTOGRAM: 4}
_GAP_MAX = 2
"""Empty buckets that are cheaper to send than a new span."""


def encode(snapshot: Snapshot) -> bytes:
    """Return the families one after the other, each preceded by its length."""
    created = _timestamp(snapshot.start_ns)
    out = []
    for family in snapshot.families:
        message = _family(family, created)
        out += [varint(len(message)), message]
    return b"".join(out)


def _family(family: Family, created: bytes) -> bytes:
    parts = [
        field_bytes(1, family.name),
        field_bytes(2, family.help),
        field_uint(3, _TYPES[family.kind]),
    ]
    for number in family.numbers:
        value = field_double(1, number.value)
        if family.kind is Kind.COUNTER:
            value = field_bytes(3, value + field_bytes(3, created))
        else:
            value = field_bytes(2, value)
        parts.append(field_bytes(4, _labels(number.labels) + value))
    for histogram in family.histograms:
        value = field_bytes(7, _histogram(histogram) + field_bytes(15, created))
        parts.append(field_bytes(4, _labels(histogram.labels) + value))
    return b"".join(parts)


def _labels(labels: Labels) -> bytes:
    return b"".join(
        field_bytes(1, field_bytes(1, name) + field_bytes(2, value)) for name, value in sorted(labels)
    )


def _histogram(point: HistogramPoint) -> bytes:
    value = point.value
    kept = {bisect_left(value.bounds, item.value): _exemplar(item) for item in point.exemplars}
    parts = [field_uint(1, value.count), field_double(2, value.sum)]
    for place, (bound, count) in enumerate(zip((*value.bounds, float("inf")), value.cumulative, strict=True)):
        exemplar = field_bytes(3, kept[place]) if place in kept else b""
        parts.append(field_bytes(3, field_uint(1, count) + field_double(2, bound) + exemplar))
    parts += [
        field_sint(5, value.schema),
        field_double(6, value.zero_threshold),
        field_uint(7, value.zero_count),
        _spans(9, 10, value.negative),
        _spans(12, 13, value.positive),
        *(field_bytes(16, exemplar) for exemplar in kept.values()),
    ]
    return b"".join(parts)


def _exemplar(exemplar: Exemplar) -> bytes:
    ids = (("trace_id", f"{exemplar.trace_id:032x}"), ("span_id", f"{exemplar.span_id:016x}"))
    return _labels(ids) + field_double(2, exemplar.value) + field_bytes(3, _timestamp(exemplar.time_ns))


def _spans(span_field: int, delta_field: int, buckets: Sequence[tuple[int, int]]) -> bytes:
    """Encode occupied buckets as runs (offset from the end of the run before) and count differences."""
    runs: list[list[int]] = []
    deltas = []
    last_index = 0
    last_count = 0
    for index, count in buckets:
        gap = index - last_index
        if runs and gap <= _GAP_MAX:
            for _ in range(gap):
                deltas.append(-last_count)
                last_count = 0
            runs[-1][1] += gap + 1
        else:
            runs.append([gap, 1])
        deltas.append(count - last_count)
        last_count = count
        last_index = index + 1
    spans = b"".join(
        field_bytes(span_field, field_sint(1, offset) + field_uint(2, length)) for offset, length in runs
    )
    return spans + field_packed_sint(delta_field, deltas)


def _timestamp(time_ns: int) -> bytes:
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return field_uint(1, seconds) + field_uint(2, nanos)
