"""A native histogram as a value: exact bucket algebra after Prometheus' model/histogram.

value      -inf ... -threshold [zero bucket] threshold ... +inf
buckets    negative i           zero_count    positive i
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ninesight_store.contract import Float64, ResetHint

__all__ = ["Histogram"]


def _no_buckets() -> Float64:
    return np.zeros(0, np.float64)


@dataclass(frozen=True, eq=False)
class Histogram:
    """One histogram sample. Bucket runs are dense: bucket `positive_start + k` counts `positive[k]`.

    Indexes and schemas are Prometheus' (see `HistogramColumns`). Immutable; arrays are never changed.
    """

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive_start: int = 0
    positive: Float64 = field(default_factory=_no_buckets)
    negative_start: int = 0
    negative: Float64 = field(default_factory=_no_buckets)
    bounds: tuple[float, ...] = ()
    """Custom upper bounds (schema -53), +Inf left out."""
    hint: ResetHint = ResetHint.UNKNOWN
