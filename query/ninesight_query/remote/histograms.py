"""Native histograms as the HTTP API tells them, back to values.

The wire has bucket edges and counts, but neither schema nor empty buckets:

    {"count":"4","sum":"5","buckets":[[3,"-0.001","0.001","1"],[0,"1","2","3"]]}

The schema is the one whose bounds are the edges told. Edges that no schema has are custom bounds.
Two things cannot be told apart: custom bounds that all lie on powers of one schema are read as that
schema, and runs of empty custom buckets come back as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ninesight_store.contract import Float64

from ninesight_query.histogram import CUSTOM_SCHEMA, Histogram
from ninesight_query.histogram_bounds import upper_bounds

__all__ = ["histogram_of"]

_SCHEMAS = tuple(range(8, -5, -1))
_TOLERANCE = 1e-9
"""Of an edge, relative: far below the width of the finest bucket, 2.7e-3."""
_WIDTH_MAX = 1 << 17
"""Most buckets between the first and the last of one side."""

_Bucket = tuple[float, float, float]
"""(lower, upper, count) of a positive bucket, or of the mirror image of a negative one."""


def histogram_of(told: Mapping[str, Any]) -> Histogram:
    """Return the value of one histogram of an answer. Raises ValueError, TypeError or KeyError if it is none."""
    count, total = float(told["count"]), float(told["sum"])
    buckets = [
        (int(rule), float(low), float(high), float(n)) for rule, low, high, n in told.get("buckets") or ()
    ]
    edges = [edge for _, low, high, _ in buckets for edge in (low, high)]
    if any(math.isnan(edge) for edge in edges) or any(low > high for _, low, high, _ in buckets):
        raise ValueError("the edges of a bucket must ascend")
    zero = [each for each in buckets if each[0] == 3 and each[1] == -each[2] and math.isfinite(each[1])]
    threshold, zero_count = (zero[0][2], zero[0][3]) if zero else (0.0, 0.0)
    sides = [each for each in buckets if each not in zero]
    positive = [(low, high, n) for _, low, high, n in sides if low >= 0]
    negative = [(-high, -low, n) for _, low, high, n in sides if high <= 0]
    whole = len(positive) + len(negative) == len(sides)
    layout = _layout([*positive, *negative], threshold, told_zero=bool(zero)) if whole else None
    if layout is None:
        return _custom(count, total, [(low, high, n) for _, low, high, n in buckets])
    schema, threshold = layout
    positive_start, positive_run = _run(schema, positive)
    negative_start, negative_run = _run(schema, negative)
    return Histogram(
        schema,
        count,
        total,
        threshold,
        zero_count,
        positive_start,
        positive_run,
        negative_start,
        negative_run,
    )


def _index(schema: int, upper: float) -> int:
    """Return the bucket whose upper bound is nearest; the overflow bucket ends at infinity."""
    if math.isinf(upper):
        # The last finite bound is the largest float; the bucket above it is open.
        return (1024 << schema if schema >= 0 else 1024 >> -schema) + 1
    return round(math.log2(upper) * 2.0**schema)


def _layout(sides: Sequence[_Bucket], threshold: float, *, told_zero: bool) -> tuple[int, float] | None:
    """Return (schema, zero threshold); an empty zero bucket is not told, only where it cuts its neighbour."""
    schema = _schema(sides, threshold)
    if schema is None and not told_zero:
        threshold = min(lower for lower, *_ in sides)
        schema = _schema(sides, threshold)
    return None if schema is None else (schema, threshold)


def _schema(sides: Sequence[_Bucket], threshold: float) -> int | None:
    """Return the finest schema that has every bucket; 0 where there is none to judge by."""
    if not sides:
        return 0
    return next(
        (schema for schema in _SCHEMAS if all(_fits(schema, each, threshold) for each in sides)), None
    )


def _fits(schema: int, bucket: _Bucket, threshold: float) -> bool:
    lower, upper, _ = bucket
    if upper <= 0:
        return False
    index = _index(schema, upper)
    low, high = upper_bounds(schema, index - 1, 2).tolist()
    if not (upper == high or abs(upper - high) <= _TOLERANCE * high):
        return False
    # A bucket that reaches into the zero bucket begins at its edge.
    return abs(lower - low) <= _TOLERANCE * low or (lower == threshold and low <= threshold)


def _run(schema: int, side: Sequence[_Bucket]) -> tuple[int, Float64]:
    if not side:
        return 0, np.zeros(0)
    indexes = [_index(schema, upper) for _, upper, _ in side]
    first, last = min(indexes), max(indexes)
    if last - first >= _WIDTH_MAX:
        raise ValueError(f"a histogram may span at most {_WIDTH_MAX} buckets, got {last - first + 1}")
    run = np.zeros(last - first + 1)
    for index, (_, _, count) in zip(indexes, side, strict=True):
        run[index - first] += count
    return first, run


def _custom(count: float, total: float, buckets: Sequence[_Bucket]) -> Histogram:
    bounds = tuple(sorted({edge for low, high, _ in buckets for edge in (low, high) if math.isfinite(edge)}))
    place = {bound: k for k, bound in enumerate(bounds)}
    run = np.zeros(len(bounds) + 1)
    for low, high, n in buckets:
        if high in place and place[high] != place.get(low, -1) + 1:
            raise ValueError("the buckets of a histogram must not overlap")
        run[place.get(high, len(bounds))] += n
    return Histogram(CUSTOM_SCHEMA, count, total, positive=run, bounds=bounds)
