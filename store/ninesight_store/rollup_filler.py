"""Rollups for chunks that have none: those of older formats, and those that were sealed and never merged.

A sweep goes from the newest chunks to the oldest, a day at a time and a bounded number of samples a call; once an hour a
new one begins. Only dense chunks are looked at, so a sweep of a store that lacks nothing reads no sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ninesight_store.catalog import Known
from ninesight_store.chunk_reader import ChunkMeta, picked_pieces
from ninesight_store.config import HOUR_MS
from ninesight_store.damage import CHUNK
from ninesight_store.histograms import slice_histograms
from ninesight_store.hot_reader import Picked, PointPool
from ninesight_store.pieces import FLOATS, weight
from ninesight_store.registry import Registry
from ninesight_store.reports import FillReport
from ninesight_store.rollup import ROLLUP_MS
from ninesight_store.rollup_floats import encode_rollup
from ninesight_store.rollup_points import encode_kept
from ninesight_store.rollup_row import SAMPLES_MIN, RollupDraft, worth_it
from ninesight_store.schema import chunks, rollups
from ninesight_store.selection import selection_of
from ninesight_store.tools import Tools
from ninesight_store.validation import EVER, TIMESTAMP_MS_MAX

__all__ = ["RollupFiller"]

_DAY_MS = 24 * HOUR_MS
_DAYS_MAX = 8
"""Days looked at in one call."""
_IN_MAX = 500

_Chunk = tuple[int, ChunkMeta]
"""Kind and chunk."""


class RollupFiller:
    """Fills rollups in. One thread at a time."""

    def __init__(self, tools: Tools) -> None:
        self._database, self._catalog, self._writer, self._settings, self._damage = tools
        self._hour: int | None = None
        self._before_ms: int | None = None
        """Chunks that end from here on are done; None: the sweep is over."""

    def fill(self, now_ms: int) -> FillReport:
        """Add the rollups of some chunks that lack them. Raises RetryableError; what was added stays."""
        hour = now_ms // HOUR_MS
        if self._before_ms is None and hour == self._hour:
            return FillReport(done=True)
        if self._before_ms is None:
            self._hour, self._before_ms = hour, TIMESTAMP_MS_MAX
        added = samples = 0
        for _ in range(_DAYS_MAX):
            with self._database.reading() as connection:
                newest = connection.execute(_NEWEST.where(chunks.c.end_ms < self._before_ms)).scalar()
                if newest is None:
                    self._before_ms = None
                    break
                day = newest // _DAY_MS * _DAY_MS
                known = self._catalog.refresh(connection)
                lacking = self._lacking(connection, known, day, self._before_ms)
                taken = _some(lacking, self._settings.seal_samples_max - samples)
                drafts = [(kind, meta, self._draft(connection, known, kind, meta)) for kind, meta in taken]
            added += self._add([(kind, meta, draft) for kind, meta, draft in drafts if draft is not None])
            samples += sum(meta.count for _, meta in taken)
            if len(taken) < len(lacking):
                break
            self._before_ms = day
        return FillReport(added, samples, self._before_ms is None)

    def _lacking(
        self, connection: sa.Connection, known: Known, start_ms: int, before_ms: int
    ) -> list[_Chunk]:
        """Return the dense chunks without a rollup that end in this span; what is merged later is left to that."""
        last = 0 if self._settings.merge_hours < 2 else 1
        query = sa.select(*(chunks.c[name] for name in ("kind", "id", *_META))).where(
            chunks.c.end_ms >= start_ms,
            chunks.c.end_ms < before_ms,
            chunks.c.level >= last,
            chunks.c.count >= SAMPLES_MIN,
        )
        damaged = self._damage.ids(CHUNK)
        found = [(kind, ChunkMeta(*rest)) for kind, *rest in connection.execute(query)]
        dense = [
            (kind, meta)
            for kind, meta in found
            if meta.id not in damaged and meta.layout_id in known.layouts and _dense(known, meta)
        ]
        there: set[int] = set()
        for at in range(0, len(dense), _IN_MAX):
            ids = [meta.id for _, meta in dense[at : at + _IN_MAX]]
            there.update(connection.execute(sa.select(rollups.c.id).where(rollups.c.id.in_(ids))).scalars())
        return [(kind, meta) for kind, meta in dense if meta.id not in there]

    def _draft(
        self, connection: sa.Connection, known: Known, kind: int, meta: ChunkMeta
    ) -> RollupDraft | None:
        """Return the rollup of a chunk; None where it cannot be read whole."""
        layout, pool = known.layouts[meta.layout_id], PointPool()
        picked = Picked.of(layout, selection_of((), layout.ids))
        before = self._damage.counts()["reads_damaged"]
        found = picked_pieces(connection, kind, [(meta, picked)], known, EVER, pool, self._damage)
        if self._damage.counts()["reads_damaged"] != before or not found:
            return None
        (piece,) = found
        width = int(piece.lengths[0])
        stamps = piece.timestamps[:width]
        if kind == FLOATS:
            return encode_rollup(stamps, piece.values.reshape(-1, width), self._settings.compression_level)
        points = pool.take(piece.values)
        series = [slice_histograms(points, low, low + width) for low in range(0, len(points), width)]
        return encode_kept(stamps, series, self._settings.compression_level)

    def _add(self, drafts: Sequence[tuple[int, ChunkMeta, RollupDraft]]) -> int:
        """Add rollups to the chunks that are still there, and have none yet."""
        added = 0

        def work(connection: sa.Connection, _registry: Registry) -> None:
            nonlocal added
            added = 0
            for kind, meta, draft in drafts:
                still = connection.execute(
                    sa.select(chunks.c.layout_id).where(chunks.c.id == meta.id)
                ).scalar()
                has = connection.execute(sa.select(rollups.c.id).where(rollups.c.id == meta.id)).scalar()
                if still == meta.layout_id and has is None:
                    facts = meta.facts(kind)
                    connection.execute(sa.insert(rollups), draft.row(meta.id, facts))
                    added += 1

        if drafts:
            self._writer.alone(work)
        return added


_META = ("layout_id", "start_ms", "end_ms", "count")
_NEWEST = sa.select(sa.func.max(chunks.c.end_ms))


def _dense(known: Known, meta: ChunkMeta) -> bool:
    """Whether a chunk is worth a rollup, by its header: gaps within it are taken for bins."""
    series = max(1, len(known.layouts[meta.layout_id].ids))
    bins = -(-meta.end_ms // ROLLUP_MS) + (-meta.start_ms // ROLLUP_MS) + 1
    return worth_it(meta.count // series, series, bins, meta.end_ms - meta.start_ms)


def _some(found: Sequence[_Chunk], budget: int) -> list[_Chunk]:
    """Return the first chunks within a budget of samples; one of any size if there is a budget at all."""
    taken: list[_Chunk] = []
    for kind, meta in found:
        if budget <= 0:
            break
        taken.append((kind, meta))
        budget -= weight(kind, meta.count)
    return taken
