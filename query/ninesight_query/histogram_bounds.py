"""Bucket bounds: what interval a bucket index covers.

With schema s in -4..8, positive bucket i covers (2^((i-1)*2^-s), 2^(i*2^-s)]; negative bucket i
is its mirror image. Schema -53 has explicit bounds: bucket i covers (bounds[i-1], bounds[i]].
"""

from __future__ import annotations

import functools
import math
import sys

import numpy as np
from ninesight_store.contract import Float64

from ninesight_query.histogram import CUSTOM_SCHEMA, Histogram

__all__ = ["custom_edges", "edges_of", "negative_edges", "positive_edges", "upper_bounds"]

_LARGEST = sys.float_info.max


@functools.cache
def _fractions(schema: int) -> Float64:
    """[2^schema] the mantissas 2^(i/2^schema) / 2 of one octave, each correctly rounded."""
    size = 1 << schema
    return np.array([0.5 * math.pow(2.0, i / size) for i in range(size)], np.float64)


def upper_bounds(schema: int, start: int, size: int) -> Float64:
    """[size] upper bounds of buckets start, start+1, ...; the last finite one is the largest float64.

    Source: Prometheus' rule that the bucket below +Inf ends at the largest float.
    """
    index = np.arange(start, start + size, dtype=np.int64)
    if schema < 0:
        exponent = index << -schema
        mantissa = np.full(size, 0.5)
        exponent = exponent + 1
    else:
        mantissa = _fractions(schema)[index & ((1 << schema) - 1)]
        exponent = (index >> schema) + 1
    with np.errstate(over="ignore"):
        out: Float64 = np.ldexp(mantissa, np.clip(exponent, -2000, 2000))
    out[(mantissa == 0.5) & (exponent == 1025)] = _LARGEST
    return out


def positive_edges(histogram: Histogram) -> Float64:
    """[n+1] ascending edges of the n positive buckets of an exponential schema."""
    return upper_bounds(histogram.schema, histogram.positive_start - 1, len(histogram.positive) + 1)


def negative_edges(histogram: Histogram) -> Float64:
    """[n+1] ascending edges of the negative buckets, the most negative bucket first."""
    edges = upper_bounds(histogram.schema, histogram.negative_start - 1, len(histogram.negative) + 1)
    return -edges[::-1]


def custom_edges(histogram: Histogram) -> Float64:
    """[n+1] edges of the n buckets of schema -53; the first may be -Inf and the last +Inf."""
    full = np.concatenate(([-np.inf], np.array(histogram.bounds, np.float64), [np.inf]))
    start = histogram.positive_start
    return full[start : start + len(histogram.positive) + 1]


def edges_of(histogram: Histogram) -> tuple[Float64, Float64, Float64]:
    """Return (lower, upper, count) of all buckets from the lowest to the highest, zero bucket included.

    Empty buckets stay in; the zero bucket is there where it counts anything.
    """
    if histogram.schema == CUSTOM_SCHEMA:
        edges = custom_edges(histogram)
        return edges[:-1], edges[1:], histogram.positive
    negative, positive = negative_edges(histogram), positive_edges(histogram)
    width = histogram.zero_threshold
    zero = [histogram.zero_count] if histogram.zero_count > 0 else []
    # A bucket that reaches into the zero bucket begins at its edge: no value lies in two buckets.
    lower = np.concatenate((negative[:-1], [-width] * len(zero), np.maximum(positive[:-1], width)))
    upper = np.concatenate((np.minimum(negative[1:], -width), [width] * len(zero), positive[1:]))
    counts = np.concatenate((histogram.negative[::-1], zero, histogram.positive))
    return lower, upper, counts
