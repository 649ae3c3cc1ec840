"""Chunks as pieces: which chunks hold wanted series, and those series' samples decoded.

Bytes are checked before they are decoded; a series whose bytes are damaged is left out and logged, and all
others of the chunk are read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa

from ninesight_store.blobs import fetch_by_id
from ninesight_store.catalog import Known
from ninesight_store.checks import head_sum, sound_positions
from ninesight_store.chunk import decode_floats, decode_histograms, decode_times
from ninesight_store.contract import Int64
from ninesight_store.damage import CHUNK, STARTS, Damage, DamageLog
from ninesight_store.errors import StoreFormatError
from ninesight_store.histograms import concat_histograms
from ninesight_store.hot_reader import Picked, PointPool
from ninesight_store.layouts import LayoutTable
from ninesight_store.pieces import Piece
from ninesight_store.rollup_row import ChunkFacts
from ninesight_store.schema import FLOATS, chunks
from ninesight_store.selection import Selection
from ninesight_store.starts import decode_starts

__all__ = [
    "DECODING",
    "Chunk",
    "ChunkMeta",
    "chunk_columns",
    "chunk_pieces",
    "chunk_starts",
    "decoded",
    "picked_pieces",
    "sound_part",
]

_TOGETHER = 100
DECODING = (StoreFormatError, ValueError, IndexError, KeyError, OverflowError, zlib.error, struct.error)
"""What damaged bytes that nobody could check may raise."""


@dataclass(frozen=True, slots=True)
class ChunkMeta:
    """One chunk without its blobs."""

    id: int
    layout_id: int
    start_ms: int
    end_ms: int
    count: int

    def facts(self, kind: int) -> ChunkFacts:
        """Return what its rollup must have in common with it."""
        return ChunkFacts(kind, self.layout_id, self.start_ms, self.end_ms, self.count)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk with its blobs, as stored."""

    kind: int
    meta: ChunkMeta
    codec: int
    times: bytes
    ends: bytes
    data: bytes
    checksums: bytes | None
    starts: bytes | None

    def head_is_sound(self) -> bool:
        """Whether the header and the shared blobs are as they were written; unchecked ones count as sound."""
        if self.checksums is None:
            return len(self.ends) % 4 == 0
        meta = self.meta
        head = head_sum(
            self.times,
            self.ends,
            kind=self.kind,
            codec=self.codec,
            layout_id=meta.layout_id,
            start_ms=meta.start_ms,
            end_ms=meta.end_ms,
            count=meta.count,
        )
        return self.checksums[:4] == head.to_bytes(4, "little") and len(self.checksums) == len(self.ends) + 4


def chunk_columns(known: Known) -> list[sa.ColumnElement[Any]]:
    """Return the columns of `chunks` that `Chunk` is made of, behind the id."""
    sums = chunks.c.checksums if known.checksums else sa.null()
    starts = chunks.c.starts if known.starts else sa.null()
    return [chunks.c.id, chunks.c.codec, chunks.c.times, chunks.c.ends, chunks.c.data, sums, starts]


def chunk_pieces(
    connection: sa.Connection,
    kind: int,
    metas: Sequence[ChunkMeta],
    known: Known,
    selection: Selection,
    span: tuple[int, int],
    pool: PointPool,
    damage: DamageLog,
) -> list[Piece]:
    """Return the wanted samples of these chunks within the span (ends included) as pieces."""
    layouts = known.layouts
    picked = {number: Picked.of(layouts[number], selection) for number in {meta.layout_id for meta in metas}}
    chosen = [(meta, picked[meta.layout_id]) for meta in metas]
    return picked_pieces(connection, kind, chosen, known, span, pool, damage)


def picked_pieces(
    connection: sa.Connection,
    kind: int,
    chosen: Sequence[tuple[ChunkMeta, Picked]],
    known: Known,
    span: tuple[int, int],
    pool: PointPool,
    damage: DamageLog,
) -> list[Piece]:
    """Return the samples of what is picked of each chunk, within the span (ends included), as pieces.

    A piece's write order is the id of its chunk.
    """
    layouts = known.layouts
    wanted = {meta.id: (meta, picked) for meta, picked in chosen if len(picked.positions)}
    lost = partial(_lost, wanted, layouts, damage)
    pieces: list[Piece] = []
    rows = fetch_by_id(connection, chunk_columns(known), list(wanted), lost, together=_TOGETHER)
    for number, *blobs in rows:
        meta, found = wanted[number]
        chunk = Chunk(kind, meta, *blobs)
        good = sound_part(chunk, found, layouts[meta.layout_id].ids, damage)
        if len(good.positions):
            pieces += decoded(chunk, good, layouts[meta.layout_id].ids, span, pool, damage)
    return pieces


