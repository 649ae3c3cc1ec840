"""A rollup as the engine works on it: bins laid out as tiles, series with the same bins together.

Seen from outside a bin is a sample: it stands at the time of its last sample and has its value, so what asks for
the newest sample needs nothing else. Functions of a range take the other columns of the bins in a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from ninesight_store import FAR_FUTURE, FloatBins, Rollup
from ninesight_store.contract import STALE_BITS, Float64, Int64, Labels

from ninesight_query.block import Bool
from ninesight_query.histogram_table import HistogramTable
from ninesight_query.samples import CELLS_MAX, Samples, StoredRuns
from ninesight_query.tiles import SHARED_ROWS_MIN, Flat, Tile

__all__ = ["BinTile", "Bins"]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the cells of a rectangle lie among flat columns."""

    rows: Int64
    """[R] which series."""
    owner: Int64
    """[R] each row's group of series with the same times, ascending."""
    heads: Int64
    """[G] where each group's first series begins."""
    lengths: Int64
    """[G] cells of each of its series."""
    begins: Int64
    """[R] where each series begins."""

    def places(self, begins: Int64, lengths: Int64) -> Int64:
        """Return [., N] flat places; behind a row's end its last one is repeated."""
        column = np.arange(int(self.lengths.max()))
        return begins[:, None] + np.minimum(column, lengths[:, None] - 1)

    def of_groups(self, flat: Int64) -> Int64:
        """Return [G, N] a column that the series of a group share."""
        out: Int64 = flat[self.places(self.heads, self.lengths)]
        return out

    def of_rows(self) -> Int64:
        """Return [R, N] the places of all cells."""
        return self.places(self.begins, self.lengths[self.owner])

    @property
    def inside(self) -> Bool:
        """[G, N] where a series of the group has a cell."""
        return np.arange(int(self.lengths.max())) < self.lengths[:, None]


def _laid(offsets: Int64, shared: Sequence[Int64]) -> Iterator[_Layout]:
    """Yield rectangles; series of a group are equal in all `shared` columns. Large groups stand alone."""
    keys = np.ascontiguousarray(np.stack(shared, axis=1))
    memory, width = keys.view(np.uint8).reshape(-1).data, keys.shape[1] * 8
    groups: dict[bytes, list[int]] = {}
    edges = (offsets * width).tolist()
    for row, (low, high) in enumerate(pairwise(edges)):
        if low < high:
            groups.setdefault(bytes(memory[low:high]), []).append(row)
    small: list[list[int]] = []
    for members in groups.values():
        if len(members) >= SHARED_ROWS_MIN:
            yield _layout(offsets, [members])
        else:
            small.append(members)
    lengths = np.diff(offsets)
    small.sort(key=lambda members: int(lengths[members[0]]))
    while small:
        # At most half of a rectangle is padding.
        longest = max(16, 2 * int(lengths[small[0][0]]))
        count = sum(int(lengths[members[0]]) <= longest for members in small)
        yield _layout(offsets, small[:count])
        small = small[count:]


def _layout(offsets: Int64, groups: Sequence[list[int]]) -> _Layout:
    rows = np.array([row for members in groups for row in members], np.int64)
    first = np.array([members[0] for members in groups], np.int64)
    owner = np.repeat(np.arange(len(groups)), [len(members) for members in groups])
    return _Layout(rows, owner, offsets[first], np.diff(offsets)[first], offsets[rows])


@dataclass(frozen=True, slots=True)
class BinTile:
    """Bins of some series. `tile` holds each bin's last sample, and so finds the bins of a window."""

    tile: Tile
    first_ms: Int64
    """[G, N] time of each bin's first sample."""
    before: Int64
    """[G, N+1] samples before each bin."""
    bins: FloatBins
    places: Int64
    """[R, N] in the columns of `bins`."""

    def column(self, name: str) -> Float64:
        """Return [R, N] a column of the bins as floats."""
        return np.asarray(getattr(self.bins, name)[self.places], np.float64)

    def of_group(self, shared: Int64, index: Int64) -> Int64:
        """Return [1, T] or [R, T] what a column [G, .] of the groups holds at positions [1, T] or [R, T]."""
        if self.tile.shared:
            found: Int64 = shared[0][index]
        else:
            owner = np.arange(len(index)) if self.tile.owner is None else self.tile.owner
            found = shared[owner[:, None], index]
        return found


