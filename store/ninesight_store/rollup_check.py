"""Verifying rollups: their checksums, and that they say what their chunks say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import sqlalchemy as sa

from ninesight_store.blobs import fetch_by_id
from ninesight_store.catalog import Known
from ninesight_store.chunk_reader import DECODING, ChunkMeta, picked_pieces
from ninesight_store.contract import HistogramColumns
from ninesight_store.damage import ROLLUP, Damage, DamageLog
from ninesight_store.histograms import arrays_of, take_histograms
from ninesight_store.hot_reader import Picked, PointPool
from ninesight_store.pieces import FLOATS
from ninesight_store.rollup import ROLLUP_COLUMNS
from ninesight_store.rollup_floats import Part
from ninesight_store.rollup_points import kept_points, kept_weights
from ninesight_store.rollup_portion import Portion, floats_portion, points_portion, stored_portion
from ninesight_store.rollup_row import BLOBS, ChunkFacts, bin_begins, sound_blobs
from ninesight_store.schema import chunks, rollups
from ninesight_store.validation import EVER

__all__ = ["check_rollups"]

_ROUNDED = 1e-9
"""Sums of the same numbers may differ by this much between processors."""


def check_rollups(connection: sa.Connection, known: Known, ids: Sequence[int], log: DamageLog) -> None:
    """Log the rollups among these that are not as they were written, or not those of their chunks."""
    facts = _facts_of(connection, ids)
    columns = [rollups.c.id, rollups.c.checksums, *(rollups.c[name] for name in BLOBS)]
    rows = fetch_by_id(connection, columns, ids, partial(_lost, facts, log), together=1)
    for number, sums, *blobs in rows:
        reason = "its chunk is not there"
        if number in facts:
            reason = _fault_of(connection, known, log, number, facts[number], sums, blobs)
        if reason:
            _lost(facts, log, number, reason)


def _facts_of(connection: sa.Connection, ids: Sequence[int]) -> dict[int, ChunkFacts]:
    heads = [chunks.c[name] for name in ("id", "kind", "layout_id", "start_ms", "end_ms", "count")]
    # A chunk whose pages cannot be read is told of where chunks are read.
    rows = fetch_by_id(connection, heads, ids, lambda _number, _reason: None, together=len(ids))
    return {number: ChunkFacts(*rest) for number, *rest in rows}


def _lost(facts: dict[int, ChunkFacts], log: DamageLog, number: int, reason: str) -> None:
    about = facts.get(number)
    span = (None, None) if about is None else (about.start_ms, about.end_ms)
    log.add(Damage(ROLLUP, number, reason, (), *span))


def _fault_of(
    connection: sa.Connection,
    known: Known,
    log: DamageLog,
    number: int,
    facts: ChunkFacts,
    sums: bytes,
    blobs: Sequence[bytes],
) -> str:
    """Return what is wrong with a rollup, "" if nothing is."""
    if facts.layout_id not in known.layouts:
        return ""  # The chunk's own damage.
    every = np.arange(len(known.layouts[facts.layout_id].ids), dtype=np.int64)
    try:
        stored, _ = stored_portion(sound_blobs(facts, sums, BLOBS, blobs), facts, every, ROLLUP_COLUMNS)
    except DECODING as error:
        return str(error)
    meta = ChunkMeta(number, facts.layout_id, facts.start_ms, facts.end_ms, facts.count)
    pool, before = PointPool(), log.counts()["reads_damaged"]
    chosen = [(meta, Picked(every, every, every=True))]
    pieces = picked_pieces(connection, facts.kind, chosen, known, EVER, pool, log)
    if log.counts()["reads_damaged"] != before or not pieces:
        return ""
    if facts.kind == FLOATS:
        same = _same_bins(stored.parts, floats_portion(pieces[0], ROLLUP_COLUMNS).parts)
    else:
        same = _same_points(stored, points_portion(pieces[0], pool).points)
    return "" if same else "it does not say what its chunk says"


def _same_bins(stored: Sequence[Part], parts: Sequence[Part]) -> bool:
    """Whether the stored part, if there is one, is that of all series without a stale marker."""
    for part in parts:
        if not stored or not np.isin(part.places, stored[0].places).any():
            # A series with a stale marker: it stands alone, and is not in the rollup.
            if len(part.places) > 1:
                return False
            continue
        (own,) = stored
        exact = [0, 1, *(2 + at for at, name in enumerate(ROLLUP_COLUMNS) if name in {"low", "high"})]
        return (
            np.array_equal(part.places, own.places)
            and np.array_equal(part.times, own.times)
            and np.array_equal(part.values[exact], own.values[exact], equal_nan=True)
            and np.allclose(part.values, own.values, rtol=_ROUNDED, atol=0.0, equal_nan=True)
        )
    return not stored


def _same_points(stored: Portion, points: HistogramColumns) -> bool:
    """Whether the kept points are some of the chunk's, none is missing that must be kept, and weights are right."""
    for place in np.unique(stored.points.series).tolist():
        own = np.flatnonzero(points.series == place)
        series = take_histograms(points, own)
        kept = stored.points.series == place
        rows = np.flatnonzero(np.isin(series.timestamps, stored.points.timestamps[kept]))
        missing = kept_points(series, bin_begins(series.timestamps))
        missing[rows] = False
        mine = arrays_of(take_histograms(stored.points, np.flatnonzero(kept)))
        same = all(
            array.tobytes() == mine[name].tobytes()
            for name, array in arrays_of(take_histograms(series, rows)).items()
        )
        if missing.any() or not same or not np.array_equal(kept_weights(series, rows), stored.weights[kept]):
            return False
    return True
