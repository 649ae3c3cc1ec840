"""Hot rows as pieces: which rows hold wanted series, and those series' samples picked by position."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ninesight_store.blobs import fetch_by_id
from ninesight_store.catalog import Known
from ninesight_store.checks import body_sum, row_sum
from ninesight_store.contract import Float64, HistogramColumns, Int64
from ninesight_store.damage import HOT, STARTS, Damage, DamageLog
from ninesight_store.errors import StoreFormatError
from ninesight_store.histograms import concat_histograms, histogram_nbytes, offsets_of, take_histograms
from ninesight_store.hot import times_from_blob, values_from_blob
from ninesight_store.layouts import Layout
from ninesight_store.pieces import SEALED_BELOW, Piece, span_piece
from ninesight_store.point_table import unpack_points
from ninesight_store.row_cache import RowCache
from ninesight_store.schema import FLOATS, POINTS, hot
from ninesight_store.selection import Picks, Selection
from ninesight_store.starts import decode_starts

__all__ = [
    "HotMeta",
    "HotReader",
    "HotRow",
    "Picked",
    "PointPool",
    "checked_row",
    "each_time",
    "hot_columns",
    "with_starts",
]

_IN_MAX = 500
_TOGETHER_SAMPLES_MAX = 4_000_000
_POINT_ROW_BYTES = 2000


@dataclass(frozen=True, slots=True)
class HotMeta:
    """One hot row without its blobs."""

    id: int
    layout_id: int
    start_ms: int
    end_ms: int
    count: int


@dataclass(frozen=True, slots=True)
class HotRow:
    """The blobs of a hot row, ready for picking: one batch of the layout's series, or several in the order written."""

    times: Int64
    """One for each of as many equal parts of the samples (hot.py)."""
    samples: Float64 | HistogramColumns
    starts: Int64 | None = None
    """Start timestamps of floats; histogram points carry theirs along."""


