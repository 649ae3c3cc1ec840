"""`anchored` and `smoothed`: selectors that look beyond the edges of their range, at most the lookback far.

    anchored   the newest sample before the range stands at its start, the last one inside at its end
    smoothed   both edges lie on the line between the samples around them; a counter's line after a reset
               begins at zero

No extrapolation, so `increase(x[5m] anchored)` of whole numbers is whole. After Prometheus' feature
promql-extended-range-selectors (proposal PROM-52); start timestamps are not looked at, as there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from ninesight_store.contract import Float64, Int64

from ninesight_query import ir, rates
from ninesight_query.block import Block, Bool, Grid
from ninesight_query.context import Context
from ninesight_query.errors import ExecutionError
from ninesight_query.extended_histograms import points_between, smoothed_points
from ninesight_query.ir import Extension
from ninesight_query.samples import HistogramRun, Samples
from ninesight_query.select import RangeVector, Window
from ninesight_query.spans import selector_span, shifted
from ninesight_query.tiles import Flat

__all__ = ["kernel_of", "outlined", "smoothed"]

Result = tuple[Float64, Bool]
_ALLOWED = {
    Extension.ANCHORED: ("changes", "delta", "increase", "rate", "resets"),
    Extension.SMOOTHED: ("delta", "increase", "rate"),
}


@dataclass(frozen=True, slots=True)
class _Edges:
    """What stands at both edges of each window, and which samples lie between them."""

    left: Float64
    right: Float64
    low: Int64
    """First column inside (start, end), both exclusive."""
    high: Int64
    present: Bool


def kernel_of(name: str, vector: RangeVector, context: Context) -> Callable[[Window], Result]:
    """Return a function's kernel for an extended range. Raises ExecutionError where it has none."""
    allowed = _ALLOWED[vector.extension]
    if name not in allowed:
        raise ExecutionError(
            f"{vector.extension} modifier can only be used with: {', '.join(allowed)} - not with {name}"
        )
    if name in ("changes", "resets"):
        return partial(_counted, name, context.settings.lookback_ms)
    is_counter = name != "delta"
    return partial(
        _change, vector.extension, context.settings.lookback_ms, is_counter=is_counter, is_rate=name == "rate"
    )


def _before(window: Window, lookback_ms: int) -> Bool:
    """Say where a sample lies at or before the start, no older than the lookback."""
    before = window.low - 1
    return (before >= 0) & (window.tile.time_at(np.maximum(before, 0)) > window.starts_ms - lookback_ms)


def _counted(name: str, lookback_ms: int, window: Window) -> Result:
    """Count changes or resets from the anchor on."""
    low = np.where(_before(window, lookback_ms) & (window.count > 0), window.low - 1, window.low)
    kernel = rates.changes if name == "changes" else rates.resets
    values, _ = kernel(replace(window, low=low), ())
    return values, window.count > 0


def _change(
    extension: Extension, lookback_ms: int, window: Window, *, is_counter: bool, is_rate: bool
) -> Result:
    edges = _edges(extension, lookback_ms, window, is_counter=is_counter)
    result = edges.right - edges.left
    if is_counter:
        result += _resets(window, edges)
    if is_rate:
        result = result / ((window.ends_ms - window.starts_ms) / 1000.0)
    return result, edges.present


def _edges(extension: Extension, lookback_ms: int, window: Window, *, is_counter: bool) -> _Edges:
    tile = window.tile
    columns = tile.values.shape[1] - 1
    starts, ends = window.starts_ms, window.ends_ms
    low, high = window.low, np.maximum(tile.bounds(ends - 1), window.low)
    first, last = np.minimum(low, columns), np.maximum(high - 1, 0)
    before = np.maximum(low - 1, 0)
    has_before, inside = _before(window, lookback_ms), high > low
    if extension is Extension.ANCHORED:
        left = np.where(has_before, tile.at(before), tile.at(first))
        return _Edges(left, tile.at(window.last), low, high, window.count > 0)
    after = np.minimum(high, columns)
    after_at = tile.time_at(after)
    has_after = (high <= columns) & (after_at <= ends + lookback_ms)
    follows = (inside | has_after) & (has_before | inside | (after_at == ends))
    left = np.where(has_before, _line(window, before, first, starts, is_counter=is_counter), tile.at(first))
    right = np.where(has_after, _line(window, last, after, ends, is_counter=is_counter), tile.at(last))
    # A sample right at the end may stand alone: there is no line to it.
    right = np.where(has_after & (after_at == ends), tile.at(after), right)
    return _Edges(left, right, low, high, follows)


