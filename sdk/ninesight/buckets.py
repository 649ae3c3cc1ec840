"""Which bucket of a base-2 exponential histogram a value falls into, exactly.

With schema s, bucket i covers (2^((i-1) * 2^-s), 2^(i * 2^-s)]. Bounds are the doubles nearest to
these powers, so that a value that is a bound lies in the bucket it closes (as in Prometheus;
OpenTelemetry numbers the same bucket i - 1).
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from functools import cache
from math import frexp, isqrt, ldexp

__all__ = ["SCHEMA_MAX", "SCHEMA_MIN", "bucket_index", "bucket_of", "relative_error", "upper_bound"]

SCHEMA_MAX = 8
SCHEMA_MIN = -4

_BITS = 128


@cache
def octave(schema: int) -> tuple[float, ...]:
    """Return the bounds within [0.5, 1) for a schema >= 0: 2^(k / 2^schema) / 2, correctly rounded."""
    # Fixed point with 128 bits after the comma: 75 more than a double holds, so 256 steps cannot spoil it.
    root = 2 << _BITS
    for _ in range(schema):
        root = isqrt(root << _BITS)
    power = 1 << _BITS
    bounds = []
    for _ in range(1 << schema):
        bounds.append(power / (2 << _BITS))
        power = power * root >> _BITS
    return tuple(bounds)


def bucket_index(value: float, schema: int) -> int:
    """Return the index of the bucket that holds a finite value > 0."""
    fraction, exponent = frexp(value)
    if schema > 0:
        return ((exponent - 1) << schema) + bisect_left(octave(schema), fraction)
    if fraction == 0.5:
        exponent -= 1
    return -(-exponent >> -schema)


def bucket_of(value: float, schema: int) -> tuple[int, float]:
    """Return (index, upper bound) of the bucket that holds a finite value > 0, in one step."""
    if schema <= 0:
        index = bucket_index(value, schema)
        return index, upper_bound(index, schema)
    edges = octave(schema)
    fraction, exponent = frexp(value)
    step = bisect_left(edges, fraction)
    index = ((exponent - 1) << schema) + step
    try:
        return index, ldexp(edges[step], exponent) if step < len(edges) else ldexp(1.0, exponent)
    except OverflowError:
        return index, sys.float_info.max


def upper_bound(index: int, schema: int) -> float:
    """Return the inclusive upper bound of a bucket; the largest double where it would overflow."""
    try:
        if schema > 0:
            exponent, step = divmod(index, 1 << schema)
            return ldexp(octave(schema)[step], exponent + 1)
        return ldexp(1.0, index << -schema)
    except OverflowError:
        return sys.float_info.max


def relative_error(schema: int) -> float:
    """Return the width of a bucket relative to its lower edge: 2^(2^-schema) - 1 (0.0109 at schema 6).

    Any figure taken from inside the right bucket is off by at most this; its geometric middle by
    at most sqrt(2^(2^-schema)) - 1 (0.0054 at schema 6).
    """
    return float(2.0 ** (2.0**-schema)) - 1.0
