"""A mergeable latency histogram: base-2 exponential buckets, and exact classic buckets beside them.

Promised: a quantile is off by at most `relative_error` (1.1 % at schema 6); the schema is lowered
only when more buckets are occupied than the budget allows; merging is free of order; memory is
bounded by the budget. Not safe for concurrent use: the aggregator owns it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import frexp, isfinite, ldexp

from ninesight.buckets import SCHEMA_MIN, bucket_index, octave, relative_error, upper_bound
from ninesight.contract import HistogramValue

__all__ = ["SPAN_MAX", "ZERO_THRESHOLD", "Histogram"]

ZERO_THRESHOLD = 2.0**-128
"""Magnitudes up to this are counted as zero, as Prometheus' own client does."""

SPAN_MAX = 8192
"""Buckets between the lowest and the highest occupied one: OTLP sends them densely. 128 octaves at schema 6."""


class Histogram:
    """Counts finite values; `buckets_max` bounds the occupied buckets, `bounds` are the classic upper bounds."""

    __slots__ = (
        "bounds",
        "buckets_max",
        "classic",
        "count",
        "high",
        "low",
        "negative",
        "positive",
        "schema",
        "sum",
        "zero_count",
    )

    def __init__(self, *, schema: int = 6, buckets_max: int = 1024, bounds: Sequence[float] = ()) -> None:
        self.schema = schema
        self.buckets_max = buckets_max
        self.bounds = tuple(bounds)
        self.classic = [0] * (len(self.bounds) + 1)
        self.count = 0
        self.sum = 0.0
        self.low = 0.0
        self.high = 0.0
        self.zero_count = 0
        self.positive: dict[int, int] = {}
        self.negative: dict[int, int] = {}

    @property
    def relative_error(self) -> float:
        """The stated bound of any quantile: width of a bucket relative to its lower edge."""
        return relative_error(self.schema)

    @classmethod
    def of(cls, value: HistogramValue, *, buckets_max: int) -> Histogram:
        """Return a histogram that has counted what a value tells of."""
        found = cls(schema=value.schema, buckets_max=buckets_max, bounds=value.bounds)
        found.count = value.count
        found.sum = value.sum
        found.low = value.low
        found.high = value.high
        found.zero_count = value.zero_count
        found.positive = dict(value.positive)
        found.negative = dict(value.negative)
        found.classic = [
            upto - below for below, upto in zip((0, *value.cumulative), value.cumulative, strict=False)
        ]
        return found

    def add(self, values: Iterable[float]) -> int:
        """Count the finite values; return how many were not finite and were left out.

        Costs one sort and then a step per occupied bucket, not per value.
        """
        batch = sorted(values)
        total = sum(batch)
        refused = 0
        if not isfinite(total):
            finite = sorted(value for value in batch if isfinite(value))
            refused = len(batch) - len(finite)
            batch = finite
            total = sum(batch)
        if batch:
            self._widen(batch[0], batch[-1])
            self.count += len(batch)
            self.sum += total
            self._count_classic(batch)
            occupied = len(self.positive) + len(self.negative)
            self._count_exponential(batch)
            if len(self.positive) + len(self.negative) > min(occupied, self.buckets_max):
                self._fit()
        return refused

    def merge(self, other: Histogram) -> None:
        """Add another histogram's counts. Classic bounds must be equal. The result does not depend on order."""
        assert self.bounds == other.bounds, "histograms with different classic bounds cannot be merged"
        if not other.count:
            return
        while self.schema > other.schema:
            self._coarsen()
        self._widen(other.low, other.high)
        self.count += other.count
        self.sum += other.sum
        self.zero_count += other.zero_count
        self.classic = [ours + theirs for ours, theirs in zip(self.classic, other.classic, strict=True)]
        shift = other.schema - self.schema
        for mine, theirs in ((self.positive, other.positive), (self.negative, other.negative)):
            for index, count in theirs.items():
                place = -(-index >> shift)
                mine[place] = mine.get(place, 0) + count
        self._fit()

    def value(self) -> HistogramValue:
        """Return the totals as an immutable value."""
        return HistogramValue(
            schema=self.schema,
            count=self.count,
            sum=self.sum,
            low=self.low,
            high=self.high,
            zero_threshold=ZERO_THRESHOLD,
            zero_count=self.zero_count,
            positive=tuple(sorted(self.positive.items())),
            negative=tuple(sorted(self.negative.items())),
            bounds=self.bounds,
            cumulative=tuple(accumulate(self.classic)),
        )

    def _widen(self, low: float, high: float) -> None:
        if not self.count:
            self.low, self.high = low, high
        else:
            self.low = min(self.low, low)
            self.high = max(self.high, high)

    def _count_classic(self, batch: list[float]) -> None:
        classic = self.classic
        bounds = self.bounds
        if len(batch) < len(bounds):
            for value in batch:
                classic[bisect_left(bounds, value)] += 1
            return
        below = 0
        for place, bound in enumerate(bounds):
            upto = bisect_right(batch, bound, below)
            classic[place] += upto - below
            below = upto
        classic[-1] += len(batch) - below

    def _count_exponential(self, batch: list[float]) -> None:
        first_zero = bisect_left(batch, -ZERO_THRESHOLD)
        first_positive = bisect_right(batch, ZERO_THRESHOLD, first_zero)
        self.zero_count += first_positive - first_zero
        if first_zero:
            _count_sorted(self.negative, [-value for value in reversed(batch[:first_zero])], 0, self.schema)
        _count_sorted(self.positive, batch, first_positive, self.schema)

    def _fit(self) -> None:
        while self.schema > SCHEMA_MIN and self._over_budget():
            self._coarsen()

    def _over_budget(self) -> bool:
        if len(self.positive) + len(self.negative) > self.buckets_max:
            return True
        return any(side and max(side) - min(side) >= SPAN_MAX for side in (self.positive, self.negative))

    def _coarsen(self) -> None:
        self.schema -= 1
        self.positive = _halve(self.positive)
        self.negative = _halve(self.negative)


def _count_sorted(counts: dict[int, int], batch: list[float], position: int, schema: int) -> None:
    """Count ascending positive values from `position` on: a step or two for each occupied bucket."""
    if schema <= 0:
        for value in batch[position:]:
            index = bucket_index(value, schema)
            counts[index] = counts.get(index, 0) + 1
        return
    size = len(batch)
    edges = octave(schema)
    last = None
    while position < size:
        # As `bucket_index`, without its frame: of few values most have a bucket of their own.
        fraction, exponent = frexp(batch[position])
        step = bisect_left(edges, fraction)
        index = ((exponent - 1) << schema) + step
        position += 1
        count = 1
        if index == last:  # The second of a bucket: there may be many more.
            try:
                bound = ldexp(edges[step], exponent)
            except (IndexError, OverflowError):  # The last bucket of its octave.
                bound = upper_bound(index, schema)
            count = bisect_right(batch, bound, position) - position + 1
            position += count - 1
        last = index
        counts[index] = counts.get(index, 0) + count


def _halve(counts: dict[int, int]) -> dict[int, int]:
    """Merge pairs of buckets: 2j - 1 and 2j become j."""
    merged: dict[int, int] = {}
    for index, count in counts.items():
        place = (index + 1) >> 1
        merged[place] = merged.get(place, 0) + count
    return merged
