"""Start timestamps: when a counter began, told by its sender with each sample (OTLP, OpenMetrics).

With them a reset is seen that left no falling value behind, and a series that began inside a window is known
to have been zero then. 0 is "not known". A start counts as a reset between two samples where it lies

    previous start < previous sample <= start < sample      a delta series has start = previous sample

but not where the previous start is unknown or no earlier than its own sample: then start = previous sample
is how OpenTelemetry says "unknown". A start before the previous sample that is not the previous start
contradicts it: an overlap, of which a warning is due.
"""

from __future__ import annotations

import numpy as np
from ninesight_store.contract import Float64, Int64, stale_in

from ninesight_query import ir
from ninesight_query.block import Block, Bool, Grid
from ninesight_query.context import Context
from ninesight_query.samples import Samples
from ninesight_query.select import Window
from ninesight_query.spans import selector_span, shifted

__all__ = ["began_anew", "from_zero", "overlapping", "overlapping_rows", "start_timestamp", "zero_point"]


def began_anew(times: Int64, starts: Int64) -> Bool:
    """Return [.., N-1] where the counter began again between a sample and the next."""
    start, then_ms, now_ms = starts[..., 1:], times[..., :-1], times[..., 1:]
    then_start = starts[..., :-1]
    after = start > then_ms
    delta = (start == then_ms) & (then_start != 0) & (then_start < then_ms)
    out: Bool = (start != 0) & (start < now_ms) & (after | delta)
    return out


def overlapping(times: Int64, starts: Int64) -> Bool:
    """Return [.., N-1] where a sample's start lies before the sample before it and is not that one's own."""
    start = starts[..., 1:]
    out: Bool = (start != 0) & (start < times[..., :-1]) & (start != starts[..., :-1])
    return out


def overlapping_rows(window: Window) -> Int64:
    """Return the rows of a tile where some window holds an overlap."""
    tile = window.tile
    assert tile.starts is not None
    events = overlapping(tile.times, tile.starts)
    rows = np.flatnonzero(events.any(axis=1))
    if not len(rows):
        return rows
    part = window.rows(rows)
    before = np.zeros((len(rows), tile.values.shape[1]), np.int64)
    np.cumsum(events[rows], axis=1, out=before[:, 1:])
    first, last = (
        np.broadcast_to(each, part.shape) for each in (part.first, np.maximum(part.last, part.first))
    )
    inside = np.take_along_axis(before, last, axis=1) > np.take_along_axis(before, first, axis=1)
    return rows[inside.any(axis=1)]


def zero_point(window: Window) -> tuple[Bool, Int64]:
    """Return where each window's first sample began inside the window, and that time: both [R, T]."""
    starts, first = window.tile.starts, window.first
    assert starts is not None
    index = np.broadcast_to(first, window.shape)
    start = np.take_along_axis(starts, index, axis=1)
    inside = (window.count >= 1) & (start > window.starts_ms) & (start < window.tile.time_at(first))
    # 0 is "not known", not 1970.
    return inside & (start != 0), start


def start_timestamp(selector: ir.Selector, grid: Grid, context: Context) -> Block:
    """Return the start timestamp of each series' newest sample in seconds, 0 where it is not known."""
    lookback_ms = context.settings.lookback_ms
    ends = shifted(grid, selector.offset_ms, selector.at, context)
    samples = context.fetch(selector.matchers, *selector_span(selector, lookback_ms, grid, context))
    context.check_cells(len(samples), len(ends))
    values, present = np.zeros((len(samples), len(ends))), np.zeros((len(samples), len(ends)), np.bool_)
    for row in range(len(samples)):
        context.check_deadline()
        times, starts, stale = _merged(samples, row)
        if not len(times):
            continue
        index = np.searchsorted(times, ends, "right") - 1
        safe = np.maximum(index, 0)
        present[row] = (index >= 0) & (times[safe] > ends - lookback_ms) & ~stale[safe]
        values[row] = starts[safe] / 1000.0
    return Block(samples.labels, values, present, samples.drop_name.copy()).broadcast(grid.count)


def _merged(samples: Samples, row: int) -> tuple[Int64, Int64, Bool]:
    """Return times, starts and stale markers of a series, floats and histograms together."""
    own = slice(int(samples.offsets[row]), int(samples.offsets[row + 1]))
    times, stale = samples.times[own], stale_in(samples.values[own])
    starts = np.zeros(len(times), np.int64) if samples.starts is None else samples.starts[own]
    run = samples.histograms.get(row)
    if run is None:
        return times, starts, stale
    run_starts = np.zeros(len(run.times), np.int64) if run.starts is None else run.starts
    times = np.concatenate((times, run.times))
    order = np.argsort(times, kind="stable")
    starts = np.concatenate((starts, run_starts))
    return times[order], starts[order], np.concatenate((stale, run.stale))[order]


def from_zero(
    window: Window, result: Float64, first_value: Float64, sampled_s: Float64
) -> tuple[Float64, Float64, Bool]:
    """Return result and sampled seconds counted from the zero at the start, and where that holds: [R, T] each."""
    begun, start = zero_point(window)
    last_ms = np.broadcast_to(window.tile.time_at(window.last), begun.shape)
    from_start_s = (last_ms - start) / 1000.0
    return np.where(begun, result + first_value, result), np.where(begun, from_start_s, sampled_s), begun
