"""The `_over_time` family and its kin: kernels over one window of float samples.

Sums come from prefix sums where these lose no digits, and are computed again with compensation, window by
window, where they would (large values that cancel, Inf, NaN).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ninesight_store.contract import Float64, Int64

from ninesight_query.block import Bool
from ninesight_query.quantiles import quantile_of_column, quantile_of_sorted
from ninesight_query.select import Window

__all__ = [
    "avg",
    "compensated",
    "count",
    "double_exponential_smoothing",
    "first",
    "last",
    "mad",
    "maximum",
    "minimum",
    "present",
    "quantile",
    "stddev",
    "stdvar",
    "sum_",
    "ts_of_first",
    "ts_of_last",
    "ts_of_maximum",
    "ts_of_minimum",
]

Result = tuple[Float64, Bool]
Params = Sequence[Float64]

RELATIVE_ERROR_MAX = 1e-10
GATHER_CELLS_MAX = 1 << 22
_SUMMED_AGAIN_MAX = 8
"""How often a sample may be added on the average before running sums are faster."""


def count(window: Window, _: Params) -> Result:
    """Number of samples."""
    return np.broadcast_to(window.count.astype(np.float64), window.shape), window.count >= 1


def present(window: Window, _: Params) -> Result:
    """1 where there is any sample."""
    return np.ones(window.shape), window.count >= 1


def first(window: Window, _: Params) -> Result:
    """The oldest sample."""
    return window.tile.at(window.first), window.count >= 1


def last(window: Window, _: Params) -> Result:
    """The newest sample."""
    return window.tile.at(window.last), window.count >= 1


def ts_of_first(window: Window, _: Params) -> Result:
    """Seconds at which the oldest sample stands."""
    seconds = window.tile.time_at(window.first) / 1000.0
    return np.broadcast_to(seconds, window.shape), window.count >= 1


def ts_of_last(window: Window, _: Params) -> Result:
    """Seconds at which the newest sample stands."""
    seconds = window.tile.time_at(window.last) / 1000.0
    return np.broadcast_to(seconds, window.shape), window.count >= 1


def compensated(value: Float64, total: Float64, lost: Float64) -> tuple[Float64, Float64]:
    """One step of Kahan-Neumaier summation; an infinite sum keeps no compensation."""
    new = total + value
    error = np.where(np.abs(total) >= np.abs(value), (total - new) + value, (value - new) + total)
    return new, np.where(np.isinf(new), 0.0, lost + error)


def _prefix_sums(window: Window, *, wide: bool = False) -> tuple[Float64, Bool]:
    """Return the sum of each window from running sums, and where it is exact enough; `wide`: with more digits."""
    values = window.tile.values
    kind = np.longdouble if wide else np.float64
    before = np.zeros((values.shape[0], values.shape[1] + 1), kind)
    np.cumsum(values, axis=1, dtype=kind, out=before[:, 1:])
    if window.low.shape[0] == 1:
        total = np.take(before, window.high[0], axis=1) - np.take(before, window.low[0], axis=1)
    else:
        total = np.take_along_axis(before, window.high, 1) - np.take_along_axis(before, window.low, 1)
    largest = np.abs(before).max(axis=1, keepdims=True)
    noise = largest * (values.shape[1] * np.finfo(kind).eps)
    whole = largest[:, 0] < 2.0**52
    whole[whole] &= (values[whole] == np.rint(values[whole])).all(axis=1)
    exact = (np.abs(total) * RELATIVE_ERROR_MAX >= noise) | whole[:, None]
    return total.astype(np.float64), (exact & np.isfinite(largest)) | (window.count == 0)


def _sums(window: Window) -> tuple[Float64, Bool]:
    """Return the sum of each window, and where it is exact enough, by the cheaper of two ways."""
    values = window.tile.values
    ragged = window.low.shape[0] != 1 and window.tile.owner is None
    longest = int(window.count.max(initial=0))
    if ragged or longest * window.shape[1] > _SUMMED_AGAIN_MAX * values.shape[1]:
        total, exact = _prefix_sums(window)
        rows = np.flatnonzero(~exact.all(axis=1))
        if len(rows):
            total[rows], exact[rows] = _prefix_sums(window.rows(rows), wide=True)
        return total, exact
    total = _direct_sums(window)
    # Values of one sign never cancel: each addition rounds once, and longest * eps stays far below the bound.
    one_sign = (values.min(axis=1) >= 0) | (values.max(axis=1) <= 0)
    return total, (one_sign[:, None] & np.isfinite(total)) | (window.count == 0)


def _direct_sums(window: Window) -> Float64:
    """Add up the samples of each window, group by group of equal timestamps."""
    out = np.zeros(window.shape)
    at = 0
    for part in window.groups():
        values = part.tile.values
        # One column more, for a window may end behind the last sample.
        padded = np.concatenate((values, np.zeros((len(values), 1))), axis=1)
        edges = np.stack((part.low[0], part.high[0]), axis=1).ravel()
        sums = np.add.reduceat(padded, edges, axis=1)[:, ::2]
        out[at : at + len(values)] = np.where(part.count > 0, sums, 0.0)
        at += len(values)
    return out


def _kahan_sums(window: Window) -> Float64:
    total, lost = np.zeros(window.shape), np.zeros(window.shape)
    for index, inside in window.passes():
        value = np.where(inside, window.tile.at(index), 0.0)
        total, lost = compensated(value, total, lost)
    return np.where(np.isinf(total), total, total + lost)


def sum_(window: Window, _: Params) -> Result:
    """Sum of the samples."""
    total, exact = _sums(window)
    rows = np.flatnonzero(~exact.all(axis=1))
    if len(rows):
        total[rows] = _kahan_sums(window.rows(rows))
    return total, window.count >= 1


def avg(window: Window, _: Params) -> Result:
    """Mean of the samples; it does not overflow where their sum would."""
    total, exact = _sums(window)
    mean = total / window.count
    rows = np.flatnonzero(~exact.all(axis=1))
    if len(rows):
        mean[rows] = _kahan_means(window.rows(rows))
    return mean, window.count >= 1


def _kahan_means(window: Window) -> Float64:
    """Direct mean as long as the sum is finite, incremental from there on."""
    shape = window.shape
    total, lost, mean = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    incremental = np.zeros(shape, np.bool_)
    seen = np.zeros(shape)
    for index, inside in window.passes():
        value = window.tile.at(index)
        new_seen = seen + inside
        new_total, new_lost = compensated(value, total, lost)
        first = seen == 0
        overflow = inside & ~first & ~incremental & np.isinf(new_total)
        mean = np.where(overflow, total / seen, mean)
        lost = np.where(overflow, lost / seen, lost)
        incremental |= overflow
        direct = inside & ~incremental
        total = np.where(direct, new_total, total)
        lost = np.where(direct, np.where(first, 0.0, new_lost), lost)
        share = seen / new_seen
        step_mean, step_lost = compensated(value / new_seen, share * mean, share * lost)
        stepping = inside & incremental
        mean = np.where(stepping, step_mean, mean)
        lost = np.where(stepping, step_lost, lost)
        seen = new_seen
    return np.where(incremental, mean + lost, total / seen + lost / seen)


def _extreme(window: Window, values: Float64, pick: np.ufunc) -> Float64:
    """Smallest or largest of each window from a sparse table: two overlapping runs of 2^j samples."""
    length = np.maximum(window.count, 1)
    level = np.frexp(length.astype(np.float64))[1] - 1
    out = np.empty(window.shape)
    table = values
    for j in range(int(level.max(initial=0)) + 1):
        if j:
            half = 1 << (j - 1)
            table = pick(table[:, :-half], table[:, half:])
        here = level == j
        if not here.any():
            continue
        left = np.minimum(window.low, table.shape[1] - 1)
        right = np.clip(window.high - (1 << j), 0, table.shape[1] - 1)
        if window.low.shape[0] == 1:
            steps = np.flatnonzero(here[0])
            out[:, steps] = pick(table[:, left[0, steps]], table[:, right[0, steps]])
        else:
            found = pick(np.take_along_axis(table, left, 1), np.take_along_axis(table, right, 1))
            out = np.where(here, found, out)
    return out


def maximum(window: Window, _: Params) -> Result:
    """Largest sample; NaN only if all are NaN."""
    return _extreme(window, window.tile.values, np.fmax), window.count >= 1


def minimum(window: Window, _: Params) -> Result:
    """Smallest sample; NaN only if all are NaN."""
    return _extreme(window, window.tile.values, np.fmin), window.count >= 1


def _ts_of_extreme(window: Window, extreme: Float64) -> Result:
    out = np.zeros(window.shape)
    for index, inside in window.passes():
        value = window.tile.at(index)
        same = (value == extreme) | (np.isnan(value) & np.isnan(extreme))
        out = np.where(inside & same, window.tile.time_at(index) / 1000.0, out)
    return out, window.count >= 1


def ts_of_maximum(window: Window, params: Params) -> Result:
    """Seconds at which the newest of the largest samples stands."""
    return _ts_of_extreme(window, maximum(window, params)[0])


def ts_of_minimum(window: Window, params: Params) -> Result:
    """Seconds at which the newest of the smallest samples stands."""
    return _ts_of_extreme(window, minimum(window, params)[0])


def stdvar(window: Window, _: Params) -> Result:
    """Population variance."""
    slices = window.slices()
    if slices is None:
        return _welford(window), window.count >= 1
    out = np.zeros(window.shape)
    for step, columns in slices:
        part = window.tile.values[:, columns]
        out[:, step] = np.var(part - part[:, :1], axis=1)
    return out, window.count >= 1


def _welford(window: Window) -> Float64:
    """Return the variance by Welford's recurrence with compensation, as Prometheus does."""
    shape = window.shape
    mean, mean_lost, squares, squares_lost = (np.zeros(shape) for _ in range(4))
    seen = np.zeros(shape)
    for index, inside in window.passes():
        value = window.tile.at(index)
        seen = seen + inside
        difference = value - (mean + mean_lost)
        new_mean, new_lost = compensated(difference / seen, mean, mean_lost)
        mean, mean_lost = np.where(inside, new_mean, mean), np.where(inside, new_lost, mean_lost)
        added = difference * (value - (mean + mean_lost))
        new_squares, new_squares_lost = compensated(added, squares, squares_lost)
        squares = np.where(inside, new_squares, squares)
        squares_lost = np.where(inside, new_squares_lost, squares_lost)
    return (squares + squares_lost) / seen


