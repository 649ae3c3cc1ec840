"""rate, increase, delta, irate, idelta, changes, resets: kernels over one window of float samples.

Formulas after Prometheus' functions.go: extrapolation to the window's edges where the samples come close
to them (within 1.1 of their mean distance), half a distance otherwise, and never below a counter's zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import Float64, Int64

from ninesight_query.block import Bool
from ninesight_query.select import Window
from ninesight_query.starts import began_anew, from_zero

__all__ = [
    "Ends",
    "add_lost",
    "add_resets",
    "changes",
    "delta",
    "extrapolated",
    "idelta",
    "increase",
    "irate",
    "rate",
    "resets",
]

Result = tuple[Float64, Bool]
Params = Sequence[Float64]

RELATIVE_ERROR_MAX = 1e-10

# As arrays: numpy takes twice as long for an operand that is a Python number.
_ZERO, _ONE, _NEAR, _THOUSAND = (np.array(number) for number in (0.0, 1.0, 1.1, 1000.0))
_NO_COLUMN, _ONE_COLUMN, _TWO = (np.array(number) for number in (0, 1, 2))


def rate(window: Window, _: Params) -> Result:
    """Per-second increase of a counter."""
    return _extrapolated(window, is_counter=True, is_rate=True)


def increase(window: Window, _: Params) -> Result:
    """Increase of a counter."""
    return _extrapolated(window, is_counter=True, is_rate=False)


def delta(window: Window, _: Params) -> Result:
    """Difference of a gauge."""
    return _extrapolated(window, is_counter=False, is_rate=False)


@dataclass(slots=True, eq=False)
class Ends:
    """The first and the last sample of each window, and how many there are: [1, T] or [R, T]."""

    first_ms: Int64
    last_ms: Int64
    first: Float64
    count: Int64


def _extrapolated(window: Window, *, is_counter: bool, is_rate: bool) -> Result:
    tile, low, high = window.tile, window.low, window.high
    last_column = np.array(tile.values.shape[1] - 1)
    first, first_ms, last, last_ms = tile.samples_at(
        np.minimum(low, last_column), np.maximum(high - _ONE_COLUMN, _NO_COLUMN)
    )
    grown = last - first
    if is_counter:
        grown = add_resets(window, grown)
    ends = Ends(first_ms, last_ms, first, high - low)
    return extrapolated(window, ends, grown, is_counter=is_counter, is_rate=is_rate)


def extrapolated(window: Window, ends: Ends, grown: Float64, *, is_counter: bool, is_rate: bool) -> Result:
    """Return what grew between the ends, stretched to the whole window."""
    result = grown
    starts_ms, ends_ms = window.starts_ms, window.ends_ms
    if len(ends_ms) == 1:
        starts_ms, ends_ms = starts_ms[0, ...], ends_ms[0, ...]
    first_s = _seconds(ends.first_ms - starts_ms)
    last_s = _seconds(ends_ms - ends.last_ms)
    sampled_s = _seconds(ends.last_ms - ends.first_ms)
    spacing_s = sampled_s / (ends.count.astype(np.float64) - _ONE)
    threshold_s = spacing_s * _NEAR
    to_start_s, to_end_s, to_zero_s = first_s, last_s, sampled_s
    unusual = (first_s >= threshold_s) | (last_s >= threshold_s)
    if is_counter:
        rising = (result > _ZERO) & (ends.first >= _ZERO)
        to_zero_s = sampled_s * (ends.first / result)
        unusual = unusual | (rising & (to_zero_s < first_s))
    # Most windows have samples near their ends, and most counters are far from zero: then nothing has to be chosen.
    if np.count_nonzero(unusual):
        to_start_s = np.where(first_s >= threshold_s, spacing_s / 2.0, first_s)
        to_end_s = np.where(last_s >= threshold_s, spacing_s / 2.0, last_s)
        if is_counter:
            to_start_s = np.where(rising & (to_zero_s < to_start_s), to_zero_s, to_start_s)
    enough = ends.count >= _TWO
    if is_counter and window.tile.starts is not None:
        # A counter that began inside the window was zero then: nothing is guessed before that.
        result, sampled_s, begun = from_zero(window, result, ends.first, sampled_s)
        to_start_s = np.where(begun, 0.0, to_start_s)
        to_end_s = np.where(begun & (ends.count < 2), 0.0, to_end_s)
        enough = enough | begun
    factor = (sampled_s + to_start_s + to_end_s) / sampled_s
    if is_rate:
        # Every window is as long as the first.
        factor /= (int(window.ends_ms[0]) - int(window.starts_ms[0])) / 1000.0
    return result * factor, enough


def _seconds(times_ms: Int64) -> Float64:
    """Return times in seconds. numpy divides floats in a quarter of the time of integers."""
    seconds: Float64 = times_ms.astype(np.float64) / _THOUSAND
    return seconds


def add_resets(window: Window, result: Float64) -> Float64:
    """Add, for each reset inside a window, the value just before it."""
    tile = window.tile
    falls: Bool = tile.values[:, 1:] < tile.values[:, :-1]
    if tile.starts is not None:
        falls |= began_anew(tile.times, tile.starts)
    elif not np.count_nonzero(falls):
        return result
    return add_lost(tile.values, falls, window.low, window.high, result)


def add_lost(values: Float64, falls: Bool, low: Int64, high: Int64, result: Float64) -> Float64:
    """Add `values[:, k]` for each fall [R, N-1] between k and k+1 that lies in a window low..high-1."""
    if not np.count_nonzero(falls):
        return result
    rows = np.flatnonzero(falls.any(axis=1))
    events = np.nonzero(falls[rows])
    if len(events[0]) * 1000 < len(rows) * (values.shape[1] + 6 * result.shape[1]):
        return _add_few(values, low, high, rows[events[0]], events[1], result)
    shape = (len(rows), result.shape[1])
    if len(low) != 1:
        low, high = low[rows], high[rows]
    first = np.broadcast_to(np.minimum(low, values.shape[1] - 1), shape)
    last = np.maximum(np.broadcast_to(np.maximum(high - 1, 0), shape), first)
    lost = np.where(falls[rows], values[rows, :-1], 0.0)
    number, total = (_between(each, first, last) for each in (falls[rows].astype(np.float64), lost))
    added = np.where(number > 0, total, 0.0)
    # Prefix sums lose digits where a far larger reset lies outside the window, or where the rest of the window
    # takes it away again: those are summed again.
    noise = np.abs(lost).sum(axis=1, keepdims=True) * (lost.shape[1] * np.finfo(np.float64).eps)
    whole = (lost == np.rint(lost)).all(axis=1, keepdims=True) & (
        np.abs(lost).sum(axis=1, keepdims=True) < 2.0**52
    )
    doubtful = (number > 0) & ~whole & ~(noise <= np.abs(result[rows] + added) * RELATIVE_ERROR_MAX)
    for row, step in zip(*(index.tolist() for index in np.nonzero(doubtful)), strict=True):
        added[row, step] = lost[row, first[row, step] : last[row, step]].sum()
    out = result.copy()
    out[rows] += added
    return out


def _add_few(
    values: Float64, low: Int64, high: Int64, rows: Int64, places: Int64, result: Float64
) -> Float64:
    """Add each reset, between samples k and k+1 of a row, to the windows that hold both."""
    out = result.copy()
    for row, k in zip(rows.tolist(), places.tolist(), strict=True):
        own = 0 if len(low) == 1 else row
        # Windows hold samples low..high-1 and move forward only.
        begin = int(high[own].searchsorted(k + 1, "right"))
        end = int(low[own].searchsorted(k, "right"))
        if begin < end:
            out[row, begin:end] += values[row, k]
    return out


def _between(events: Float64, first: Int64, last: Int64) -> Float64:
    """Sum [R, N-1] what lies between samples first and last of each window."""
    before = np.zeros((events.shape[0], events.shape[1] + 1))
    np.cumsum(events, axis=1, out=before[:, 1:])
    out: Float64 = np.take_along_axis(before, last, 1) - np.take_along_axis(before, first, 1)
    return out


def irate(window: Window, _: Params) -> Result:
    """Per-second increase between the last two samples of a counter."""
    return _last_two(window, is_counter=True)


def idelta(window: Window, _: Params) -> Result:
    """Difference between the last two samples of a gauge."""
    return _last_two(window, is_counter=False)


def _last_two(window: Window, *, is_counter: bool) -> Result:
    tile = window.tile
    previous = np.maximum(window.high - 2, 0)
    newer, older = tile.at(window.last), tile.at(previous)
    result = newer - older
    if is_counter:
        result = np.where(newer < older, newer, result)
        if tile.starts is not None:
            result = np.where(_last_pair_began(window, previous), newer, result)
        result = result / ((tile.time_at(window.last) - tile.time_at(previous)) / 1000.0)
    return result, window.count >= 2


def _last_pair_began(window: Window, previous: Int64) -> Bool:
    """Whether the counter began between the last two samples of each window: [R, T]."""
    tile = window.tile
    assert tile.starts is not None
    padded = np.zeros(tile.values.shape, np.bool_)
    padded[:, :-1] = began_anew(tile.times, tile.starts)
    return np.take_along_axis(padded, np.broadcast_to(previous, window.shape), axis=1)


def changes(window: Window, _: Params) -> Result:
    """How often the value changed; NaN equals NaN."""
    values = window.tile.values
    newer, older = values[:, 1:], values[:, :-1]
    return _counted(window, (newer != older) & ~(np.isnan(newer) & np.isnan(older)))


def resets(window: Window, _: Params) -> Result:
    """How often the value fell."""
    values, tile = window.tile.values, window.tile
    falls: Bool = values[:, 1:] < values[:, :-1]
    return _counted(window, falls if tile.starts is None else falls | began_anew(tile.times, tile.starts))


def _counted(window: Window, events: Bool) -> Result:
    """Count events between neighbours: event k lies between samples k and k+1."""
    before: Int64 = np.zeros(window.tile.values.shape, np.int64)
    np.cumsum(events, axis=1, out=before[:, 1:])
    if window.low.shape[0] == 1:
        total = np.take(before, window.last[0], axis=1) - np.take(before, window.first[0], axis=1)
    else:
        total = np.take_along_axis(before, window.last, 1) - np.take_along_axis(before, window.first, 1)
    return total.astype(np.float64), window.count >= 1
