"""Reading rollups: chunks by their stored bins, everything else sample by sample, in one transaction.

rows and chunks of the span ──► plan ──► chunks alone: kept bins, stored bins, or decoded one by one ──┐
                                   └───► all that overlaps or is cut: put together as `select` does ───┴► Rollup
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import sqlalchemy as sa

from ninesight_store.blobs import fetch_by_id
from ninesight_store.catalog import Known
from ninesight_store.chunk_reader import DECODING, picked_pieces
from ninesight_store.columns import empty_columns
from ninesight_store.contract import Columns, Int64, Matcher
from ninesight_store.damage import ROLLUP, Damage, DamageLog
from ninesight_store.database import Database
from ninesight_store.hot_reader import Picked, PointPool
from ninesight_store.matchers import compile_matchers
from ninesight_store.pieces import FLOATS, POINTS, Piece
from ninesight_store.reader import Found, Reader, clamped, hours_of, merged, rows_of
from ninesight_store.rollup import ROLLUP_COLUMNS, Rollup, rollup_of
from ninesight_store.rollup_floats import blobs_for
from ninesight_store.rollup_plan import Alone, Plan, planned
from ninesight_store.rollup_portion import (
    Portion,
    Shares,
    floats_portion,
    joined,
    points_portion,
    stored_portion,
)
from ninesight_store.rollup_row import sound_blobs
from ninesight_store.row_cache import RowCache
from ninesight_store.schema import rollups
from ninesight_store.selection import Selection
from ninesight_store.validation import EVER

__all__ = ["RollupReader"]

_TOGETHER = 100


class RollupReader:
    """Reads rollups for many threads, each call in a transaction of its own."""

    def __init__(self, database: Database, reader: Reader, cache: RowCache, damage: DamageLog) -> None:
        self._database, self._reader, self._cache, self._damage = database, reader, cache, damage

    def rollup(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, edges: Int64, columns: Collection[str]
    ) -> Rollup:
        """Return the samples of the matching series within the span as bins (see `LocalStore.rollup`)."""
        compile_matchers(matchers)
        span = clamped(start_ms, end_ms)
        names = tuple(name for name in ROLLUP_COLUMNS if name in columns)
        nothing = rollup_of(empty_columns(), edges, names)
        if span[0] > span[1]:
            return nothing
        shares = Shares()
        with self._database.reading() as connection:
            known = self._reader.known(connection)
            selection = known.series.selection(matchers, hours_of(span))
            if not selection.labels:
                return nothing
            found = rows_of(connection, known, selection, span)
            plan = _plan(known, selection, found, edges, span)
            portions = _Portions(connection, known, self._cache, self._damage, names)
            for alone, portion in portions.of(plan.alone):
                shares.add(portion, alone.picked.ranks, alone.free)
            pool = PointPool()
            pieces = self._together(connection, known, selection, found, plan, span, pool)
        floats, points = merged(selection, pieces)
        rows = np.repeat(np.arange(len(selection.labels), dtype=np.int32), np.diff(points.offsets))
        histograms = pool.take(points.values)
        rest = Columns(
            selection.labels,
            floats.offsets,
            floats.timestamps,
            floats.values,
            points.offsets,
            replace(histograms, series=rows, timestamps=points.timestamps),
        )
        return shares.rollup(rollup_of(rest, edges, names), span, names)

    def _together(
        self,
        connection: sa.Connection,
        known: Known,
        selection: Selection,
        found: Mapping[int, Found],
        plan: Plan,
        span: tuple[int, int],
        pool: PointPool,
    ) -> dict[int, list[Piece]]:
        return {
            kind: picked_pieces(connection, kind, plan.together[kind], known, span, pool, self._damage)
            + self._reader.cut_hot_pieces(connection, kind, part.hot, known, selection, span, pool)
            for kind, part in found.items()
        }


def _plan(
    known: Known, selection: Selection, found: Mapping[int, Found], edges: Int64, span: tuple[int, int]
) -> Plan:
    hot = [meta for part in found.values() for meta in part.hot]
    sealed = {kind: part.sealed for kind, part in found.items()}
    numbers = {row.layout_id for row in hot}
    numbers |= {meta.layout_id for metas in sealed.values() for meta in metas}
    picked = {number: Picked.of(known.layouts[number], selection) for number in numbers}
    inner = edges[(edges >= span[0]) & (edges < span[1])]
    return planned(sealed, hot, picked, np.concatenate([[span[0] - 1], inner, [span[1]]]).astype(np.int64))


class _Portions:
    """The bins of single chunks, for one query."""

    def __init__(
        self,
        connection: sa.Connection,
        known: Known,
        cache: RowCache,
        damage: DamageLog,
        names: tuple[str, ...],
    ) -> None:
        self._connection, self._known, self._names = connection, known, names
        self._cache, self._damage = cache, damage

    def of(self, chunks: Sequence[Alone]) -> list[tuple[Alone, Portion]]:
        """Return the portion of each chunk: as it was kept, from its rollup, or from its samples."""
        keys = self._keys(chunks)
        kept = self._cache.get_many(keys.values())
        found = {number: kept[key] for number, key in keys.items() if key in kept}
        missing = {alone.meta.id: alone for alone in chunks if alone.meta.id not in found}
        before = self._damage.counts()["reads_damaged"]
        fresh: dict[int, list[Portion]] = {number: [] for number in missing}
        absent = self._stored(missing, fresh)
        self._decoded(missing, absent, fresh)
        # What damage was found in is read anew the next time, and told again.
        sound = self._damage.counts()["reads_damaged"] == before
        for number, portions in fresh.items():
            found[number] = joined(portions)
            if sound:
                self._cache.put(keys[number], found[number], found[number].nbytes)
        return [(alone, found[alone.meta.id]) for alone in chunks]

    def _keys(self, chunks: Sequence[Alone]) -> dict[int, tuple[object, ...]]:
        digests: dict[int, bytes] = {}
        for alone in chunks:
            if alone.meta.layout_id not in digests:
                positions = alone.picked.positions.tobytes()
                digests[alone.meta.layout_id] = hashlib.blake2b(positions, digest_size=16).digest()
        return {
            alone.meta.id: (alone.meta.id, digests[alone.meta.layout_id], self._names) for alone in chunks
        }

    def _stored(self, missing: Mapping[int, Alone], fresh: Mapping[int, list[Portion]]) -> dict[int, Int64]:
        """Add to `fresh` what rollups say of the chunks; return which places of each they leave open."""
        absent = {number: np.arange(len(alone.picked.positions)) for number, alone in missing.items()}
        if not self._known.rollups:
            return absent
        lost = partial(self._lost, missing)
        for kind, names in ((FLOATS, blobs_for(self._names)), (POINTS, blobs_for(()))):
            columns = [rollups.c.id, rollups.c.checksums, *(rollups.c[name] for name in names)]
            ids = [number for number, alone in missing.items() if alone.kind == kind]
            for number, sums, *blobs in fetch_by_id(self._connection, columns, ids, lost, together=_TOGETHER):
                alone = missing[number]
                meta = alone.meta
                facts = meta.facts(kind)
                try:
                    sound = sound_blobs(facts, sums, names, blobs)
                    portion, absent[number] = stored_portion(
                        sound, facts, alone.picked.positions, self._names
                    )
                except DECODING as error:
                    lost(number, str(error))
                    continue
                fresh[number].append(portion)
        return absent

    def _lost(self, missing: Mapping[int, Alone], number: int, reason: str) -> None:
        meta = missing[number].meta
        self._damage.add(Damage(ROLLUP, number, reason, (), meta.start_ms, meta.end_ms))

    def _decoded(
        self,
        missing: Mapping[int, Alone],
        absent: Mapping[int, Int64],
        fresh: Mapping[int, list[Portion]],
    ) -> None:
        """Add to `fresh` the bins of what rollups leave open, some chunks at a time."""
        for kind in (FLOATS, POINTS):
            chosen = [
                (alone.meta, Picked(alone.picked.positions[absent[number]], absent[number], every=False))
                for number, alone in missing.items()
                if alone.kind == kind and len(absent[number])
            ]
            for at in range(0, len(chosen), _TOGETHER):
                part, pool = chosen[at : at + _TOGETHER], PointPool()
                pieces = picked_pieces(self._connection, kind, part, self._known, EVER, pool, self._damage)
                for piece in pieces:
                    portion = (
                        floats_portion(piece, self._names) if kind == FLOATS else points_portion(piece, pool)
                    )
                    fresh[int(piece.written[0])].append(portion)
