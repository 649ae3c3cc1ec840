"""Quantiles of plain samples, as Prometheus defines them."""

from __future__ import annotations

import numpy as np
from ninesight_store.contract import Float64, Int64

__all__ = ["quantile_of_column", "quantile_of_sorted"]


def quantile_of_sorted(q: Float64, values: Float64, size: Int64) -> Float64:
    """Return the q-quantile along the last axis: rank q*(n-1), linear between neighbours.

    `q` is [T]; `values` [R, T, K] ascending with anything behind the first `size` [R, T] ones.
    NaN for an empty set or a NaN q; -Inf for q < 0; +Inf for q > 1.
    """
    rank = q * np.maximum(size - 1, 0)
    lower = np.clip(np.floor(np.where(np.isfinite(rank), rank, 0.0)), 0, np.maximum(size - 1, 0))
    upper = np.minimum(lower + 1, np.maximum(size - 1, 0))
    weight = rank - np.floor(rank)
    low = np.take_along_axis(values, lower.astype(np.int64)[..., None], -1)[..., 0]
    high = np.take_along_axis(values, upper.astype(np.int64)[..., None], -1)[..., 0]
    found = low * (1.0 - weight) + high * weight
    found = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, found))
    return np.where(np.isnan(q) | (size == 0), np.nan, found)


def quantile_of_column(q: float, values: Float64) -> Float64:
    """Return the q-quantile of each row; `values` [R, K >= 1] ascending."""
    if not 0 <= q <= 1:
        outside = np.nan if np.isnan(q) else np.copysign(np.inf, q)
        return np.full(len(values), outside)
    rank = q * (values.shape[1] - 1)
    lower = int(rank)
    upper = min(lower + 1, values.shape[1] - 1)
    weight = rank - lower
    found: Float64 = values[:, lower] * (1.0 - weight) + values[:, upper] * weight
    return found