def sound_part(chunk: Chunk, picked: Picked, owners: Int64, damage: DamageLog) -> Picked:
    """Return the picked series whose bytes are as they were written; log the others."""
    if not chunk.head_is_sound():
        _log(chunk.meta, picked.positions, owners, "its header does not match its checksum", damage)
        return Picked(picked.positions[:0], picked.ranks[:0], every=False)
    if chunk.checksums is None:
        return picked
    sound = sound_positions(chunk.checksums, chunk.ends, chunk.data, picked.positions)
    if sound.all():
        return picked
    reason = "the series' bytes do not match their checksum"
    _log(chunk.meta, picked.positions[~sound], owners, reason, damage)
    return Picked(picked.positions[sound], picked.ranks[sound], every=False)


def decoded(
    chunk: Chunk, found: Picked, owners: Int64, span: tuple[int, int], pool: PointPool, damage: DamageLog
) -> list[Piece]:
    """Decode the series together; if that fails, one by one, so that only the damaged ones are left out."""
    try:
        return _pieces(chunk, found, owners, span, pool, damage)
    except DECODING as error:
        if len(found.positions) == 1:
            _log(chunk.meta, found.positions, owners, f"it cannot be decoded ({error})", damage)
            return []
    return [
        piece
        for at in range(len(found.positions))
        for piece in decoded(
            chunk,
            Picked(found.positions[at : at + 1], found.ranks[at : at + 1], every=False),
            owners,
            span,
            pool,
            damage,
        )
    ]


def _pieces(
    chunk: Chunk, found: Picked, owners: Int64, span: tuple[int, int], pool: PointPool, damage: DamageLog
) -> list[Piece]:
    stamps, cut = decode_times(chunk.codec, chunk.times, span)
    if cut.start == cut.stop:
        return []
    positions = found.positions.tolist()
    values: Any
    if chunk.kind == FLOATS:
        values = decode_floats(chunk.codec, stamps, chunk.ends, chunk.data, positions, cut)
        starts = chunk_starts(chunk, found, owners, len(stamps), damage)
        values = np.concatenate(values)
        starts = None if starts is None else starts[:, cut].ravel()
    else:
        points = decode_histograms(stamps, chunk.ends, chunk.data, positions, cut)
        starts = chunk_starts(chunk, found, owners, len(stamps), damage)
        if starts is not None:
            pairs = zip(points, starts[:, cut], strict=True)
            points = [replace(each, start_timestamps=begun) for each, begun in pairs]
        values, starts = pool.add(concat_histograms(points)), None
    lengths = np.full(len(positions), cut.stop - cut.start, np.int64)
    times = np.tile(stamps[cut], len(positions))
    return [Piece(found.ranks, lengths, times, values, np.array([chunk.meta.id], np.int64), starts)]


def chunk_starts(chunk: Chunk, found: Picked, owners: Int64, width: int, damage: DamageLog) -> Int64 | None:
    """Return the start timestamps [series x time] of the picked series; None if there are none, or no sound ones."""
    if chunk.starts is None:
        return None
    try:
        starts = decode_starts(chunk.starts, width * len(owners))
    except (StoreFormatError, ValueError) as error:
        _log(chunk.meta, found.positions, owners, str(error), damage, STARTS)
        return None
    return starts.reshape(len(owners), width)[found.positions]


def _lost(
    wanted: dict[int, tuple[ChunkMeta, Picked]],
    layouts: LayoutTable,
    damage: DamageLog,
    number: int,
    reason: str,
) -> None:
    meta, picked = wanted[number]
    _log(meta, picked.positions, layouts[meta.layout_id].ids, reason, damage)


def _log(
    meta: ChunkMeta, positions: Int64, owners: Int64, reason: str, damage: DamageLog, part: str = CHUNK
) -> None:
    ids = tuple(owners[positions].tolist())
    damage.add(Damage(part, meta.id, reason, ids, meta.start_ms, meta.end_ms))