class PointPool:
    """Histogram points collected from many rows; pieces refer to them by row number."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[HistogramColumns] = []

    def add(self, points: HistogramColumns) -> Int64:
        """Add points and return their row numbers."""
        rows = np.arange(self.size, self.size + len(points), dtype=np.int64)
        self._parts.append(points)
        self.size += len(points)
        return rows

    def all(self) -> HistogramColumns:
        """Return every point."""
        if len(self._parts) != 1:
            # Kept: who takes piece by piece would join everything each time.
            self._parts = [concat_histograms(self._parts)]
        return self._parts[0]

    def take(self, rows: Int64) -> HistogramColumns:
        """Return the points with these row numbers."""
        joined = self.all()
        return joined if len(rows) == self.size and _is_range(rows) else take_histograms(joined, rows)


def _is_range(rows: Int64) -> bool:
    return bool((rows[1:] == rows[:-1] + 1).all()) and (not len(rows) or rows[0] == 0)


@dataclass(frozen=True)
class Picked:
    """Where the wanted series stand in a layout, in the order of their ranks."""

    positions: Int64
    ranks: Int64
    every: bool
    """The positions are the whole layout in its own order."""

    @classmethod
    def of(cls, layout: Layout, selection: Selection) -> Picked:
        """Find the wanted series in a layout."""
        ids = layout.ids
        positions = np.flatnonzero(selection.among(ids))
        ranks = selection.ranks(ids[positions])
        if np.any(ranks[1:] < ranks[:-1]):
            order = np.argsort(ranks, kind="stable")
            positions, ranks = positions[order], ranks[order]
        every = len(positions) == len(ids) and bool(np.all(positions == np.arange(len(ids))))
        return cls(positions, ranks, every)


class HotReader:
    """Reads hot rows inside a read transaction. Safe to use from many threads."""

    def __init__(self, cache: RowCache, damage: DamageLog) -> None:
        self._cache, self._damage = cache, damage

    def pieces(
        self,
        connection: sa.Connection,
        kind: int,
        metas: Sequence[HotMeta],
        known: Known,
        selection: Selection,
        pool: PointPool,
        span: tuple[int, int] | None = None,
    ) -> list[Piece]:
        """Return the wanted samples of these rows (in the order of their ids) as pieces, all or those within a span."""
        picks = known.layouts.picks({meta.layout_id for meta in metas}, selection)
        holding, doubled = picks.holding(), picks.doubled()
        pieces: list[Piece] = []
        for part in _parts([meta for meta in metas if meta.layout_id in holding]):
            blobs = self._blobs(connection, kind, part, known)
            rows = [meta for meta in part if meta.id in blobs]
            odd = _odd(rows, blobs, picks) | doubled if kind == FLOATS else holding
            even = [meta for meta in rows if meta.layout_id not in odd]
            if even:
                pieces.append(_batches_piece(even, blobs, picks, span))
            for number, own in _by_layout(rows).items() if odd else ():
                if number not in odd:
                    continue
                picked, width = Picked.of(known.layouts[number], selection), len(known.layouts[number].ids)
                if kind == POINTS:
                    found = [_points_piece(meta, blobs[meta.id], picked, width, pool) for meta in own]
                elif number in doubled:
                    # In one row a series stands more than once: the later place wins.
                    found = [_matrix_piece([meta], blobs, picked, width) for meta in own]
                else:
                    found = [_matrix_piece(own, blobs, picked, width)]
                pieces += found if span is None else [span_piece(piece, *span) for piece in found]
        return pieces

    def rows(
        self, connection: sa.Connection, kind: int, metas: Sequence[HotMeta], known: Known
    ) -> dict[int, HotRow]:
        """Return rows by id, ready for picking; damaged ones are left out and logged."""
        return self._blobs(connection, kind, metas, known)

    def _blobs(
        self, connection: sa.Connection, kind: int, metas: Sequence[HotMeta], known: Known
    ) -> dict[int, HotRow]:
        keys = {meta.id: (meta.id, meta.count) for meta in metas}
        cached = self._cache.get_many(keys.values())
        found = {number: cached[key] for number, key in keys.items() if key in cached}
        missing = {meta.id: meta for meta in metas if meta.id not in found}

        def lost(number: int, reason: str, part: str = HOT) -> None:
            meta = missing[number]
            ids = tuple(np.unique(known.layouts[meta.layout_id].ids).tolist())
            self._damage.add(Damage(part, number, reason, ids, meta.start_ms, meta.end_ms))

        columns = hot_columns(known)
        fetched = fetch_by_id(connection, columns, list(missing), lost, together=_IN_MAX)
        for number, times, data, checksum, starts in fetched:
            try:
                row, nbytes = checked_row(kind, missing[number], times, data, checksum)
            except (StoreFormatError, ValueError, KeyError, IndexError) as error:
                lost(number, str(error))
                continue
            if missing[number].count % max(1, len(known.layouts[missing[number].layout_id].ids)):
                lost(number, "it does not hold as many samples of each of its series")
                continue
            if starts is not None:
                row = with_starts(row, starts, partial(lost, number, part=STARTS))
                nbytes += 8 * missing[number].count
            found[number] = row
            self._cache.put(keys[number], row, nbytes)
        return found


def hot_columns(known: Known) -> list[sa.ColumnElement[Any]]:
    """Return the columns of `hot` that `checked_row` takes, behind the id."""
    sums = hot.c.checksum if known.checksums else sa.null()
    return [hot.c.id, hot.c.times, hot.c.data, sums, hot.c.starts if known.starts else sa.null()]


def checked_row(
    kind: int, meta: HotMeta, times: bytes, data: bytes, checksum: int | None
) -> tuple[HotRow, int]:
    """Return a row ready for picking, with its size in memory. Raises StoreFormatError if it is damaged."""
    if checksum is not None:
        head = {name: getattr(meta, name) for name in ("layout_id", "start_ms", "end_ms", "count")}
        if row_sum(body_sum(times, data), kind=kind, **head) != checksum:
            raise StoreFormatError("the row does not match its checksum")
    row, nbytes = _decoded(kind, meta, times, data)
    if len(row.samples) != meta.count:
        raise StoreFormatError(f"the row holds other than {meta.count} samples")
    return row, nbytes


def with_starts(row: HotRow, blob: bytes, lost: Callable[[str], None]) -> HotRow:
    """Return the row with its start timestamps; if they are damaged `lost` hears why, and they stay unknown."""
    try:
        starts = decode_starts(blob, len(row.samples))
    except (StoreFormatError, ValueError) as error:
        lost(str(error))
        return row
    if isinstance(row.samples, HistogramColumns):
        return replace(row, samples=replace(row.samples, start_timestamps=starts))
    return replace(row, starts=starts)


def each_time(meta: HotMeta, row: HotRow) -> Int64:
    """Return the timestamp of every sample of a row."""
    return np.repeat(row.times, meta.count // len(row.times))


def _decoded(kind: int, meta: HotMeta, times: bytes, data: bytes) -> tuple[HotRow, int]:
    """Return a row ready for picking, with its size in memory."""
    stamps = times_from_blob(times, meta.start_ms, meta.count)
    if kind == POINTS:
        none = np.zeros(meta.count, np.int32)
        points = unpack_points(data, none, np.zeros(meta.count, np.int64))
        return HotRow(stamps, points), histogram_nbytes(points) + _POINT_ROW_BYTES
    values = values_from_blob(data)
    return HotRow(stamps, values), values.nbytes + stamps.nbytes + 300


def _by_layout(metas: Sequence[HotMeta]) -> dict[int, list[HotMeta]]:
    found: dict[int, list[HotMeta]] = defaultdict(list)
    for meta in metas:
        found[meta.layout_id].append(meta)
    return found


def _parts(metas: Sequence[HotMeta]) -> Iterator[list[HotMeta]]:
    """Yield the rows, those of one layout together, as many layouts at a time as memory allows."""
    part: list[HotMeta] = []
    samples = 0
    for rows in _by_layout(metas).values():
        size = sum([row.count for row in rows])
        if part and samples + size > _TOGETHER_SAMPLES_MAX:
            yield part
            part, samples = [], 0
        part += rows
        samples += size
    if part:
        yield part


def _odd(metas: Sequence[HotMeta], rows: dict[int, HotRow], picks: Picks) -> set[int]:
    """Return the layouts with a row that has start timestamps, or more than one timestamp a batch."""
    stamps = np.array([len(rows[meta.id].times) for meta in metas], np.int64)
    begun = np.array([rows[meta.id].starts is not None for meta in metas], np.bool_)
    layouts = np.array([meta.layout_id for meta in metas], np.int64)
    counts = np.array([meta.count for meta in metas], np.int64)
    uneven = stamps * picks.widths[np.searchsorted(picks.numbers, layouts)] != counts
    return set(layouts[begun | uneven].tolist())


def _batches_piece(
    metas: Sequence[HotMeta], rows: dict[int, HotRow], picks: Picks, span: tuple[int, int] | None
) -> Piece:
    """Return the float samples of rows of many layouts, those of one layout together in the order of their ids.

    All are found in one go: `flat` is all samples of all rows, and a batch is where its samples begin there.
    """
    flat = np.concatenate([np.asarray(rows[meta.id].samples) for meta in metas])
    ids = np.array([meta.id for meta in metas], np.int64)
    counts = np.array([meta.count for meta in metas], np.int64)
    owners = np.searchsorted(picks.numbers, np.array([meta.layout_id for meta in metas], np.int64))
    batches = counts // picks.widths[owners]
    row = np.repeat(np.arange(len(metas)), batches)
    number = np.arange(len(row)) - np.repeat(offsets_of(batches)[:-1], batches)
    begins = offsets_of(counts)[row] + number * picks.widths[owners[row]]
    times = np.concatenate([rows[meta.id].times for meta in metas])
    if span is not None:
        kept = (times >= span[0]) & (times <= span[1])
        row, begins, times = row[kept], begins[kept], times[kept]
    heights, firsts = np.zeros((2, len(picks.numbers)), np.int64)
    layouts, first, height = np.unique(owners[row], return_index=True, return_counts=True)
    heights[layouts], firsts[layouts] = height, first
    chosen = np.flatnonzero(heights[picks.owners])
    chosen = chosen[np.argsort(picks.ranks[chosen], kind="stable")]
    lengths = heights[picks.owners[chosen]]
    ends = offsets_of(lengths)
    at = np.arange(ends[-1]) + np.repeat(firsts[picks.owners[chosen]] - ends[:-1], lengths)
    return Piece(
        picks.ranks[chosen],
        lengths,
        times[at],
        flat[begins[at] + np.repeat(picks.positions[chosen], lengths)],
        SEALED_BELOW + ids[row[at]],
    )


def _matrix_piece(metas: Sequence[HotMeta], rows: dict[int, HotRow], picked: Picked, width: int) -> Piece:
    """Return the float samples of rows of one layout: a segment per series, its samples in row order."""
    batches = np.array([meta.count // width for meta in metas], np.int64)
    shape = int(batches.sum()), len(picked.positions)
    values, times = np.empty(shape, np.float64), np.empty(shape, np.int64)
    begun = any(rows[meta.id].starts is not None for meta in metas)
    starts = np.zeros(shape, np.int64) if begun else None
    low = 0
    for meta, high in zip(metas, np.cumsum(batches).tolist(), strict=True):
        row = rows[meta.id]
        values[low:high] = _picked(np.asarray(row.samples), picked, width)
        times[low:high] = _picked(each_time(meta, row), picked, width)
        if starts is not None and row.starts is not None:
            starts[low:high] = _picked(row.starts, picked, width)
        low = high
    return Piece(
        picked.ranks,
        np.full(shape[1], shape[0], np.int64),
        np.ascontiguousarray(times.T).ravel(),
        np.ascontiguousarray(values.T).ravel(),
        np.repeat(np.array([SEALED_BELOW + meta.id for meta in metas], np.int64), batches),
        None if starts is None else np.ascontiguousarray(starts.T).ravel(),
    )


def _picked(column: npt.NDArray[Any], picked: Picked, width: int) -> npt.NDArray[Any]:
    """Return the picked series of each batch [batches x series]."""
    matrix = column.reshape(-1, width)
    return matrix if picked.every else matrix[:, picked.positions]


def _points_piece(row: HotMeta, blob: HotRow, picked: Picked, width: int, pool: PointPool) -> Piece:
    assert isinstance(blob.samples, HistogramColumns)
    batches = row.count // width
    places = (picked.positions[:, None] + width * np.arange(batches)).ravel()
    taken = blob.samples if picked.every and batches == 1 else take_histograms(blob.samples, places)
    return Piece(
        picked.ranks,
        np.full(len(picked.ranks), batches, np.int64),
        each_time(row, blob)[places],
        pool.add(taken),
        np.array([SEALED_BELOW + row.id], np.int64),
    )
