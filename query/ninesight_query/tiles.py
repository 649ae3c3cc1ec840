"""Tiles: rectangles of float samples, rows are series, columns are samples in time order.

Series that share one list of timestamps (those of one scrape target) share one row of times; the rest is
padded at the end, where no window reaches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from ninesight_store import FAR_FUTURE, Sheet
from ninesight_store.contract import Float64, Int64

__all__ = ["Flat", "Tile", "flattened", "lay_tiles", "tiles_of_sheets"]

T = TypeVar("T", np.float64, np.int64)

SHARED_ROWS_MIN = 12
PATTERN_ROUNDS_MAX = 3
_SEARCHED_MAX = 10
"""Groups up to which a search in each is faster than anything that numpy does with all of them."""
_NEAR = 6
"""Columns on either side of where one series has an edge in which the others' edges are looked for first."""


@dataclass(slots=True, eq=False)
class Tile:
    """Float samples of some series. Nobody changes one: freezing it would cost more than laying it out."""

    rows: Int64
    """[R] which series."""
    times: Int64
    """[1, N] shared by all rows, or [G, N] one a group, padded with FAR_FUTURE."""
    values: Float64
    """[R, N]"""
    owner: Int64 | None = None
    """[R] each row's group, ascending; None: shared, or every row is its own group."""
    starts: Int64 | None = None
    """[R, N] start timestamps, 0 where not known; None where no sample has one. Then `owner` is None."""

    @property
    def shared(self) -> bool:
        """Whether all rows have the same timestamps."""
        return len(self.times) == 1

    def times_of(self, index: int) -> Int64:
        """Return the timestamps of one of the rows, padded like `times`."""
        group = 0 if self.shared else index if self.owner is None else int(self.owner[index])
        times: Int64 = self.times[group]
        return times

    def cut(self, start: int, stop: int) -> Tile:
        """Return some of the rows, as views."""
        return self._part(slice(start, stop))

    def take(self, which: Int64) -> Tile:
        """Return some of the rows, ascending."""
        return self._part(which)

    def _part(self, which: slice | Int64) -> Tile:
        rows, values = self.rows[which], self.values[which]
        if self.shared or self.owner is None:
            starts = None if self.starts is None else self.starts[which]
            return Tile(rows, self.times if self.shared else self.times[which], values, None, starts)
        owner = self.owner[which]
        if not len(owner):
            return Tile(rows, self.times[:1], values)
        low, high = int(owner[0]), int(owner[-1]) + 1
        return Tile(rows, self.times[low:high], values, None if high - low == 1 else owner - low)

    def within(self, start_ms: int, end_ms: int) -> Tile:
        """Return the columns that hold all samples of start < t <= end, as views."""
        if self.shared:
            low, high = (int(self.times[0].searchsorted(edge, "right")) for edge in (start_ms, end_ms))
        else:
            lows, highs = (_counts(self.times, np.array([edge], np.int64)) for edge in (start_ms, end_ms))
            low, high = int(lows.min()), int(highs.max())
        return self._columns(low, high)

    def _columns(self, low: int, high: int) -> Tile:
        if low == 0 and high == self.values.shape[1]:
            return self
        starts = None if self.starts is None else self.starts[:, low:high]
        return Tile(self.rows, self.times[:, low:high], self.values[:, low:high], self.owner, starts)

    def seen(self, starts_ms: Int64, ends_ms: Int64) -> tuple[Tile, Int64, Int64]:
        """Return what `within` gives for windows start < t <= end, ascending, and both `bounds` in that."""
        if len(starts_ms) == 1:
            both, first, last = _edges(self.times, starts_ms, ends_ms)
            if self.owner is not None:
                both = both[self.owner]
            return self._columns(first, last), both[:, :1], both[:, 1:]
        low, high = _counts(self.times, starts_ms), _counts(self.times, ends_ms)
        first, last = int(low[:, 0].min()), int(high[:, -1].max())
        if first:
            low, high = low - first, high - first
        if self.owner is not None:
            low, high = low[self.owner], high[self.owner]
        return self._columns(first, last), low, high

    def bounds(self, edges: Int64) -> Int64:
        """Return how many samples of each row lie at or before each edge: [1, T] or [R, T]."""
        out = _counts(self.times, edges)
        return out if self.owner is None else out[self.owner]

    def at(self, index: Int64) -> Float64:
        """Return the values at sample positions [1, T] or [R, T]: [R, T]."""
        found: Float64
        if len(index) == 1:
            found = self.values.take(index[0], axis=1)
        else:
            # As np.take_along_axis, which takes three times as long for few cells.
            found = self.values[np.arange(len(self.values))[:, None], index]
        return found

    def time_at(self, index: Int64) -> Int64:
        """Return the times at sample positions: [1, T] or [R, T]."""
        found: Int64
        if len(self.times) == 1:
            found = self.times[0][index]
        elif self.owner is not None:
            found = self.times[self.owner[:, None], index]
        else:
            found = self.times[np.arange(len(self.times))[:, None], index]
        return found

    def samples_at(self, one: Int64, other: Int64) -> tuple[Float64, Int64, Float64, Int64]:
        """Return what `at` and `time_at` do, for two positions."""
        times, values = self.times, self.values
        if len(one) == 1 or len(times) == 1:
            return self.at(one), self.time_at(one), self.at(other), self.time_at(other)
        rows = groups = np.arange(len(values))[:, None]
        if self.owner is not None:
            groups = self.owner[:, None]
        return values[rows, one], times[groups, one], values[rows, other], times[groups, other]


