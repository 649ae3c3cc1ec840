"""Selected samples, laid out for windows: tiles of series that are worked on together.

A tile that is worked on never holds more than CELLS_MAX values, so that it stays in the CPU's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ninesight_store import Cover
from ninesight_store.contract import Columns, Float64, HistogramColumns, Int64, Labels, stale_in

from ninesight_query.block import Bool, Objects
from ninesight_query.histogram import is_stale
from ninesight_query.histogram_table import HistogramTable
from ninesight_query.label_memo import keep_labels
from ninesight_query.tiles import Flat, Tile, flattened, lay_tiles, tiles_of_sheets

__all__ = ["CELLS_MAX", "HistogramRun", "Samples", "StoredRuns"]

CELLS_MAX = 1 << 17


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


@dataclass
class Samples:
    """Series with their samples: flat, or as tiles, each made from the other when it is asked for.

    Safe from many threads: what is made late is the same whoever makes it.
    """

    labels: Sequence[Labels]
    histograms: Mapping[int, HistogramRun]
    """By row, only series that have any."""
    drop_name: Bool
    _flat: Flat | None = None
    _tiles: list[Tile] | None = None
    _clean: Samples | None = None
    _resets: Samples | None = None
    stale: bool | None = None
    """Whether a float is a stale marker; None: nobody looked yet, see `any_stale`."""
    _in_one_tile: bool | None = None
    table: HistogramTable | None = None
    """The same histograms as matrices; None where they were computed (a subquery)."""

    @staticmethod
    def of_flat(
        labels: Sequence[Labels], flat: Flat, histograms: Mapping[int, HistogramRun], drop_name: Bool
    ) -> Samples:
        """Take flat samples."""
        return Samples(labels, histograms, drop_name, flat)

    @staticmethod
    def of_columns(columns: Columns) -> Samples:
        """Take over what the store selected."""
        flat = Flat(columns.offsets, columns.timestamps, columns.values, columns.start_timestamps)
        samples = _with_histograms(columns.labels, columns.histograms, columns.histogram_offsets)
        samples._flat = flat
        return samples

    @staticmethod
    def of_cover(cover: Cover) -> Samples:
        """Take over what the store keeps."""
        samples = _with_histograms(cover.labels, cover.histograms, cover.histogram_offsets)
        samples._tiles = tiles_of_sheets(cover.sheets)
        keep_labels(cover.labels)
        return samples

    def __len__(self) -> int:
        """Series."""
        return len(self.labels)

    @property
    def flat(self) -> Flat:
        """The float samples one series after another."""
        if self._flat is None:
            self._flat = flattened(self._tiles or (), len(self.labels))
        return self._flat

    @property
    def offsets(self) -> Int64:
        """[S+1] of the flat samples."""
        return self.flat.offsets

    @property
    def times(self) -> Int64:
        """[N] milliseconds, flat."""
        return self.flat.times

    @property
    def values(self) -> Float64:
        """[N] flat."""
        return self.flat.values

    @property
    def starts(self) -> Int64 | None:
        """[N] start timestamps, flat, 0 where not known; None where no sample has one."""
        return self.flat.starts

    @property
    def any_stale(self) -> bool:
        """Whether a float is a stale marker. The first time this looks at every sample."""
        if self.stale is None:
            parts = [self._flat.values] if self._flat is not None else [tile.values for tile in self._laid()]
            self.stale = any(bool(stale_in(part).any()) for part in parts)
        return self.stale

    @property
    def cleaned(self) -> bool:
        """Whether stale markers were taken out, or there are none."""
        return self.stale is False or (self._clean is not None and self._clean._tiles is not None)

    @property
    def in_one_tile(self) -> bool:
        """Whether one tile holds all series, in their order."""
        if self._in_one_tile is None:
            tiles = self._laid()
            self._in_one_tile = len(tiles) == 1 and np.array_equal(tiles[0].rows, np.arange(len(self.labels)))
        return self._in_one_tile

    def with_resets(self) -> Samples:
        """Return the samples with counter resets of histograms looked for; see `HistogramTable.with_resets`."""
        if self.table is None:
            return self
        if self._resets is None:
            table = self.table.with_resets()
            self._resets = Samples(
                self.labels,
                StoredRuns(table),
                self.drop_name,
                self._flat,
                self._tiles,
                stale=self.stale,
                table=table,
            )
        return self._resets

    def clean(self) -> Samples:
        """Return the samples without stale markers (what a range sees)."""
        if self.stale is False and not self.histograms:
            return self
        if self._clean is None:
            runs: Mapping[int, HistogramRun]
            if isinstance(self.histograms, StoredRuns):
                runs = StoredRuns(self.histograms.table, clean=True)
            else:
                runs = {row: run.without_stale() for row, run in self.histograms.items()}
            flat, tiles = self._flat, self._tiles
            if self.any_stale:
                good = ~stale_in(self.values)
                kept = np.concatenate(([0], np.cumsum(good)))
                starts = None if self.starts is None else self.starts[good]
                flat, tiles = Flat(kept[self.offsets], self.times[good], self.values[good], starts), None
            clean = Samples(self.labels, runs, self.drop_name, flat, tiles, table=self.table)
            clean.stale = False
            self._clean = clean
        return self._clean

    def tiles(self, steps: int, start_ms: int, end_ms: int) -> Iterator[Tile]:
        """Yield the float samples of start < t <= end (some more, at most) in tiles.

        None is empty, none larger than CELLS_MAX values or cells of the grid.
        """
        for whole in self._laid():
            tile = whole.within(start_ms, end_ms)
            if tile.values.shape[1]:
                yield from _in_parts(tile, max(steps, tile.values.shape[1]))

    def whole_tiles(self, steps: int) -> Iterator[Tile]:
        """Yield all float samples in tiles, none larger than CELLS_MAX cells of the grid."""
        for tile in self._laid():
            if len(tile.rows) * steps <= CELLS_MAX:
                yield tile
            else:
                yield from _in_parts(tile, steps)

    def seen(self, starts_ms: Int64, ends_ms: Int64) -> Iterator[tuple[Tile, Int64, Int64]]:
        """Yield what `tiles` gives for windows start < t <= end, with the `bounds` of their starts and ends in it."""
        for whole in self._laid():
            tile, low, high = whole.seen(starts_ms, ends_ms)
            width = tile.values.shape[1]
            if not width:
                continue
            width = max(len(ends_ms), width)
            if len(tile.rows) * width <= CELLS_MAX:
                yield tile, low, high
                continue
            for part in _parts(tile, width):
                own = slice(None) if len(low) == 1 else part
                yield tile.cut(part.start, part.stop), low[own], high[own]

    def _laid(self) -> list[Tile]:
        if self._tiles is None:
            self._tiles = lay_tiles(self.flat)
        return self._tiles


def _in_parts(tile: Tile, width: int) -> Iterator[Tile]:
    """Yield the tile in parts of CELLS_MAX at most."""
    if len(tile.rows) * width <= CELLS_MAX:
        yield tile
        return
    for part in _parts(tile, width):
        yield tile.cut(part.start, part.stop)


def _parts(tile: Tile, width: int) -> Iterator[slice]:
    """Yield the rows that are worked on together."""
    rows = max(1, CELLS_MAX // width)
    for start in range(0, len(tile.rows), rows):
        yield slice(start, start + rows)


def _with_histograms(labels: Sequence[Labels], histograms: HistogramColumns, offsets: Int64) -> Samples:
    table = HistogramTable(histograms, offsets) if len(histograms) else None
    runs: Mapping[int, HistogramRun] = {} if table is None else StoredRuns(table)
    return Samples(labels, runs, np.zeros(len(labels), np.bool_), table=table)
