"""deriv and predict_linear: least squares over one window of float samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ninesight_store.contract import Float64, Int64

from ninesight_query.block import Bool
from ninesight_query.over_time import compensated
from ninesight_query.select import Window

__all__ = ["deriv", "predict_linear"]

Result = tuple[Float64, Bool]
Params = Sequence[Float64]


def deriv(window: Window, _: Params) -> Result:
    """Slope per second."""
    slope, _intercept = _line(window, window.tile.time_at(window.first))
    return slope, window.count >= 2


def predict_linear(window: Window, params: Params) -> Result:
    """The value that the line reaches so many seconds after the evaluation time."""
    slope, intercept = _line(window, window.grid_ms[None, :])
    return slope * params[0] + intercept, window.count >= 2


def _line(window: Window, origin_ms: Int64) -> tuple[Float64, Float64]:
    """Return the slope and the value at the origin."""
    slices = window.slices()
    if slices is None:
        return _line_by_sums(window, origin_ms)
    slope, intercept = np.zeros(window.shape), np.zeros(window.shape)
    for step, columns in slices:
        x = (window.tile.times[0, columns] - origin_ms[0, step]) / 1000.0
        y = window.tile.values[:, columns]
        mean_x = x.mean()
        apart = x - mean_x
        rise = y - y[:, :1]
        slope[:, step] = (rise @ apart) / (apart @ apart)
        intercept[:, step] = y[:, 0] + rise.mean(axis=1) - slope[:, step] * mean_x
    # An infinite sample leaves no line, as where the sums over it cancel to NaN.
    lost = ~np.isfinite(slope) | ~np.isfinite(intercept)
    return np.where(lost, np.nan, slope), np.where(lost, np.nan, intercept)


def _line_by_sums(window: Window, origin_ms: Int64) -> tuple[Float64, Float64]:
    """Return slope and the value at the origin; x in seconds from the origin, sums compensated."""
    shape = window.shape
    sums = [np.zeros(shape) for _ in range(4)]
    lost = [np.zeros(shape) for _ in range(4)]
    number = np.broadcast_to(window.count.astype(np.float64), shape)
    first = window.tile.at(window.first)
    constant = np.ones(shape, np.bool_)
    for index, inside in window.passes():
        y = np.where(inside, window.tile.at(index), 0.0)
        constant &= ~inside | (y == first)
        x = np.where(inside, (window.tile.time_at(index) - origin_ms) / 1000.0, 0.0)
        for k, term in enumerate((x, y, x * y, x * x)):
            sums[k], lost[k] = compensated(term, sums[k], lost[k])
    sum_x, sum_y, sum_xy, sum_xx = (total + rest for total, rest in zip(sums, lost, strict=True))
    slope = (sum_xy - sum_x * sum_y / number) / (sum_xx - sum_x * sum_x / number)
    intercept = sum_y / number - slope * sum_x / number
    flat = np.where(np.isinf(first), np.nan, 0.0)
    return np.where(constant, flat, slope), np.where(constant, first + flat, intercept)