@dataclass(frozen=True, slots=True)
class _Whole:
    """One rectangle, before it is cut to what the CPU's cache holds."""

    layout: _Layout
    times: Int64
    first_ms: Int64
    before: Int64
    places: Int64


class Bins:
    """The rollup of a selector. Read-only; what is made late is kept."""

    def __init__(self, rollup: Rollup) -> None:
        self._rollup = rollup
        points = rollup.histograms
        some = len(points) > 0
        self._table = HistogramTable(points, rollup.histogram_offsets, rollup.weights) if some else None

    @property
    def labels(self) -> tuple[Labels, ...]:
        """[S] sorted."""
        return self._rollup.labels

    @cached_property
    def newest(self) -> Samples:
        """Each bin's last sample, and the stale markers: enough for the newest sample at any edge."""
        rolled, bins = self._rollup, self._rollup.bins
        offsets, times, values = rolled.offsets, bins.last_ms, bins.last
        if len(rolled.stale_ms):
            series = np.arange(len(self.labels))
            counts = np.diff(offsets), np.diff(rolled.stale_offsets)
            rows = np.concatenate([np.repeat(series, count) for count in counts])
            marks = np.full(len(rolled.stale_ms), STALE_BITS, np.uint64).view(np.float64)
            times, values = np.concatenate((times, rolled.stale_ms)), np.concatenate((values, marks))
            order = np.lexsort((times, rows))
            times, values = times[order], values[order]
            offsets = offsets + rolled.stale_offsets
        tiles = [
            _tile(
                layout, np.where(layout.inside, layout.of_groups(times), FAR_FUTURE), values[layout.of_rows()]
            )
            for layout in _laid(offsets, [times])
        ]
        return self._samples(Flat(offsets, times, values), tiles)

    @cached_property
    def ranged(self) -> Samples:
        """Each bin's last sample, without stale markers of floats: what functions of a range look at."""
        bins = self._rollup.bins
        samples = self._samples(Flat(self._rollup.offsets, bins.last_ms, bins.last), None)
        samples.stale = False
        return samples

    def _samples(self, flat: Flat, tiles: list[Tile] | None) -> Samples:
        runs = {} if self._table is None else StoredRuns(self._table)
        drop_name = np.zeros(len(self.labels), np.bool_)
        return Samples(self.labels, runs, drop_name, flat, tiles, table=self._table)

    @cached_property
    def _wholes(self) -> list[_Whole]:
        bins = self._rollup.bins
        out = []
        for layout in _laid(self._rollup.offsets, [bins.last_ms, bins.first_ms, bins.count]):
            inside = layout.inside
            count = np.where(inside, layout.of_groups(bins.count), 0)
            before = np.zeros((count.shape[0], count.shape[1] + 1), np.int64)
            np.cumsum(count, axis=1, out=before[:, 1:])
            times = np.where(inside, layout.of_groups(bins.last_ms), FAR_FUTURE)
            out.append(_Whole(layout, times, layout.of_groups(bins.first_ms), before, layout.of_rows()))
        return out

    def tiles(self, steps: int, start_ms: int, end_ms: int) -> Iterator[BinTile]:
        """Yield the bins of start < t <= end (some more, at most) in tiles, like `Samples.tiles`."""
        bins = self._rollup.bins
        for whole in self._wholes:
            low = int((whole.times <= start_ms).sum(axis=1).min())
            high = int((whole.times <= end_ms).sum(axis=1).max())
            if low == high:
                continue
            count = max(1, CELLS_MAX // max(steps, high - low))
            for start in range(0, len(whole.places), count):
                rows = slice(start, start + count)
                owner = whole.layout.owner[rows]
                group = slice(int(owner[0]), int(owner[-1]) + 1)
                places = whole.places[rows, low:high]
                part = replace(whole.layout, rows=whole.layout.rows[rows], owner=owner - owner[0])
                yield BinTile(
                    _tile(part, whole.times[group, low:high], bins.last[places]),
                    whole.first_ms[group, low:high],
                    whole.before[group, low : high + 1],
                    bins,
                    places,
                )


def _tile(layout: _Layout, times: Int64, values: Float64) -> Tile:
    """Make a tile whose rows of times are those of the layout's groups."""
    return Tile(layout.rows, times, values, None if len(times) == 1 else layout.owner)