def stddev(window: Window, params: Params) -> Result:
    """Population standard deviation."""
    variance, there = stdvar(window, params)
    return np.sqrt(variance), there


def _gathered(window: Window) -> tuple[Float64, Int64]:
    """Return each window's samples [R, T, K], NaN behind them, and their number [R, T]."""
    widest = max(1, int(window.count.max(initial=0)))
    limit = window.tile.values.shape[1] - 1
    index = window.low[:, :, None] + np.arange(widest)
    inside = index < window.high[:, :, None]
    index = np.minimum(index, limit)
    if index.shape[0] == 1:
        cube = window.tile.values[:, index[0]]
    else:
        cube = window.tile.values[np.arange(index.shape[0])[:, None, None], index]
    return np.where(inside, cube, np.nan), np.broadcast_to(window.count, window.shape)


def _parts(window: Window) -> Iterator[tuple[tuple[slice, slice], Window]]:
    """Split a window so that gathering it stays within GATHER_CELLS_MAX: (rows, steps) and their window."""
    rows, steps = window.shape
    widest = max(1, int(window.count.max(initial=0)))
    steps_each = min(max(1, GATHER_CELLS_MAX // widest), max(1, steps))
    rows_each = max(1, GATHER_CELLS_MAX // (steps_each * widest))
    for start in range(0, rows, rows_each):
        stop = min(start + rows_each, rows)
        part = window if rows_each >= rows else window.rows(np.arange(start, stop))
        for first in range(0, steps, steps_each):
            window.check()
            columns = slice(first, min(first + steps_each, steps))
            yield (slice(start, stop), columns), part if steps_each >= steps else part.steps(columns)


def quantile(window: Window, params: Params) -> Result:
    """The q-quantile, linear between neighbours; NaN counts as the smallest value."""
    slices = window.slices()
    if slices is not None and not np.isnan(window.tile.values).any():
        found = np.zeros(window.shape)
        for step, columns in slices:
            part = np.sort(window.tile.values[:, columns], axis=1)
            found[:, step] = quantile_of_column(float(params[0][step]), part)
        return found, window.count >= 1
    out = np.zeros(window.shape)
    for place, piece in _parts(window):
        out[place] = quantile_of_sorted(params[0][place[1]], *_sorted(piece))
    return out, window.count >= 1


def _sorted(window: Window) -> tuple[Float64, Int64]:
    cube, size = _gathered(window)
    return _ascending(cube, size), size


def _ascending(cube: Float64, size: Int64) -> Float64:
    """Sort the first `size` values of the last axis, NaN first; what is behind them comes last."""
    place = np.arange(cube.shape[2])
    padding = place >= size[:, :, None]
    missing = (np.isnan(cube) & ~padding).sum(axis=2)
    cube = np.sort(np.where(padding, np.inf, np.where(np.isnan(cube), -np.inf, cube)), axis=2)
    return np.where(place < missing[:, :, None], np.nan, cube) if missing.any() else cube


def mad(window: Window, _: Params) -> Result:
    """Median of the absolute distances from the median; NaN if any sample is."""
    out = np.zeros(window.shape)
    for place, part in _parts(window):
        half = np.full(part.shape[1], 0.5)
        cube, size = _sorted(part)
        median = quantile_of_sorted(half, cube, size)
        distance = np.abs(cube - median[:, :, None])
        spread = quantile_of_sorted(half, _ascending(distance, size), size)
        lost = np.isnan(cube) & (np.arange(cube.shape[2]) < size[:, :, None])
        out[place] = np.where(lost.any(axis=2), np.nan, spread)
    return out, window.count >= 1


def double_exponential_smoothing(window: Window, params: Params) -> Result:
    """Holt's linear smoothing with a smoothing and a trend factor."""
    smoothing, trend = params
    shape = window.shape
    before, level, slope = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for k, (index, inside) in enumerate(window.passes()):
        value = window.tile.at(index)
        if k == 0:
            level = value
            continue
        if k == 1:
            slope = np.where(inside, value - level, slope)
        else:
            slope = np.where(inside, trend * (level - before) + (1.0 - trend) * slope, slope)
        smoothed = smoothing * value + (1.0 - smoothing) * (level + slope)
        before, level = np.where(inside, level, before), np.where(inside, smoothed, level)
    return level, window.count >= 2
