"""Sealing: the hot rows of a closed hour become compressed chunks, in one transaction.

    read rows of one hour, oldest ids first ──► sort, dedupe, compress ──► insert chunks + delete those ids

Deleting exactly the ids that were read means that a row written meanwhile stays hot; being newer it wins
over the chunk when both are read. Rows never cross an hour, so hours are independent of each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ninesight_store.catalog import Known
from ninesight_store.checks import chunk_sums, head_sum
from ninesight_store.chunk import ChunkDraft, encode_kinds
from ninesight_store.config import HOUR_MS
from ninesight_store.contract import Int64
from ninesight_store.damage import HOT, LAYOUT
from ninesight_store.hot_reader import HotMeta, HotReader, PointPool
from ninesight_store.kinds import assemble_kinds
from ninesight_store.pieces import weight
from ninesight_store.registry import Registry
from ninesight_store.reports import SealReport
from ninesight_store.rollup_row import ChunkFacts
from ninesight_store.row_cache import RowCache
from ninesight_store.schema import FLOATS, POINTS, chunks, hot, rollups
from ninesight_store.selection import Selection, selection_of
from ninesight_store.tools import Tools

__all__ = [
    "ConflictError",
    "Sealer",
    "delete_chunks",
    "everything",
    "insert_chunks",
    "take_rows",
]

_DELETE_MAX = 500
_FOLDED_MAX = 32
"""Rows of one layout and hour that folding may leave: some of each size class, and the newest."""


class ConflictError(Exception):
    """Another process changed the same rows first; the step is rolled back and may be tried again."""


@dataclass(frozen=True)
class _Step:
    """A part of one hour that is sealed in one transaction."""

    rows: list[HotMeta]
    samples: int
    drafts: list[ChunkDraft]


class Sealer:
    """Seals closed hours. One thread at a time."""

    def __init__(self, tools: Tools) -> None:
        self._database, self._catalog, self._writer, self._settings, self._damage = tools
        self._reader = HotReader(RowCache(0), tools.damage)

    def seal(self, now_ms: int) -> SealReport:
        """Seal every hour that ended `seal_after_ms` ago. Raises RetryableError; what was sealed stays."""
        closed = (now_ms - self._settings.seal_after_ms) // HOUR_MS
        with self._database.reading() as connection:
            query = sa.select(hot.c.hour).where(hot.c.hour < closed).distinct()
            hours = sorted(connection.execute(query).scalars())
        return self._seal(hours)

    def seal_crowded(self) -> SealReport:
        """Seal the rows of every hour that has more than `hot_rows_max`, closed or not. Raises RetryableError.

        Of a layout that comes again only what folding leaves beyond a few rows counts.
        """
        crowds: Counter[int] = Counter()
        with self._database.reading() as connection:
            known = self._catalog.refresh(connection).layouts
            query = sa.select(hot.c.hour, hot.c.layout_id, sa.func.count(), sa.func.sum(hot.c.count))
            for hour, number, rows, samples in connection.execute(
                query.group_by(hot.c.hour, hot.c.layout_id)
            ):
                again = number in known and int(samples) >= 2 * len(known[number].ids)
                crowds[hour] += max(0, rows - _FOLDED_MAX) if again else rows
        return self._seal(sorted(hour for hour, rows in crowds.items() if rows > self._settings.hot_rows_max))

    def _seal(self, hours: Sequence[int]) -> SealReport:
        rows = samples = made = size = conflicts = 0
        for hour in hours:
            while (step := self._step(hour)) is not None:
                try:
                    self._writer.move(_Replacement(step), max(row.id for row in step.rows))
                except ConflictError:
                    conflicts += 1
                    break
                rows, samples, made = rows + len(step.rows), samples + step.samples, made + len(step.drafts)
                size += sum(len(draft.data) for draft in step.drafts)
        return SealReport(len(hours), rows, samples, made, size, conflicts)

    def _step(self, hour: int) -> _Step | None:
        """Read the oldest rows of an hour, as many as memory allows, and compress them.

        A damaged row stays as it is: what a later version or a backup may still save is never deleted.
        """
        while (step := self._attempt(hour)) is not None and not step.rows:
            pass
        return step

    def _attempt(self, hour: int) -> _Step | None:
        pool = PointPool()
        with self._database.reading() as connection:
            known = self._catalog.refresh(connection)
            metas = self._oldest(connection, known, hour)
            if not any(metas.values()):
                return None
            ids = known.layouts.series_in({meta.layout_id for part in metas.values() for meta in part})
            selection = everything(ids)
            pieces = {
                kind: self._reader.pieces(connection, kind, part, known, selection, pool)
                for kind, part in metas.items()
            }
        floats, points = assemble_kinds(len(ids), pieces)
        # What is merged soon gets its rollups then: sealing keeps its pace.
        last = self._settings.merge_hours < 2
        drafts = encode_kinds(ids, floats, points, pool.all(), self._settings, rollups=last)
        damaged = self._damage.ids(HOT)
        rows = [meta for part in metas.values() for meta in part if meta.id not in damaged]
        return _Step(rows, len(floats.timestamps) + len(points.timestamps), drafts)

    def _oldest(self, connection: sa.Connection, known: Known, hour: int) -> dict[int, list[HotMeta]]:
        budget = self._settings.seal_samples_max
        query = (
            sa.select(hot.c.kind, hot.c.id, hot.c.layout_id, hot.c.start_ms, hot.c.end_ms, hot.c.count)
            .where(hot.c.hour == hour)
            .order_by(hot.c.id)
        )
        found: dict[int, list[HotMeta]] = {FLOATS: [], POINTS: []}
        rows, layouts = self._damage.ids(HOT), self._damage.ids(LAYOUT)
        for at, (kind, *row) in enumerate(connection.execute(query)):
            meta = HotMeta(*row)
            if meta.id in rows or meta.layout_id in layouts or meta.layout_id not in known.layouts:
                continue
            budget -= weight(kind, meta.count)
            if budget < 0 and at:
                break
            found[kind].append(meta)
        return found


class _Replacement:
    """The write transaction of one step."""

    def __init__(self, step: _Step) -> None:
        self._step = step

    def __call__(self, connection: sa.Connection, registry: Registry) -> None:
        take_rows(connection, self._step.rows)
        insert_chunks(connection, self._step.drafts, registry, level=0)


def take_rows(connection: sa.Connection, rows: Sequence[HotMeta]) -> None:
    """Delete hot rows. Raises ConflictError if one of them is gone, or is not what was read: a folded row only grows."""
    for at in range(0, len(rows), _DELETE_MAX):
        part = rows[at : at + _DELETE_MAX]
        those = hot.c.id.in_([row.id for row in part])
        query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(hot.c.count), 0)).where(those)
        found, samples = connection.execute(query).one()
        if (int(found), int(samples)) != (len(part), sum(row.count for row in part)):
            raise ConflictError(f"of {len(part)} rows some were sealed or folded by another process")
        connection.execute(sa.delete(hot).where(those))


def everything(ids: Int64) -> Selection:
    """Return a selection of all these series (ascending ids), ranked by id."""
    return selection_of((), ids)


def insert_chunks(
    connection: sa.Connection, drafts: Sequence[ChunkDraft], registry: Registry, *, level: int
) -> None:
    """Insert chunks, with their rollups and such of their layouts as are new."""
    plain, sums = [], []
    for draft in drafts:
        layout_id = registry.layout_of_ids(draft.ids)
        row = _chunk_row(draft, layout_id, level)
        if draft.rollup is None:
            plain.append(row)
            continue
        number = connection.execute(sa.insert(chunks).returning(chunks.c.id), row).scalar_one()
        facts = ChunkFacts(draft.kind, layout_id, draft.start_ms, draft.end_ms, draft.count)
        sums.append(draft.rollup.row(number, facts))
    for table, rows in ((chunks, plain), (rollups, sums)):
        if rows:
            connection.execute(sa.insert(table), rows)


def delete_chunks(connection: sa.Connection, ids: Sequence[int]) -> int:
    """Delete chunks and their rollups; return how many chunks there were."""
    deleted = 0
    for at in range(0, len(ids), _DELETE_MAX):
        part = ids[at : at + _DELETE_MAX]
        connection.execute(sa.delete(rollups).where(rollups.c.id.in_(part)))
        deleted += connection.execute(sa.delete(chunks).where(chunks.c.id.in_(part))).rowcount
    return deleted


def _chunk_row(draft: ChunkDraft, layout_id: int, level: int) -> dict[str, object]:
    head = {
        "kind": draft.kind,
        "layout_id": layout_id,
        "start_ms": draft.start_ms,
        "end_ms": draft.end_ms,
        "count": draft.count,
        "codec": draft.codec,
    }
    return {
        "level": level,
        **head,
        "codec_version": draft.codec_version,
        "times": draft.times,
        "ends": draft.ends,
        "data": draft.data,
        "checksums": chunk_sums(head_sum(draft.times, draft.ends, **head), draft.series_sums),
        "starts": draft.starts,
    }
