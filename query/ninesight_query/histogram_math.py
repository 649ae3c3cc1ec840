"""Sums, differences and multiples of histograms, and when two are equal.

Two exponential histograms always add up: the finer falls to the coarser schema, and the
narrower zero bucket widens. Two custom ones meet at the bounds that both have. One of each
kind never adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ninesight_store.contract import Float64, ResetHint

from ninesight_query.histogram import Histogram
from ninesight_query.histogram_layout import (
    common_bounds,
    compact,
    merge_runs,
    to_bounds,
    to_schema,
    widen_zero,
    with_zero_threshold,
)

__all__ = [
    "IncompatibleSchemasError",
    "Sum",
    "add",
    "divide",
    "equal",
    "negate",
    "reconcile",
    "scale",
    "subtract",
    "total",
]


class IncompatibleSchemasError(ValueError):
    """One histogram has custom bounds, the other exponential buckets: they have no common layout."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum or difference, and what had to be done for it."""

    histogram: Histogram
    hints_collided: bool = False
    """One was known to be a reset, another to be none; the hint is unknown now."""
    bounds_reconciled: bool = False
    """Custom bounds differed; only the common ones are left."""


def reconcile(a: Histogram, b: Histogram) -> tuple[Histogram, Histogram, bool]:
    """Bring two histograms to one layout; the flag says whether custom bounds had to be dropped.

    Raises IncompatibleSchemasError for one custom and one exponential histogram.
    """
    if a.custom != b.custom:
        raise IncompatibleSchemasError(
            f"both histograms must have exponential buckets or both custom bounds, got schemas {a.schema} "
            f"and {b.schema}; select one kind with a label matcher"
        )
    if a.custom:
        bounds = common_bounds(a.bounds, b.bounds)
        return to_bounds(a, bounds), to_bounds(b, bounds), a.bounds != b.bounds
    # The zero bucket first: its edges are found exactly at the finer schema.
    a, b = with_zero_threshold(a, b)
    schema = min(a.schema, b.schema)
    return to_schema(a, schema), to_schema(b, schema), False


def _merged_hint(a: ResetHint, b: ResetHint) -> tuple[ResetHint, bool]:
    if a == b:
        return a, False
    if ResetHint.GAUGE in (a, b):
        return ResetHint.GAUGE, False
    return ResetHint.UNKNOWN, ResetHint.UNKNOWN not in (a, b)


def _combine(a: Histogram, b: Histogram, sign: float) -> Sum:
    hint, collided = _merged_hint(a.hint, b.hint)
    a, b, reconciled = reconcile(a, b)
    positive_start, positive = merge_runs(
        (a.positive_start, a.positive), (b.positive_start, b.positive), sign
    )
    negative_start, negative = merge_runs(
        (a.negative_start, a.negative), (b.negative_start, b.negative), sign
    )
    histogram = Histogram(
        schema=a.schema,
        count=a.count + sign * b.count,
        sum=a.sum + sign * b.sum,
        zero_threshold=a.zero_threshold,
        zero_count=a.zero_count + sign * b.zero_count,
        positive_start=positive_start,
        positive=positive,
        negative_start=negative_start,
        negative=negative,
        bounds=a.bounds,
        hint=hint,
    )
    return Sum(histogram, collided, reconciled)


def add(a: Histogram, b: Histogram) -> Sum:
    """Return a + b. Raises IncompatibleSchemasError."""
    return _combine(a, b, 1.0)


def subtract(a: Histogram, b: Histogram) -> Sum:
    """Return a - b; the hint is merged as in `add` (PromQL's `-` makes the result a gauge itself).

    Raises IncompatibleSchemasError.
    """
    return _combine(a, b, -1.0)


def scale(histogram: Histogram, factor: float) -> Histogram:
    """Return the histogram with every count and the sum multiplied; a negative factor makes it a gauge."""
    return replace(
        histogram,
        count=histogram.count * factor,
        sum=histogram.sum * factor,
        zero_count=histogram.zero_count * factor,
        positive=histogram.positive * factor,
        negative=histogram.negative * factor,
        hint=ResetHint.GAUGE if factor < 0 else histogram.hint,
    )


