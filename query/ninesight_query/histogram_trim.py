"""`histogram </ value` and `histogram >/ value`: only the observations below or above a value.

A bucket that holds the value is split as quantiles interpolate; count and sum are estimated anew from
the middles of what is left, but only if something was cut. What lies in a bucket without an end cannot
be split, so it goes or stays as a whole. Source: Prometheus' FloatHistogram.TrimBuckets.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from ninesight_store.contract import Float64

from ninesight_query.histogram import Histogram
from ninesight_query.histogram_bounds import custom_edges, negative_edges, positive_edges
from ninesight_query.histogram_layout import compact

__all__ = ["trim"]

Part = tuple[float, float]
"""How many observations are kept, and the value that stands for each of them."""


def trim(histogram: Histogram, value: float, *, upper: bool) -> Histogram:
    """Return the histogram with the observations up to `value` (upper) or from it on.

    A histogram that loses nothing is returned as it is, sum and count included.
    """
    custom = histogram.custom
    edges = custom_edges(histogram) if custom else positive_edges(histogram)
    positive, positive_sum = _side(histogram.positive, edges, value, upper=upper, linear=custom)
    mirrored = negative_edges(histogram) if not custom else np.zeros(1)
    negative, negative_sum = _side(histogram.negative[::-1], mirrored, value, upper=upper, linear=custom)
    zero, middle = _zero(histogram, value, upper=upper)
    whole = (
        zero == histogram.zero_count
        and np.array_equal(positive, histogram.positive)
        and np.array_equal(negative, histogram.negative[::-1])
    )
    if whole:
        return histogram
    return compact(
        replace(
            histogram,
            count=float(positive.sum() + negative.sum() + zero),
            sum=float(positive_sum + negative_sum + middle * zero),
            zero_count=zero,
            positive=positive,
            negative=negative[::-1],
        )
    )


def _side(
    counts: Float64, edges: Float64, value: float, *, upper: bool, linear: bool
) -> tuple[Float64, float]:
    """Return what is kept of ascending buckets, and the estimated sum of it."""
    low, high = edges[:-1], edges[1:]
    if len(counts) == 0:
        return counts, 0.0
    stays = high <= value if upper else low >= value
    kept = np.where(stays, counts, 0.0)
    total = float((kept[kept != 0] * _middles(low, high, linear)[kept != 0]).sum())
    for k in np.flatnonzero((low < value) & (high > value) & (counts != 0)).tolist():
        part, middle = _split(
            float(low[k]), float(high[k]), float(counts[k]), value, upper=upper, linear=linear
        )
        kept[k] = part
        total += part * middle
    return kept, total


def _middles(low: Float64, high: Float64, linear: bool) -> Float64:
    """Return the value that stands for each bucket; one without an end is taken at its other edge."""
    with np.errstate(invalid="ignore", over="ignore"):
        if linear:
            middle = (low + high) / 2.0
            middle = np.where(np.isneginf(low), np.where(high > 0, high / 2.0, high), middle)
            middle = np.where(np.isposinf(high), low, middle)
            return np.where(np.isneginf(low) & np.isposinf(high), 0.0, middle)
        size = np.sqrt(np.abs(low)) * np.sqrt(np.abs(high))
        return np.where(
            np.isposinf(high), low, np.where(np.isneginf(low), high, np.where(high > 0, size, -size))
        )


def _split(low: float, high: float, count: float, value: float, *, upper: bool, linear: bool) -> Part:
    """Split one bucket that holds the value."""
    if math.isinf(low) or math.isinf(high):
        return _split_endless(low, high, count, value, upper=upper)
    if linear:
        share = (value - low) / (high - low)
    else:
        # From the edge nearer to zero, on the logarithmic scale.
        inner, outer = sorted((abs(low), abs(high)))
        share = math.log(abs(value) / inner) / math.log(outer / inner)
        share = share if high > 0 else 1.0 - share
    low, high = (low, value) if upper else (value, high)
    middle = float(_middles(np.array([low]), np.array([high]), linear)[0])
    return count * (share if upper else 1.0 - share), middle


def _split_endless(low: float, high: float, count: float, value: float, *, upper: bool) -> Part:
    """Split a custom bucket from -Inf or to +Inf that holds the value.

    From -Inf to a positive bound, values are taken as running up from 0. Else nothing is known of the
    distribution: all is kept where some of it must be, at the value itself.
    """
    if math.isinf(low) and math.isinf(high):
        return 0.0, 0.0
    if math.isinf(low):
        if high <= 0:
            return (count, value) if upper else (0.0, 0.0)
        if upper:
            return (count * value / high, value / 2.0) if value > 0 else (0.0, 0.0)
        return (count * (1.0 - value / high), (value + high) / 2.0) if value >= 0 else (0.0, 0.0)
    return (0.0, 0.0) if upper else (count, value)


def _zero(histogram: Histogram, value: float, *, upper: bool) -> Part:
    """Split the zero bucket, linearly; it ends at zero where one side has no other bucket."""
    if histogram.zero_count <= 0:
        return histogram.zero_count, 0.0
    has_positive, has_negative = bool(histogram.positive.any()), bool(histogram.negative.any())
    low = 0.0 if has_positive and not has_negative else -histogram.zero_threshold
    high = 0.0 if has_negative and not has_positive else histogram.zero_threshold
    if value >= high:
        return (histogram.zero_count, (low + high) / 2.0) if upper else (0.0, 0.0)
    if value <= low:
        return (0.0, 0.0) if upper else (histogram.zero_count, (low + high) / 2.0)
    share = (value - low) / (high - low)
    if upper:
        return histogram.zero_count * share, (low + value) / 2.0
    return histogram.zero_count * (1.0 - share), (value + high) / 2.0
