"""rate, increase, delta and the newest point of stored histograms, for all steps of a series at once.

The same as `histogram_rate.rate` window by window; the tests hold them against each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Float64, Int32, Int64, ResetHint

from ninesight_query.histogram_grid import Cell
from ninesight_query.histogram_rate import Notes, RateNote
from ninesight_query.histogram_reset import stack_resets
from ninesight_query.histogram_stack import Stack
from ninesight_query.histogram_table import HistogramTable, Layout

__all__ = ["newest_cell", "rate_cell"]

Bool = npt.NDArray[np.bool_]
_GAUGE = int(ResetHint.GAUGE)


@dataclass(frozen=True)
class _Windows:
    """Which points of a series lie in the window (start, end] of each step."""

    low: Int64
    """[T] first point; clipped where the window is empty."""
    last: Int64
    """[T] last point."""
    size: Int64
    """[T] stored points, those that a rollup leaves out counted."""
    starts_ms: Int64
    ends_ms: Int64


def _key(layout: Layout) -> tuple[int, float, tuple[float, ...], int, int]:
    return (
        layout.schema, layout.zero_threshold, layout.bounds, layout.positive[0], layout.negative[0],
    )  # fmt: skip


def rate_cell(
    table: HistogramTable,
    row: int,
    layout: Layout,
    starts_ms: Int64,
    ends_ms: Int64,
    *,
    is_counter: bool,
    is_rate: bool,
) -> tuple[Cell, Notes]:
    """Return one series' extrapolated difference over (start, end] at each step, and what to say of it."""
    times, hint, _ = table.times(row)
    low = np.searchsorted(times, starts_ms, "right")
    high = np.searchsorted(times, ends_ms, "right")
    limit = max(len(times) - 1, 0)
    first, last = np.minimum(low, limit), np.maximum(high - 1, 0)
    number = table.numbers(row)
    size = np.where(high > low, number[last] - number[first] + 1, 0)
    windows = _Windows(first, last, size, starts_ms, ends_ms)
    present = windows.size >= 2

    def load() -> Stack:
        series = table.series(row, layout)
        return _rate(series.stack, series.times, windows, present, is_counter=is_counter, is_rate=is_rate)

    gauge = np.full(len(present), _GAUGE, np.int32)
    return Cell(present, gauge, _key(layout), load), _notes(hint, windows, present, is_counter)


def _notes(hint: Int32, windows: _Windows, present: Bool, is_counter: bool) -> Notes:
    if not present.any():
        return frozenset()
    gauge = hint == _GAUGE
    if is_counter:
        before = np.concatenate(([0], np.cumsum(gauge)))
        some = before[windows.last + 1] > before[windows.low]
        return frozenset({RateNote.NOT_COUNTER} if (some & present).any() else ())
    both = gauge[windows.low] & gauge[windows.last]
    return frozenset({RateNote.NOT_GAUGE} if (~both & present).any() else ())


def _difference(values: Float64, windows: _Windows, resets: Int64) -> Float64:
    """last - first of each window, with what each reset took away."""
    out: Float64 = values[windows.last] - values[windows.low]
    if len(resets):
        start = np.searchsorted(resets, windows.low, "right")
        number = np.searchsorted(resets, windows.last, "right") - start
        # One after the other, as Prometheus adds them: the difference of two running sums would keep a rounding
        # rest of resets outside the window.
        for nth in range(int(number.max(initial=0))):
            held = np.flatnonzero(number > nth)
            out[held] += values[resets[start[held] + nth] - 1]
    return out


def _rate(
    stack: Stack, times: Int64, windows: _Windows, present: Bool, *, is_counter: bool, is_rate: bool
) -> Stack:
    resets = np.flatnonzero(stack_resets(stack)) if is_counter else np.zeros(0, np.int64)
    columns = (stack.count, stack.sum, stack.zero, stack.positive, stack.negative)
    with np.errstate(invalid="ignore"):
        count, sum_, zero, positive, negative = (_difference(part, windows, resets) for part in columns)
    factor = _factors(times, windows, present, stack.count[windows.low], count, is_counter=is_counter)
    if is_rate:
        factor = factor / ((windows.ends_ms - windows.starts_ms) / 1000.0)
    with np.errstate(invalid="ignore"):
        return replace(
            stack,
            count=count * factor,
            sum=sum_ * factor,
            zero=zero * factor,
            positive=positive * factor[:, None],
            negative=negative * factor[:, None],
            hint=np.full(len(factor), _GAUGE, np.int32),
        )


def _factors(
    times: Int64, windows: _Windows, present: Bool, first: Float64, grown: Float64, *, is_counter: bool
) -> Float64:
    """[T] from the sampled to the whole window; see `histogram_rate.extrapolation`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sampled = (times[windows.last] - times[windows.low]) / 1000.0
        distance = sampled / (windows.size - 1)
        threshold = distance * 1.1
        to_start = (times[windows.low] - windows.starts_ms) / 1000.0
        to_end = (windows.ends_ms - times[windows.last]) / 1000.0
        to_start = np.where(to_start >= threshold, distance / 2.0, to_start)
        if is_counter:
            to_zero = sampled * (first / grown)
            to_start = np.where((grown > 0) & (first >= 0) & (to_zero < to_start), to_zero, to_start)
        to_end = np.where(to_end >= threshold, distance / 2.0, to_end)
        factor = (sampled + to_start + to_end) / sampled
    return np.where(present, factor, 0.0)


def newest_cell(
    table: HistogramTable, row: int, layout: Layout, ends_ms: Int64, lookback_ms: int
) -> tuple[Cell, Int64]:
    """Return one series' newest point at each step, and its time [T].

    It must lie within the lookback, and no stale marker after it.
    """
    times, hint, stale = table.times(row)
    last = np.searchsorted(times, ends_ms, "right") - 1
    index = np.maximum(last, 0)
    present = (last >= 0) & (times[index] > ends_ms - lookback_ms)
    if len(stale):
        gone = np.searchsorted(stale, ends_ms, "right") - 1
        present &= (gone < 0) | (stale[np.maximum(gone, 0)] < times[index])

    def load() -> Stack:
        stack = table.series(row, layout).stack
        return replace(
            stack,
            count=stack.count[index],
            sum=stack.sum[index],
            zero=stack.zero[index],
            positive=stack.positive[index],
            negative=stack.negative[index],
            hint=stack.hint[index],
        )

    return Cell(present, hint[index], _key(layout), load), times[index]