def _counts(times: Int64, edges: Int64) -> Int64:
    """Return how many times of each row lie at or before each edge: [G, T]."""
    if len(times) == 1:
        found: Int64 = times[0].searchsorted(edges, "right")[None, :]
        return found
    if len(edges) == 1 and len(times) > _SEARCHED_MAX:
        near = _near(times, int(edges[0]))
        if near is not None:
            return near
    out = np.empty((len(times), len(edges)), np.int64)
    for row, each in enumerate(times):
        out[row] = each.searchsorted(edges, "right")
    return out


def _edges(times: Int64, starts_ms: Int64, ends_ms: Int64) -> tuple[Int64, int, int]:
    """Return where one window begins and ends among the times of each group, [G, 2], from its first column on.

    Then that column, and the one after its last.
    """
    if len(times) > _SEARCHED_MAX:
        low, high = _near(times, int(starts_ms[0])), _near(times, int(ends_ms[0]))
        if low is not None and high is not None:
            first = int(low.min())
            return np.concatenate((low, high), axis=1) - first, first, int(high.max())
    edges = np.array((starts_ms[0], ends_ms[0]))
    found, first, last = [], times.shape[1], 0
    for each in times:
        pair = each.searchsorted(edges, "right").tolist()
        found.append(pair)
        first, last = min(first, pair[0]), max(last, pair[1])
    both = np.array(found)
    return both - first if first else both, first, last


