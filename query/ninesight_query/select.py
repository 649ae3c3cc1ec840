"""Selectors: from stored samples to blocks (instant vectors) and windows (range vectors)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from ninesight_store.contract import Int64, stale_in

from ninesight_query import ir
from ninesight_query.block import Block, Bool, Grid, Objects, spread
from ninesight_query.context import Context
from ninesight_query.histogram_grid import Cell, HistogramGrid
from ninesight_query.histogram_grid_rate import newest_cell
from ninesight_query.samples import HistogramRun, Samples
from ninesight_query.spans import bin_wish, selector_span, shifted
from ninesight_query.tiles import Tile

__all__ = ["RangeVector", "Window", "instant", "range_vector"]


def instant(selector: ir.Selector, grid: Grid, context: Context, *, timestamps: bool = False) -> Block:
    """Return the newest sample of each series within the lookback, or its time in seconds.

    Read are bins where those are enough, else all samples.
    """
    lookback_ms = context.settings.lookback_ms
    moved = selector.at is not None or selector.offset_ms
    ends = shifted(grid, selector.offset_ms, selector.at, context) if moved else grid.times
    wish = bin_wish(selector, lookback_ms, grid, context, newest=True)
    if wish is None:
        samples = context.fetch(selector.matchers, *selector_span(selector, lookback_ms, grid, context))
    else:
        bins = context.fetch_bins(selector.matchers, wish)
        samples = bins.newest.with_resets() if context.find_resets else bins.newest
    shape = (len(samples.labels), len(ends))
    context.check_cells(*shape)
    values, present = np.zeros((0, 0)), np.zeros((0, 0), np.bool_)
    times = np.full(shape, np.iinfo(np.int64).min) if samples.histograms or timestamps else None
    any_stale = samples.any_stale if samples.stale is None else samples.stale
    oldest_ms = ends - lookback_ms if len(ends) > 1 else np.array(int(ends[0]) - lookback_ms)
    for tile in samples.whole_tiles(len(ends)):
        context.check_deadline()
        index = tile.bounds(ends) - _ONE
        before = index < _ZERO
        some_before = np.count_nonzero(before)
        if some_before:
            index = np.maximum(index, _ZERO)
        found, at = tile.at(index), tile.time_at(index)
        fresh = at > oldest_ms
        if some_before:
            fresh &= ~before
        there = fresh & ~stale_in(found) if any_stale else fresh
        if times is None and found.shape == shape and samples.in_one_tile:
            values, present = found, spread(there, shape)
            break
        if values.shape != shape:
            values, present = np.zeros(shape), np.zeros(shape, np.bool_)
        values[tile.rows], present[tile.rows] = found, there
        if times is not None:
            times[tile.rows] = np.where(fresh, at, times[tile.rows])
    if values.shape != shape:
        values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    histograms: HistogramGrid | None = None
    if samples.histograms and times is not None:
        histograms = _latest_histograms(samples, ends, lookback_ms, times, present)
    if timestamps and times is not None:
        exists = present if histograms is None else present | histograms.present
        values, present, histograms = times / 1000.0, exists, None
    block = Block(samples.labels, values, present, samples.drop_name, histograms)
    return block if len(ends) == grid.count else block.broadcast(grid.count)


def _latest_histograms(
    samples: Samples, ends: Int64, lookback_ms: int, times: Int64, present: Bool
) -> HistogramGrid:
    """Put histograms where they are newer than the float; `times` and `present` are brought up to date."""
    cells: dict[int, Cell] = {}
    odd: dict[int, Objects] = {}
    table = samples.table
    if table is not None:
        pure = [row for row in samples.histograms if samples.offsets[row] == samples.offsets[row + 1]]
        for row, layout in table.layouts(pure)[0].items():
            cells[row], at = newest_cell(table, row, layout, ends, lookback_ms)
            times[row] = np.where(cells[row].present, at, times[row])
    for row in samples.histograms:
        if row in cells:
            continue
        run = samples.histograms[row]
        index = np.searchsorted(run.times, ends, "right") - 1
        safe = np.maximum(index, 0)
        newer = (index >= 0) & (run.times[safe] > ends - lookback_ms) & (run.times[safe] > times[row])
        present[row][newer] = False
        shown = newer & ~run.stale[safe]
        odd[row] = np.full(len(ends), None, object)
        odd[row][shown] = run.points[safe[shown]]
        times[row][newer] = run.times[safe[newer]]
    return HistogramGrid((len(samples), len(ends)), cells, odd)


# As arrays: numpy takes twice as long for an operand that is a Python number.
_ZERO, _ONE = np.array(0), np.array(1)


def _nothing() -> None:
    """Check nothing."""


@dataclass(slots=True, eq=False)
class Window:
    """One tile seen through the windows (start, end] of every step: columns lo..hi-1 lie inside.

    Nobody changes one.
    """

    tile: Tile
    low: Int64
    """[1, T] or [R, T]"""
    high: Int64
    starts_ms: Int64
    """[T] exclusive."""
    ends_ms: Int64
    """[T] inclusive."""
    grid_ms: Int64
    """[T] evaluation times."""
    check: Callable[[], None] = _nothing
    """Called between the steps of long work: raises once the query's deadline is over or nobody waits for it."""

    @property
    def count(self) -> Int64:
        """Samples in each window: [1, T] or [R, T]."""
        return self.high - self.low

    @property
    def first(self) -> Int64:
        """Column of the first sample, clipped into the tile."""
        column: Int64 = np.minimum(self.low, self.tile.values.shape[1] - 1)
        return column

    @property
    def last(self) -> Int64:
        """Column of the last sample, clipped into the tile."""
        return np.maximum(self.high - 1, 0)

    @property
    def shape(self) -> tuple[int, int]:
        """[R, T]"""
        return len(self.tile.rows), self.low.shape[1]

    def passes(self) -> Iterator[tuple[Int64, Bool]]:
        """Yield for k = 0, 1, ... the column of each window's k-th sample and whether there is one."""
        widest = int(self.count.max(initial=0))
        limit = self.tile.values.shape[1] - 1
        for k in range(widest):
            self.check()
            index = self.low + k
            yield np.minimum(index, limit), index < self.high

    def slices(self) -> Iterator[tuple[int, slice]] | None:
        """Yield each step with a window that is not empty, and its columns; None where rows differ."""
        if len(self.low) != 1:
            return None
        return self._slices()

    def _slices(self) -> Iterator[tuple[int, slice]]:
        for step, (low, high) in enumerate(zip(self.low[0].tolist(), self.high[0].tolist(), strict=True)):
            if high > low:
                self.check()
                yield step, slice(low, high)

    def groups(self) -> Iterator[Window]:
        """Yield the window of each group of rows with the same timestamps; itself where that is no gain."""
        owner = self.tile.owner
        if owner is None:
            yield self
            return
        edges = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(owner)]
        for start, stop in pairwise(edges):
            low, high = self.low[start : start + 1], self.high[start : start + 1]
            tile = self.tile.cut(start, stop)
            yield replace(self, tile=tile, low=low, high=high)

    def steps(self, part: slice) -> Window:
        """Return the window of some of the steps."""
        return replace(
            self,
            low=self.low[:, part],
            high=self.high[:, part],
            starts_ms=self.starts_ms[part],
            ends_ms=self.ends_ms[part],
            grid_ms=self.grid_ms[part],
        )

    def rows(self, which: Int64) -> Window:
        """Return the window of some of the tile's rows."""
        tile = self.tile
        part = tile.take(which)
        low, high = self.low, self.high
        if low.shape[0] != 1:
            low, high = low[which], high[which]
        return replace(self, tile=part, low=low, high=high)


