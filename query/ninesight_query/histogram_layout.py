"""Bucket layouts brought together: coarser schemas, wider zero buckets, common custom bounds.

Everything here keeps the number of observations: counts move between buckets, none is lost.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ninesight_store.contract import Float64

from ninesight_query.histogram import CUSTOM_SCHEMA, Histogram
from ninesight_query.histogram_bounds import upper_bounds

__all__ = [
    "coarsen_run",
    "common_bounds",
    "compact",
    "merge_runs",
    "to_bounds",
    "to_schema",
    "trim_run",
    "widen_zero",
    "with_zero_threshold",
]

Run = tuple[int, Float64]
"""A dense run of buckets: the index of the first, and the counts."""


def trim_run(start: int, counts: Float64) -> Run:
    """Drop empty buckets at both ends of a run; an empty run starts at 0."""
    used = np.flatnonzero(counts)
    if len(used) == 0:
        return 0, counts[:0]
    first, last = int(used[0]), int(used[-1])
    if first == 0 and last == len(counts) - 1:
        return start, counts
    return start + first, counts[first : last + 1]


def compact(histogram: Histogram) -> Histogram:
    """Return the same histogram without empty buckets at the ends of its runs."""
    positive_start, positive = trim_run(histogram.positive_start, histogram.positive)
    negative_start, negative = trim_run(histogram.negative_start, histogram.negative)
    return replace(
        histogram,
        positive_start=positive_start,
        positive=positive,
        negative_start=negative_start,
        negative=negative,
    )


def merge_runs(a: Run, b: Run, sign: float = 1.0) -> Run:
    """Add (or with sign -1 subtract) two runs bucket by bucket."""
    (start_a, counts_a), (start_b, counts_b) = a, b
    if len(counts_b) == 0:
        return a
    if len(counts_a) == 0:
        return start_b, counts_b * sign if sign != 1.0 else counts_b
    start = min(start_a, start_b)
    end = max(start_a + len(counts_a), start_b + len(counts_b))
    out = np.zeros(end - start)
    out[start_a - start : start_a - start + len(counts_a)] = counts_a
    part = out[start_b - start : start_b - start + len(counts_b)]
    if sign == 1.0:
        part += counts_b
    else:
        part -= counts_b
    return start, out


def coarsen_run(start: int, counts: Float64, shift: int) -> Run:
    """Merge neighbouring buckets of a run so that the schema falls by `shift`.

    Source: bucket i of schema s lies in bucket ((i-1) >> shift) + 1 of schema s - shift.
    """
    if shift == 0 or len(counts) == 0:
        return start, counts
    first = ((start - 1) >> shift) + 1
    target = ((np.arange(start, start + len(counts)) - 1) >> shift) + 1 - first
    return first, np.bincount(target, weights=counts).astype(np.float64)


def to_schema(histogram: Histogram, schema: int) -> Histogram:
    """Return the histogram at a coarser exponential schema; the same object if it has it already.

    Raises ValueError where the schema would grow: resolution cannot be won back.
    """
    if schema == histogram.schema:
        return histogram
    if histogram.custom or schema > histogram.schema:
        raise ValueError(
            f"a schema can only fall, from {histogram.schema} to {schema} is impossible; ask for a lower one"
        )
    shift = histogram.schema - schema
    positive_start, positive = coarsen_run(histogram.positive_start, histogram.positive, shift)
    negative_start, negative = coarsen_run(histogram.negative_start, histogram.negative, shift)
    return replace(
        histogram,
        schema=schema,
        positive_start=positive_start,
        positive=positive,
        negative_start=negative_start,
        negative=negative,
    )


def _inside(schema: int, start: int, counts: Float64, threshold: float) -> tuple[float, float, int]:
    """Return (count below the threshold, threshold moved to the end of its bucket, buckets swallowed)."""
    if len(counts) == 0:
        return 0.0, threshold, 0
    edges = upper_bounds(schema, start - 1, len(counts) + 1)
    swallowed = int(np.searchsorted(edges[:-1], threshold, "left"))
    if swallowed == 0:
        return 0.0, threshold, 0
    if edges[swallowed] > threshold and counts[swallowed - 1] != 0:
        threshold = float(edges[swallowed])
    return float(counts[:swallowed].sum()), threshold, swallowed


def widen_zero(histogram: Histogram, threshold: float) -> Histogram:
    """Return the histogram with a zero bucket that reaches at least to `threshold`.

    Where the threshold falls into a filled bucket, the zero bucket grows to that bucket's end.
    """
    if histogram.custom or threshold <= histogram.zero_threshold:
        return histogram
    while True:
        below, wider, cut_positive = _inside(
            histogram.schema, histogram.positive_start, histogram.positive, threshold
        )
        above, widest, cut_negative = _inside(
            histogram.schema, histogram.negative_start, histogram.negative, wider
        )
        if widest == wider:
            break
        threshold = widest
    return replace(
        histogram,
        zero_threshold=widest,
        zero_count=histogram.zero_count + below + above,
        positive_start=histogram.positive_start + cut_positive,
        positive=histogram.positive[cut_positive:],
        negative_start=histogram.negative_start + cut_negative,
        negative=histogram.negative[cut_negative:],
    )


def with_zero_threshold(a: Histogram, b: Histogram) -> tuple[Histogram, Histogram]:
    """Widen the zero buckets of two histograms until both have the same threshold."""
    while a.zero_threshold != b.zero_threshold:
        if a.zero_threshold > b.zero_threshold:
            b = widen_zero(b, a.zero_threshold)
        else:
            a = widen_zero(a, b.zero_threshold)
    return a, b


def common_bounds(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    """Return the custom bounds that both have, ascending."""
    return a if a == b else tuple(sorted(set(a) & set(b)))


def to_bounds(histogram: Histogram, bounds: tuple[float, ...]) -> Histogram:
    """Return a custom-bounds histogram over fewer bounds, each of which it must have.

    A bucket goes where its upper bound lies; what is above the last bound goes to the +Inf bucket.
    """
    if histogram.schema != CUSTOM_SCHEMA or bounds == histogram.bounds:
        return histogram
    uppers = (*histogram.bounds, np.inf)
    first = histogram.positive_start
    target = np.searchsorted(
        np.array(bounds, np.float64), uppers[first : first + len(histogram.positive)], "left"
    )
    counts = np.bincount(target, weights=histogram.positive, minlength=len(bounds) + 1)
    start, run = trim_run(0, counts.astype(np.float64))
    return replace(histogram, bounds=bounds, positive_start=start, positive=run)
