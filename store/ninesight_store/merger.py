"""Merging: the hourly chunks of a closed block of hours become one chunk per group of series.

Longer columns compress better and are fewer to read. Chunks that share a series are merged together, so
that the one written last still wins; chunks of late samples join the block they belong to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from ninesight_store.catalog import Known
from ninesight_store.chunk import ChunkDraft, encode_kinds
from ninesight_store.chunk_reader import ChunkMeta, chunk_pieces
from ninesight_store.config import HOUR_MS
from ninesight_store.damage import CHUNK, LAYOUT
from ninesight_store.hot_reader import PointPool
from ninesight_store.kinds import assemble_kinds
from ninesight_store.layouts import LayoutTable
from ninesight_store.pieces import weight
from ninesight_store.registry import Registry
from ninesight_store.reports import MergeReport
from ninesight_store.schema import FLOATS, POINTS, chunks
from ninesight_store.sealer import ConflictError, delete_chunks, everything, insert_chunks
from ninesight_store.tools import Tools
from ninesight_store.validation import EVER

__all__ = ["Merger"]

_DELETE_MAX = 500

_Chunk = tuple[int, ChunkMeta]
"""Kind and chunk."""


class Merger:
    """Merges closed blocks. One thread at a time."""

    def __init__(self, tools: Tools) -> None:
        self._database, self._catalog, self._writer, self._settings, self._damage = tools

    def merge(self, now_ms: int) -> MergeReport:
        """Merge every block that ended `seal_after_ms` ago. Raises RetryableError; what was merged stays."""
        hours = self._settings.merge_hours
        if hours < 2:
            return MergeReport()
        block_ms = hours * HOUR_MS
        closed = (now_ms - self._settings.seal_after_ms) // block_ms * block_ms
        with self._database.reading() as connection:
            query = sa.select(chunks.c.start_ms).where(chunks.c.level == 0, chunks.c.end_ms < closed)
            blocks = sorted({start // block_ms for start in connection.execute(query).scalars()})
        before = after = samples = size = conflicts = 0
        for block in blocks:
            groups, alone = self._groups(block * block_ms, (block + 1) * block_ms)
            self._settle(alone)
            for group in groups:
                try:
                    drafts, kept = self._merge(group)
                except ConflictError:
                    conflicts += 1
                    continue
                before, after, samples = before + len(group), after + len(drafts), samples + kept
                size += sum(len(draft.data) for draft in drafts)
        return MergeReport(before, after, samples, size, conflicts)

    def _groups(self, start_ms: int, end_ms: int) -> tuple[list[list[_Chunk]], list[int]]:
        """Return the chunks of a block to merge, as many together as memory allows, and the ids of those alone."""
        with self._database.reading() as connection:
            known = self._catalog.refresh(connection)
            query = sa.select(
                chunks.c.level,
                chunks.c.kind,
                chunks.c.id,
                chunks.c.layout_id,
                chunks.c.start_ms,
                chunks.c.end_ms,
                chunks.c.count,
            ).where(chunks.c.end_ms >= start_ms, chunks.c.start_ms < end_ms)
            found = [(level, (kind, ChunkMeta(*rest))) for level, kind, *rest in connection.execute(query)]
            # A chunk whose layout is not there is damaged; `verify` tells.
            found = [entry for entry in found if entry[1][1].layout_id in known.layouts]
        fresh = {meta.layout_id for level, (_, meta) in found if level == 0}
        linked = _linked(known.layouts, sorted({meta.layout_id for _, (_, meta) in found}), fresh)
        groups: dict[int, list[_Chunk]] = defaultdict(list)
        for _, chunk in found:
            if chunk[1].layout_id in linked:
                groups[linked[chunk[1].layout_id]].append(chunk)
        for root in self._damaged_roots(groups):
            del groups[root]
        alone = [group[0][1].id for group in groups.values() if len(group) == 1]
        several = [group for group in groups.values() if len(group) > 1]
        return list(_packed(several, self._settings.seal_samples_max)), alone

    def _settle(self, ids: Sequence[int]) -> None:
        """Mark chunks that have nothing to join, such as those of short-lived series: they stay as they are.

        One that another process merged meanwhile is not there any more, which is as good.
        """

        def mark(connection: sa.Connection, _registry: Registry) -> None:
            for at in range(0, len(ids), _DELETE_MAX):
                query = sa.update(chunks).where(chunks.c.id.in_(ids[at : at + _DELETE_MAX]))
                connection.execute(query.values(level=1))

        if ids:
            self._writer.alone(mark)

    def _damaged_roots(self, groups: dict[int, list[_Chunk]]) -> list[int]:
        """Return the groups with a damaged chunk: they stay as they are, damage and all."""
        ids, layouts = self._damage.ids(CHUNK), self._damage.ids(LAYOUT)
        return [
            root
            for root, group in groups.items()
            if any(meta.id in ids or meta.layout_id in layouts for _, meta in group)
        ]

    def _merge(self, group: Sequence[_Chunk]) -> tuple[list[ChunkDraft], int]:
        with self._database.reading() as connection:
            newest = connection.execute(_NEWEST).scalar()
            known = self._catalog.refresh(connection)
            drafts, samples = self._encoded(connection, group, known)
        if not self._damage.ids(CHUNK).isdisjoint(meta.id for _, meta in group):
            raise ConflictError("a chunk is damaged; the others are merged at the next turn")

        def replace(connection: sa.Connection, registry: Registry) -> None:
            if connection.execute(_NEWEST).scalar() != newest:
                raise ConflictError("another process added chunks")
            ids = [meta.id for _, meta in group]
            if delete_chunks(connection, ids) != len(ids):
                raise ConflictError("another process merged these chunks")
            insert_chunks(connection, drafts, registry, level=1)

        self._writer.move(replace)
        return drafts, samples

    def _encoded(
        self, connection: sa.Connection, group: Sequence[_Chunk], known: Known
    ) -> tuple[list[ChunkDraft], int]:
        pool = PointPool()
        ids = known.layouts.series_in({meta.layout_id for _, meta in group})
        selection = everything(ids)
        pieces = {
            kind: chunk_pieces(
                connection,
                kind,
                [meta for its, meta in group if its == kind],
                known,
                selection,
                EVER,
                pool,
                self._damage,
            )
            for kind in (FLOATS, POINTS)
        }
        floats, points = assemble_kinds(len(ids), pieces)
        drafts = encode_kinds(ids, floats, points, pool.all(), self._settings, rollups=True)
        return drafts, len(floats.timestamps) + len(points.timestamps)


_NEWEST = sa.select(sa.func.max(chunks.c.id))


def _linked(layouts: LayoutTable, numbers: Sequence[int], fresh: set[int]) -> dict[int, int]:
    """Return layout -> component (layouts linked by common series), for components with a fresh layout."""
    parent = {number: number for number in numbers}

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[int, int] = {}
    for number in numbers:
        for series in layouts[number].ids.tolist():
            other = first.setdefault(series, number)
            if other != number:
                parent[root(number)] = root(other)
    wanted = {root(number) for number in fresh}
    return {number: root(number) for number in numbers if root(number) in wanted}


def _packed(groups: Sequence[list[_Chunk]], budget: int) -> Iterator[list[_Chunk]]:
    """Join small groups up to the budget of samples."""
    packed: list[_Chunk] = []
    samples = 0
    for group in groups:
        size = sum(weight(kind, meta.count) for kind, meta in group)
        if packed and samples + size > budget:
            yield packed
            packed, samples = [], 0
        packed = packed + group
        samples += size
    if packed:
        yield packed