@dataclass(slots=True, eq=False)
class RangeVector:
    """Series with their samples, and the windows to see them through. Nobody changes one."""

    samples: Samples
    """Free of stale markers."""
    starts_ms: Int64
    """[T], or [1] where `@` pins it; exclusive."""
    ends_ms: Int64
    grid: Grid
    range_ms: int
    extension: ir.Extension = ir.Extension.NONE
    reach_ms: int = 0
    """How far beyond the windows an extension looks; their tiles hold that too."""

    @property
    def pinned(self) -> bool:
        """Whether all steps see the same window."""
        return len(self.ends_ms) == 1 and self.grid.count > 1

    def windows(self, context: Context, *, every_step: bool = False) -> Iterator[Window]:
        """Yield the float samples tile by tile; `every_step` repeats a pinned window."""
        starts, ends, grid_ms = self.starts_ms, self.ends_ms, self.grid.times
        if self.pinned:
            if every_step:
                starts = np.broadcast_to(starts, grid_ms.shape)
                ends = np.broadcast_to(ends, grid_ms.shape)
            else:
                grid_ms = grid_ms[:1]
        tiles = self._reaching(starts, ends) if self.reach_ms else self.samples.seen(starts, ends)
        for tile, low, high in tiles:
            context.check_deadline()
            yield Window(tile, low, high, starts, ends, grid_ms, context.check_deadline)

    def _reaching(self, starts: Int64, ends: Int64) -> Iterator[tuple[Tile, Int64, Int64]]:
        low_ms, high_ms = int(starts[0]) - self.reach_ms, int(ends[-1]) + self.reach_ms
        for tile in self.samples.tiles(len(ends), low_ms, high_ms):
            yield tile, tile.bounds(starts), tile.bounds(ends)

    def check_points(self, name: str, odd: Sequence[int] = ()) -> None:
        """Raise NotInBinsError where `samples` lacks histogram points that the function needs.

        `odd`: series that have to be handled point by point. Here every point is at hand.
        """

    def run_bounds(self, run: HistogramRun) -> tuple[Int64, Int64]:
        """Return low and high of a histogram run for every step."""
        shape = (self.grid.count,)
        low = np.searchsorted(run.times, self.starts_ms, "right")
        high = np.searchsorted(run.times, self.ends_ms, "right")
        return np.broadcast_to(low, shape), np.broadcast_to(high, shape)


def range_vector(node: ir.RangeSelector, grid: Grid, context: Context) -> RangeVector:
    """Return the windows of `selector[range]`."""
    selector = node.selector
    samples = context.fetch(selector.matchers, *selector_span(selector, node.range_ms, grid, context))
    ends = shifted(grid, selector.offset_ms, selector.at, context)
    reach_ms = context.settings.lookback_ms if selector.extension else 0
    return RangeVector(
        context.cleaned(samples),
        ends - node.range_ms,
        ends,
        grid,
        node.range_ms,
        selector.extension,
        reach_ms,
    )
