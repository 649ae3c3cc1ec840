"""A native histogram as a value: exact bucket algebra after Prometheus' model/histogram.

value      -inf ... -threshold [zero bucket] threshold ... +inf
buckets    negative i           zero_count    positive i

The algebra lives beside it: histogram_math (add, scale), histogram_layout (schemas, zero bucket),
histogram_reset, histogram_quantile, histogram_stats, histogram_rate and, for whole grids,
histogram_grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ninesight_store.contract import STALE_BITS, Float64, ResetHint

__all__ = ["CUSTOM_SCHEMA", "Histogram", "is_stale"]

CUSTOM_SCHEMA = -53
"""The schema of histograms with custom bounds."""


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

    @property
    def custom(self) -> bool:
        """Whether the bounds are custom (schema -53)."""
        return self.schema == CUSTOM_SCHEMA


def is_stale(histogram: Histogram) -> bool:
    """Whether this point is the stale marker: its sum has the marker's bits."""
    return int(np.float64(histogram.sum).view(np.uint64)) == STALE_BITS
