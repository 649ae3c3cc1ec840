"""OTLP exponential histograms as Prometheus native histograms.

    OTLP bucket i at scale s:        (2^(i * 2^-s), 2^((i+1) * 2^-s)]
    Prometheus bucket i, schema s:   (2^((i-1) * 2^-s), 2^(i * 2^-s)]      so Prometheus i = OTLP i + 1

Scales above 8 are merged down: halving the resolution once maps index i to i >> 1, which is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint

from ninesight_collector.batch_builder import HistogramPoint

__all__ = ["PointError", "native_point"]

_SCALE_MAX = 8
_SCALE_MIN = -4
_INDEX_LIMIT = 1 << 31


class PointError(ValueError):
    """One data point cannot be taken; the rest of the request can. `reason` is the counter's label."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def native_point(point: ExponentialHistogramDataPoint) -> HistogramPoint:
    """Return the native histogram of an OTLP point. Raises PointError where it cannot be one."""
    if point.scale < _SCALE_MIN:
        raise PointError(
            f"the scale of an exponential histogram must be at least {_SCALE_MIN}, got {point.scale}; "
            "raise the scale in the sender",
            "scale",
        )
    shift = max(0, point.scale - _SCALE_MAX)
    return HistogramPoint(
        schema=point.scale - shift,
        count=float(point.count),
        sum=point.sum,
        zero_threshold=point.zero_threshold,
        zero_count=float(point.zero_count),
        positive=_buckets(point.positive.offset, point.positive.bucket_counts, shift),
        negative=_buckets(point.negative.offset, point.negative.bucket_counts, shift),
    )


def _buckets(offset: int, counts: Sequence[int], shift: int) -> tuple[tuple[int, float], ...]:
    merged: dict[int, int] = {}
    for place, count in enumerate(counts):
        if count:
            index = ((offset + place) >> shift) + 1
            merged[index] = merged.get(index, 0) + count
    if merged and not (min(merged) >= -_INDEX_LIMIT and max(merged) < _INDEX_LIMIT):
        raise PointError("a bucket index must fit 32 bits", "bucket_index")
    return tuple((index, float(count)) for index, count in merged.items())