def divide(histogram: Histogram, divisor: float) -> Histogram:
    """Return the histogram with every count and the sum divided.

    Division by zero leaves no bucket: counts become NaN or +-Inf. A negative divisor makes a gauge.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        count, total_, zero = np.array([histogram.count, histogram.sum, histogram.zero_count]) / divisor
        positive, negative = histogram.positive / divisor, histogram.negative / divisor
    if divisor == 0:
        positive, negative = positive[:0], negative[:0]
    return replace(
        histogram,
        count=float(count),
        sum=float(total_),
        zero_count=float(zero),
        positive=positive,
        negative=negative,
        hint=ResetHint.GAUGE if divisor < 0 else histogram.hint,
    )


def negate(histogram: Histogram) -> Histogram:
    """Return the histogram times -1: a gauge."""
    return scale(histogram, -1.0)


def _same(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)  # noqa: PLR0124 - the NaN test without a numpy call


def equal(a: Histogram, b: Histogram) -> bool:
    """Whether two histograms are the same, empty buckets and hints aside. NaN equals NaN."""
    if a.schema != b.schema or a.bounds != b.bounds or a.zero_threshold != b.zero_threshold:
        return False
    if not (_same(a.count, b.count) and _same(a.sum, b.sum) and _same(a.zero_count, b.zero_count)):
        return False
    a, b = compact(a), compact(b)
    return (
        a.positive_start == b.positive_start
        and a.negative_start == b.negative_start
        and np.array_equal(a.positive, b.positive, equal_nan=True)
        and np.array_equal(a.negative, b.negative, equal_nan=True)
    )


def _side(runs: Sequence[tuple[int, Float64]]) -> tuple[int, Float64]:
    """Stack runs into one [n, width] matrix; returns the first index and the matrix."""
    filled = [(start, run) for start, run in runs if len(run)]
    if not filled:
        return 0, np.zeros((len(runs), 0))
    first = min(start for start, _ in filled)
    width = max(start + len(run) for start, run in filled) - first
    out = np.zeros((len(runs), width))
    for row, (start, run) in zip(out, runs, strict=True):
        row[start - first : start - first + len(run)] = run
    return first, out


def _kahan(rows: Float64) -> Float64:
    """Neumaier's compensated sum over axis 0: order does not show in the last digits."""
    sums, lost = rows[0].copy(), np.zeros(rows.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        for row in rows[1:]:
            raised = sums + row
            lost += np.where(np.abs(sums) >= np.abs(row), (sums - raised) + row, (row - raised) + sums)
            sums = raised
        whole: Float64 = np.where(np.isinf(sums), sums, sums + lost)
    return whole


def total(histograms: Sequence[Histogram]) -> Sum:
    """Return the compensated sum of one or more histograms, in one pass over a matrix.

    Raises IncompatibleSchemasError where custom and exponential histograms are mixed.
    """
    if len(histograms) == 1:
        return Sum(histograms[0])
    hint, collided = histograms[0].hint, False
    for other in histograms[1:]:
        hint, clash = _merged_hint(hint, other.hint)
        collided |= clash
    aligned, reconciled = _align(histograms)
    positive_start, positive = _side([(h.positive_start, h.positive) for h in aligned])
    negative_start, negative = _side([(h.negative_start, h.negative) for h in aligned])
    scalars = np.array([(h.count, h.sum, h.zero_count) for h in aligned])
    sums = _kahan(np.hstack((scalars, positive, negative)))
    split = 3 + positive.shape[1]
    result = replace(
        aligned[0],
        count=float(sums[0]),
        sum=float(sums[1]),
        zero_count=float(sums[2]),
        positive_start=positive_start,
        positive=sums[3:split],
        negative_start=negative_start,
        negative=sums[split:],
        hint=hint,
    )
    return Sum(result, collided, reconciled)


def _align(histograms: Sequence[Histogram]) -> tuple[list[Histogram], bool]:
    """Bring many histograms to one layout; the flag says whether custom bounds had to be dropped."""
    first, out = histograms[0], list(histograms)
    for other in histograms:
        if other.custom != first.custom:
            reconcile(first, other)  # Raises: the sentence about mixed kinds lives there.
    if first.custom:
        bounds = first.bounds
        for other in histograms:
            bounds = common_bounds(bounds, other.bounds)
        dropped = any(other.bounds != first.bounds for other in histograms)
        return [to_bounds(each, bounds) for each in out], dropped
    while len({each.zero_threshold for each in out}) > 1:
        widest = max(each.zero_threshold for each in out)
        out = [widen_zero(each, widest) for each in out]
    schema = min(each.schema for each in out)
    return [to_schema(each, schema) for each in out], False
