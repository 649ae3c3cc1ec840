"""Selected samples, laid out for windows: tiles of series that are worked on together.

A tile is a rectangle: rows are series, columns are samples in time order. Series that share one list
of timestamps (those of one scrape target) share one row of times; the rest is padded at the end, where
no window reaches. A tile never holds more than CELLS_MAX values, so that it stays in the CPU's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from ninesight_store.contract import STALE_BITS, Columns, Float64, Int64, Labels

from ninesight_query.block import Bool, Objects
from ninesight_query.histogram import is_stale
from ninesight_query.histogram_table import HistogramTable

__all__ = ["CELLS_MAX", "HistogramRun", "Samples", "StoredRuns", "Tile", "is_stale_bits"]

T = TypeVar("T", np.float64, np.int64)

CELLS_MAX = 1 << 17
SHARED_ROWS_MIN = 12
PATTERN_ROUNDS_MAX = 3
FAR_FUTURE = np.iinfo(np.int64).max


def is_stale_bits(values: Float64) -> Bool:
    """Return where the stale marker stands (compared by bits: it is one NaN among many)."""
    return np.ascontiguousarray(values).view(np.uint64) == np.uint64(STALE_BITS)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class HistogramRun:
    """The histogram points of one series."""

    times: Int64
    points: Objects
    stale: Bool
    starts: Int64 | None = None
    """Start timestamps, 0 where not known."""

    def without_stale(self) -> HistogramRun:
        """Return the run without its stale markers."""
        if not self.stale.any():
            return self
        good = ~self.stale
        starts = None if self.starts is None else self.starts[good]
        return HistogramRun(self.times[good], self.points[good], self.stale[good], starts)


class StoredRuns(Mapping[int, HistogramRun]):
    """The histograms of stored series, made into objects when a series is asked for."""

    def __init__(self, table: HistogramTable, *, clean: bool = False) -> None:
        self.table = table
        self._clean = clean
        self._rows = table.rows()
        self._made: dict[int, HistogramRun] = {}

    def __getitem__(self, row: int) -> HistogramRun:
        """Return the run of one series. Raises KeyError where it has no histogram."""
        if row not in self._made:
            times, points = self.table.points(row)
            stale = np.fromiter((is_stale(point) for point in points), np.bool_, len(points))
            run = HistogramRun(times, points, stale, self.table.starts(row))
            self._made[row] = run.without_stale() if self._clean else run
        return self._made[row]

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


@dataclass(frozen=True, slots=True)
class Tile:
    """Float samples of some series."""

    rows: Int64
    """[R] which series."""
    times: Int64
    """[1, N] shared, or [R, N] padded with FAR_FUTURE."""
    values: Float64
    """[R, N]"""
    starts: Int64 | None = None
    """[R, N] start timestamps, 0 where not known; None where no sample has one."""

    @property
    def shared(self) -> bool:
        """Whether all rows have the same timestamps."""
        return len(self.times) == 1

    def cut(self, start: int, stop: int) -> Tile:
        """Return some of the rows, as views."""
        times = self.times if self.shared else self.times[start:stop]
        starts = None if self.starts is None else self.starts[start:stop]
        return Tile(self.rows[start:stop], times, self.values[start:stop], starts)

    def bounds(self, edges: Int64) -> Int64:
        """Return how many samples of each row lie at or before each edge: [1, T] or [R, T]."""
        if self.shared:
            return np.searchsorted(self.times[0], edges, "right")[None, :]
        out = np.empty((len(self.rows), len(edges)), np.int64)
        for row, times in enumerate(self.times):
            out[row] = np.searchsorted(times, edges, "right")
        return out

    def at(self, index: Int64) -> Float64:
        """Return the values at sample positions [1, T] or [R, T]: [R, T]."""
        found: Float64
        if len(index) == 1:
            found = np.take(self.values, index[0], axis=1)
        else:
            found = np.take_along_axis(self.values, index, axis=1)
        return found

    def time_at(self, index: Int64) -> Int64:
        """Return the times at sample positions: [1, T] or [R, T]."""
        found: Int64
        if self.shared and len(index) == 1:
            found = self.times[0][index]
        else:
            found = np.take_along_axis(np.broadcast_to(self.times, self.values.shape), index, axis=1)
        return found


@dataclass
class Samples:
    """Series with their samples. Arrays are flat; series r owns offsets[r]:offsets[r+1]."""

    labels: Sequence[Labels]
    offsets: Int64
    times: Int64
    values: Float64
    histograms: Mapping[int, HistogramRun]
    """By row, only series that have any."""
    drop_name: Bool
    _tiles: list[Tile] | None = None
    _clean: Samples | None = None
    _resets: Samples | None = None
    _stale: Bool | None = field(default=None, repr=False)
    table: HistogramTable | None = None
    """The same histograms as matrices; None where they were computed (a subquery)."""
    starts: Int64 | None = None
    """[N] start timestamps, 0 where not known; None where no sample has one."""

    @staticmethod
    def of_columns(columns: Columns) -> Samples:
        """Take over what the store selected."""
        table = None
        if len(columns.histograms):
            table = HistogramTable(columns.histograms, columns.histogram_offsets)
        return Samples(
            columns.labels,
            columns.offsets,
            columns.timestamps,
            columns.values,
            {} if table is None else StoredRuns(table),
            np.zeros(len(columns.labels), np.bool_),
            table=table,
            starts=columns.start_timestamps,
        )

    def __len__(self) -> int:
        """Series."""
        return len(self.labels)

    @property
    def stale(self) -> Bool:
        """[N] where the stale marker stands."""
        if self._stale is None:
            self._stale = is_stale_bits(self.values)
        return self._stale

    def with_resets(self) -> Samples:
        """Return the samples with counter resets of histograms looked for; see `HistogramTable.with_resets`."""
        if self.table is None:
            return self
        if self._resets is None:
            table = self.table.with_resets()
            self._resets = Samples(
                self.labels,
                self.offsets,
                self.times,
                self.values,
                StoredRuns(table),
                self.drop_name,
                table=table,
                starts=self.starts,
            )
        return self._resets

    def clean(self) -> Samples:
        """Return the samples without stale markers (what a range sees)."""
        if self._clean is None:
            runs: Mapping[int, HistogramRun]
            if isinstance(self.histograms, StoredRuns):
                runs = StoredRuns(self.histograms.table, clean=True)
            else:
                runs = {row: run.without_stale() for row, run in self.histograms.items()}
            if self.stale.any():
                good = ~self.stale
                kept = np.concatenate(([0], np.cumsum(good)))
                self._clean = Samples(
                    self.labels, kept[self.offsets], self.times[good], self.values[good], runs, self.drop_name
                )
                self._clean.starts = None if self.starts is None else self.starts[good]
                self._clean._stale = np.zeros(len(self._clean.values), np.bool_)
            else:
                tiles = self._tiles
                self._clean = Samples(
                    self.labels, self.offsets, self.times, self.values, runs, self.drop_name, tiles
                )
                self._clean.starts = self.starts
            self._clean.table = self.table
        return self._clean

    def tiles(self, steps: int) -> Iterator[Tile]:
        """Yield the float samples in tiles, none larger than CELLS_MAX values or cells of the grid."""
        if self._tiles is None:
            self._tiles = _lay_tiles(self.offsets, self.times, self.values, self.starts)
        for tile in self._tiles:
            rows = max(1, CELLS_MAX // max(steps, tile.values.shape[1]))
            for start in range(0, len(tile.rows), rows):
                yield tile if rows >= len(tile.rows) else tile.cut(start, start + rows)


def _lay_tiles(offsets: Int64, times: Int64, values: Float64, begun: Int64 | None) -> list[Tile]:
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
    return Tile(rows, times[first : first + length][None, :], _rectangle(values, rows, starts, length), own)


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
            part, np.where(inside, times[index], FAR_FUTURE), np.where(inside, values[index], 0.0), own
        )
        begin = end