def _line(window: Window, older: Int64, newer: Int64, at_ms: Int64, *, is_counter: bool) -> Float64:
    """Return the value at a time on the line between two samples; after a reset it begins at zero."""
    tile = window.tile
    y1, y2 = tile.at(older), tile.at(newer)
    t1, t2 = tile.time_at(older), tile.time_at(newer)
    base = np.where(y2 < y1, 0.0, y1) if is_counter else y1
    line = base + (y2 - base) * ((at_ms - t1) / (t2 - t1))
    return np.where(t1 == at_ms, y1, line)


def _resets(window: Window, edges: _Edges) -> Float64:
    """Sum what a counter lost at each fall from the left edge over the samples inside to the right edge."""
    tile = replace(window.tile, starts=None)
    inner = replace(window, tile=tile, low=edges.low, high=edges.high)
    lost = rates.add_resets(inner, np.zeros(edges.left.shape))
    some = edges.high > edges.low
    first, last = tile.at(inner.first), tile.at(inner.last)
    lost = lost + np.where(some & (first < edges.left), edges.left, 0.0)
    end = np.where(some, last, edges.left)
    return lost + np.where(edges.right < end, end, 0.0)


def smoothed(selector: ir.Selector, grid: Grid, context: Context) -> Block:
    """Evaluate `x smoothed`: on the line between the samples around each step, else the one before.

    Raises ExecutionError for `x anchored`, which only a range can be.
    """
    if selector.extension is Extension.ANCHORED:
        raise ExecutionError("anchored needs a range; write metric[5m] anchored")
    lookback_ms = context.settings.lookback_ms
    ends = shifted(grid, selector.offset_ms, selector.at, context)
    samples = context.fetch(selector.matchers, *selector_span(selector, lookback_ms, grid, context)).clean()
    vector = RangeVector(samples, ends, ends, grid, 0, Extension.SMOOTHED, lookback_ms)
    context.check_cells(len(samples), len(ends))
    shape = (len(samples), len(ends))
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    with np.errstate(all="ignore"):
        for window in vector.windows(context):
            tile, rows = window.tile, window.tile.rows
            columns = tile.values.shape[1] - 1
            before, after = np.maximum(window.low - 1, 0), np.minimum(window.low, columns)
            follows = (window.low <= columns) & (tile.time_at(after) <= ends + lookback_ms)
            line = _line(window, before, after, ends, is_counter=False)
            values[rows] = np.where(follows, line, tile.at(before))
            present[rows] = np.broadcast_to(_before(window, lookback_ms), values[rows].shape)
    histograms = None
    if samples.histograms:
        context.annotations.look_at(selector.position)
        histograms = smoothed_points(vector, present, context)
    return Block(samples.labels, values, present, samples.drop_name.copy(), histograms).broadcast(grid.count)


def outlined(vector: RangeVector, context: Context) -> RangeVector:
    """Return the one window of an instant query with its edges as samples, as `x[5m] smoothed` alone shows it."""
    start_ms, end_ms = int(vector.starts_ms[0]), int(vector.ends_ms[0])
    times: list[list[int]] = [[] for _ in range(len(vector.samples))]
    values: list[list[float]] = [[] for _ in times]
    with np.errstate(all="ignore"):
        for window in vector.windows(context):
            edges = _edges(vector.extension, context.settings.lookback_ms, window, is_counter=False)
            for k, row in enumerate(window.tile.rows.tolist()):
                if not np.broadcast_to(edges.present, edges.left.shape)[k, 0]:
                    continue
                own = k if len(edges.low) > 1 else 0
                inside = slice(int(edges.low[own, 0]), int(edges.high[own, 0]))
                times[row] = [start_ms, *window.tile.times_of(k)[inside].tolist(), end_ms]
                values[row] = [
                    float(edges.left[k, 0]),
                    *window.tile.values[k, inside].tolist(),
                    float(edges.right[k, 0]),
                ]
    offsets = np.concatenate(([0], np.cumsum([len(each) for each in times]))).astype(np.int64)
    flat = Flat(
        offsets,
        np.array([at_ms for each in times for at_ms in each], np.int64),
        np.array([value for each in values for value in each], np.float64),
    )
    runs = {}
    for row, pairs in points_between(vector, context).items():
        at, points = zip(*pairs, strict=True)
        held = np.array([*points, None], object)[:-1]
        runs[row] = HistogramRun(np.array(at, np.int64), held, np.zeros(len(at), np.bool_))
    samples = Samples.of_flat(vector.samples.labels, flat, runs, vector.samples.drop_name)
    # Its first point stands at the very start.
    return RangeVector(samples, vector.starts_ms - 1, vector.ends_ms, vector.grid, vector.range_ms)
