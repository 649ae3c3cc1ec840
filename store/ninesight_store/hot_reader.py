"""Hot rows as pieces: which rows hold wanted series, and those series' samples picked by position."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa

from ninesight_store.blobs import fetch_by_id
from ninesight_store.catalog import Known
from ninesight_store.checks import body_sum, row_sum
from ninesight_store.contract import Float64, HistogramColumns, Int64
from ninesight_store.damage import HOT, STARTS, Damage, DamageLog
from ninesight_store.errors import StoreFormatError
from ninesight_store.histograms import concat_histograms, histogram_nbytes, take_histograms
from ninesight_store.hot import times_from_blob, values_from_blob
from ninesight_store.layouts import Layout
from ninesight_store.pieces import SEALED_BELOW, Piece
from ninesight_store.point_table import unpack_points
from ninesight_store.row_cache import RowCache
from ninesight_store.schema import POINTS, hot
from ninesight_store.selection import Selection
from ninesight_store.starts import decode_starts

__all__ = [
    "HotMeta",
    "HotReader",
    "HotRow",
    "Picked",
    "PointPool",
    "checked_row",
    "hot_columns",
    "with_starts",
]

_IN_MAX = 500
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
    """The blobs of a hot row, ready for picking."""

    times: Int64 | None
    """None: every sample has the row's start_ms."""
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
    ) -> list[Piece]:
        """Return the wanted samples of these rows, whole rows, as pieces."""
        by_layout: dict[int, list[HotMeta]] = defaultdict(list)
        for meta in metas:
            by_layout[meta.layout_id].append(meta)
        pieces: list[Piece] = []
        for number, found in by_layout.items():
            layout = known.layouts[number]
            picked = Picked.of(layout, selection)
            if not len(picked.positions):
                continue
            blobs = self._blobs(connection, kind, found, known)
            rows = [row for row in found if row.id in blobs]
            if kind == POINTS:
                pieces += [_points_piece(row, blobs[row.id], picked, pool) for row in rows]
            elif rows and layout.distinct:
                pieces.append(_matrix_piece(rows, blobs, picked))
            else:
                pieces += [_matrix_piece([row], blobs, picked) for row in rows]
        return pieces

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
    if len(row.samples) != meta.count or (row.times is not None and len(row.times) != meta.count):
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


def _decoded(kind: int, meta: HotMeta, times: bytes, data: bytes) -> tuple[HotRow, int]:
    """Return a row ready for picking, with its size in memory."""
    stamps = times_from_blob(times, meta.start_ms, meta.count) if times else None
    if kind == POINTS:
        none = np.zeros(meta.count, np.int32)
        points = unpack_points(data, none, np.zeros(meta.count, np.int64))
        return HotRow(stamps, points), histogram_nbytes(points) + _POINT_ROW_BYTES
    values = values_from_blob(data)
    return HotRow(stamps, values), values.nbytes + (stamps.nbytes if stamps is not None else 0) + 300


def _matrix_piece(rows: Sequence[HotMeta], blobs: dict[int, HotRow], picked: Picked) -> Piece:
    """Return rows of one layout: a segment per series, its samples in row order."""
    width, height = len(picked.positions), len(rows)
    values = np.empty((height, width), np.float64)
    times = np.empty((height, width), np.int64)
    starts = None
    if any(blobs[row.id].starts is not None for row in rows):
        starts = np.zeros((height, width), np.int64)
    for at, row in enumerate(rows):
        blob = blobs[row.id]
        stamps, column = blob.times, blob.samples
        assert isinstance(column, np.ndarray)
        values[at] = column if picked.every else column[picked.positions]
        times[at] = row.start_ms if stamps is None else stamps if picked.every else stamps[picked.positions]
        if starts is not None and blob.starts is not None:
            starts[at] = blob.starts[picked.positions]
    written = np.array([SEALED_BELOW + row.id for row in rows], np.int64)
    return Piece(
        picked.ranks,
        np.full(width, height, np.int64),
        np.ascontiguousarray(times.T).ravel(),
        np.ascontiguousarray(values.T).ravel(),
        written,
        None if starts is None else np.ascontiguousarray(starts.T).ravel(),
    )


def _points_piece(row: HotMeta, blob: HotRow, picked: Picked, pool: PointPool) -> Piece:
    stamps, points = blob.times, blob.samples
    assert isinstance(points, HistogramColumns)
    times = np.full(row.count, row.start_ms, np.int64) if stamps is None else stamps
    taken = points if picked.every else take_histograms(points, picked.positions)
    return Piece(
        picked.ranks,
        np.ones(len(picked.ranks), np.int64),
        times[picked.positions],
        pool.add(taken),
        np.array([SEALED_BELOW + row.id], np.int64),
    )