def _near(times: Int64, edge_ms: int) -> Int64 | None:
    """Return `_counts` of one edge, [G, 1], or None where they are far apart.

    Series of one selector are about as dense as each other: the others are looked for where the first one was found.
    """
    at = int(times[0].searchsorted(edge_ms, "right"))
    first, last = max(0, at - _NEAR), min(times.shape[1], at + _NEAR)
    passed = times[:, first:last] <= edge_ms
    if first and np.count_nonzero(passed[:, 0]) < len(times):
        return None
    if last < times.shape[1] and np.count_nonzero(passed[:, -1]):
        return None
    # Few columns: the count of a row fits into a byte, and numpy adds bytes as they are.
    number = np.add.reduce(passed.view(np.int8), axis=1, dtype=np.int8, keepdims=True)
    return np.add(number, first, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Flat:
    """Float samples one after another; series r owns offsets[r]:offsets[r+1]."""

    offsets: Int64
    times: Int64
    values: Float64
    starts: Int64 | None = None
    """Start timestamps, 0 where not known; None where no sample has one."""


def lay_tiles(flat: Flat) -> list[Tile]:
    """Lay flat samples out as tiles."""
    offsets, times, values, begun = flat.offsets, flat.times, flat.values, flat.starts
    lengths = np.diff(offsets)
    rows = np.flatnonzero(lengths)
    if not len(rows):
        return []
    tiles: list[Tile] = []
    ragged: list[Int64] = []
    starts = offsets[:-1]
    groups = _groups(rows, lengths, times[starts[rows]], times[offsets[1:][rows] - 1])
    few = len(groups) <= 8
    for group in groups:
        left = group
        for _ in range(PATTERN_ROUNDS_MAX):
            if not len(left) or (len(left) < SHARED_ROWS_MIN and not few):
                break
            same, left = _same_times(left, starts, times, int(lengths[left[0]]))
            if len(same) < SHARED_ROWS_MIN and not few:
                ragged.append(same)
                continue
            tiles.append(_shared_tile(same, starts, times, values, begun, int(lengths[same[0]])))
        if len(left):
            ragged.append(left)
    if ragged:
        tiles += _ragged_tiles(np.concatenate(ragged), starts, lengths, times, values, begun)
    return tiles


def _groups(rows: Int64, lengths: Int64, first: Int64, last: Int64) -> list[Int64]:
    """Split rows by (number of samples, first time, last time)."""
    size = lengths[rows]
    if (size == size[0]).all() and (first == first[0]).all() and (last == last[0]).all():
        return [rows]
    order = np.lexsort((last, first, size))
    size, first, last = size[order], first[order], last[order]
    breaks = (np.diff(size) != 0) | (np.diff(first) != 0) | (np.diff(last) != 0)
    return np.split(rows[order], np.flatnonzero(breaks) + 1)


def _same_times(rows: Int64, starts: Int64, times: Int64, length: int) -> tuple[Int64, Int64]:
    """Split rows of equal length into those whose times equal the first one's, and the rest."""
    if len(rows) == 1:
        return rows, rows[:0]
    pattern = times[starts[rows[0]] : starts[rows[0]] + length]
    equal = (_rectangle(times, rows, starts, length) == pattern).all(axis=1)
    return rows[equal], rows[~equal]


def _rectangle(
    flat: np.ndarray[Any, np.dtype[T]], rows: Int64, starts: Int64, length: int
) -> np.ndarray[Any, np.dtype[T]]:
    first = int(starts[rows[0]])
    out: np.ndarray[Any, np.dtype[T]]
    if len(rows) == 1 or (np.diff(starts[rows]) == length).all():
        out = flat[first : first + len(rows) * length].reshape(len(rows), length)
    else:
        out = flat[starts[rows][:, None] + np.arange(length)]
    return out


def _shared_tile(
    rows: Int64, starts: Int64, times: Int64, values: Float64, begun: Int64 | None, length: int
) -> Tile:
    first = int(starts[rows[0]])
    own = None if begun is None else _rectangle(begun, rows, starts, length)
    return Tile(
        rows, times[first : first + length][None, :], _rectangle(values, rows, starts, length), None, own
    )


def _ragged_tiles(
    rows: Int64, starts: Int64, lengths: Int64, times: Int64, values: Float64, begun: Int64 | None
) -> Iterator[Tile]:
    """Pad series of similar length into rectangles; at most half of a rectangle is padding."""
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    begin = 0
    while begin < len(rows):
        shortest = int(lengths[rows[begin]])
        end = begin + 1
        while end < len(rows) and lengths[rows[end]] <= max(16, 2 * shortest):
            end += 1
        part = np.sort(rows[begin:end])
        longest = int(lengths[part].max())
        column = np.arange(longest)
        inside = column < lengths[part][:, None]
        index = np.where(inside, starts[part][:, None] + column, starts[part][:, None])
        own = None if begun is None else np.where(inside, begun[index], 0)
        yield Tile(
            part, np.where(inside, times[index], FAR_FUTURE), np.where(inside, values[index], 0.0), None, own
        )
        begin = end


def tiles_of_sheets(sheets: Sequence[Sheet]) -> list[Tile]:
    """Return what the store laid out already."""
    return [
        Tile(sheet.rows, sheet.times, sheet.values, None if len(sheet.times) == 1 else sheet.owner)
        for sheet in sheets
    ]


def flattened(tiles: Sequence[Tile], series: int) -> Flat:
    """Return the samples of tiles one series after another."""
    lengths = np.zeros(series, np.int64)
    sizes = [(tile.times < FAR_FUTURE).sum(axis=1) for tile in tiles]
    for tile, size in zip(tiles, sizes, strict=True):
        lengths[tile.rows] = size if tile.owner is None else size[tile.owner]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    times, values = np.empty(offsets[-1], np.int64), np.empty(offsets[-1])
    for tile, size in zip(tiles, sizes, strict=True):
        for place, row in enumerate(tile.rows.tolist()):
            group = 0 if tile.shared else place if tile.owner is None else int(tile.owner[place])
            own, count = slice(int(offsets[row]), int(offsets[row + 1])), int(size[group])
            times[own] = tile.times[group, :count]
            values[own] = tile.values[place, :count]
    return Flat(offsets, times, values)
