"""Chunks as pieces: which chunks hold wanted series, and those series' samples decoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from ninesight_store.chunk import decode_floats, decode_histograms
from ninesight_store.histograms import concat_histograms
from ninesight_store.hot_reader import Picked, PointPool
from ninesight_store.layouts import LayoutTable
from ninesight_store.pieces import Piece
from ninesight_store.schema import FLOATS, chunks
from ninesight_store.series_index import Selection

__all__ = ["ChunkMeta", "chunk_pieces"]

_IN_MAX = 200


@dataclass(frozen=True, slots=True)
class ChunkMeta:
    """One chunk without its blobs."""

    id: int
    layout_id: int
    start_ms: int
    end_ms: int
    count: int


def chunk_pieces(
    connection: sa.Connection,
    kind: int,
    metas: Sequence[ChunkMeta],
    layouts: LayoutTable,
    selection: Selection,
    span: tuple[int, int],
    pool: PointPool,
) -> list[Piece]:
    """Return the wanted samples of these chunks within the span (ends included) as pieces."""
    picked = {number: Picked.of(layouts[number], selection) for number in {meta.layout_id for meta in metas}}
    layout_of = {meta.id: meta.layout_id for meta in metas if len(picked[meta.layout_id].positions)}
    pieces: list[Piece] = []
    for part in _parts(list(layout_of)):
        query = sa.select(chunks.c.id, chunks.c.codec, chunks.c.times, chunks.c.ends, chunks.c.data)
        for number, codec, times, ends, data in connection.execute(query.where(chunks.c.id.in_(part))):
            found = picked[layout_of[number]]
            blobs = (codec, times, ends, data)
            piece = (_floats if kind == FLOATS else _points)(number, blobs, found, span, pool)
            if piece is not None:
                pieces.append(piece)
    return pieces


_Blobs = tuple[int, bytes, bytes, bytes]


def _floats(
    number: int, blobs: _Blobs, found: Picked, span: tuple[int, int], _pool: PointPool
) -> Piece | None:
    stamps, columns = decode_floats(*blobs, found.positions.tolist(), span)
    if not len(stamps):
        return None
    return Piece(
        found.ranks,
        np.full(len(columns), len(stamps), np.int64),
        np.tile(stamps, len(columns)),
        np.concatenate(columns),
        np.array([number], np.int64),
    )


def _points(
    number: int, blobs: _Blobs, found: Picked, span: tuple[int, int], pool: PointPool
) -> Piece | None:
    stamps, columns = decode_histograms(*blobs, found.positions.tolist(), span)
    if not len(stamps):
        return None
    return Piece(
        found.ranks,
        np.full(len(columns), len(stamps), np.int64),
        np.tile(stamps, len(columns)),
        pool.add(concat_histograms(columns)),
        np.array([number], np.int64),
    )


def _parts(numbers: Sequence[int]) -> Iterable[Sequence[int]]:
    return (numbers[at : at + _IN_MAX] for at in range(0, len(numbers), _IN_MAX))
