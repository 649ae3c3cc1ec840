"""The exact histogram of known observations: for tests, examples and simulated data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ninesight_store.contract import Float64

from ninesight_query.histogram import Histogram
from ninesight_query.histogram_bounds import upper_bounds

__all__ = ["observe"]


def observe(values: Sequence[float] | Float64, schema: int = 3, zero_threshold: float = 0.0) -> Histogram:
    """Return the exponential histogram (schema -4..8) that counts the given finite values."""
    numbers = np.asarray(values, np.float64)
    zero = np.abs(numbers) <= zero_threshold
    positive_start, positive = _run(numbers[(numbers > 0) & ~zero], schema)
    negative_start, negative = _run(-numbers[(numbers < 0) & ~zero], schema)
    return Histogram(
        schema=schema,
        count=float(len(numbers)),
        sum=float(numbers.sum()),
        zero_threshold=zero_threshold,
        zero_count=float(zero.sum()),
        positive_start=positive_start,
        positive=positive,
        negative_start=negative_start,
        negative=negative,
    )


def _run(values: Float64, schema: int) -> tuple[int, Float64]:
    if len(values) == 0:
        return 0, np.zeros(0)
    near = np.ceil(np.log2(values) * 2.0**schema)
    # log2 may land a bucket off at an exact bound: the bounds themselves decide.
    low, high = int(near.min()) - 2, int(near.max()) + 2
    index = low + np.searchsorted(upper_bounds(schema, low, high - low + 1), values, "left")
    start = int(index.min())
    return start, np.bincount(index - start).astype(np.float64)
