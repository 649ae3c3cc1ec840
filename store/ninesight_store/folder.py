"""Folding: many small hot rows of one layout become few, so that readers meet few rows (fold_plan.py says which).

    read rows by id ──► checked, put behind each other ──► delete them + insert one with the id of the newest

A folded row is a hot row with several batches (hot.py). It changes no sample and comes in one transaction, so a reader sees
the rows before or the one after. What reads rows by id, as sealing does, finds that they are gone or have grown and
tries again later. `store_info` has the highest id that was ever folded: whoever kept what it read of
all rows up to there need not read again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from ninesight_store.catalog import Known
from ninesight_store.checks import body_sum, row_sum
from ninesight_store.contract import HistogramColumns, Int64
from ninesight_store.damage import HOT, LAYOUT, STARTS
from ninesight_store.fold_plan import FoldGroup, Unit, planned
from ninesight_store.histograms import concat_histograms, join_starts
from ninesight_store.hot import times_blob
from ninesight_store.hot_reader import HotMeta, HotReader, HotRow, each_time
from ninesight_store.point_table import pack_points
from ninesight_store.registry import Registry
from ninesight_store.reports import FoldReport
from ninesight_store.row_cache import RowCache
from ninesight_store.schema import FOLDS_FROM, hot, info
from ninesight_store.sealer import ConflictError, take_rows
from ninesight_store.starts import encode_starts
from ninesight_store.tools import Tools

__all__ = ["FOLDED", "Folder"]

FOLDED = "folded"
"""The key in `store_info` of the highest id of a row that went into another; absent until there was one."""
_ROWS_MAX = 500
_SAMPLES_MAX = 200_000
"""Rows and samples in one transaction, so that writers never wait long."""
_ROWS_A_RUN_MAX = 100_000
_METAS_MAX = 1_000_000
"""Rows of an hour looked at in one run, the oldest."""
_METAS = (
    sa.select(hot.c.kind, hot.c.id, hot.c.layout_id, hot.c.start_ms, hot.c.end_ms, hot.c.count)
    .order_by(hot.c.id)
    .limit(_METAS_MAX)
)


@dataclass(frozen=True)
class _Folded:
    """A group and the row that it becomes."""

    group: FoldGroup
    row: dict[str, object]


class Folder:
    """Folds hot rows. One thread at a time."""

    def __init__(self, tools: Tools) -> None:
        self._database, self._catalog, self._writer, _, self._damage = tools
        self._reader = HotReader(RowCache(0), tools.damage)
        self._settled = 0

    def fold(self, *, fresh: bool = False) -> FoldReport:
        """Fold the rows that were there when this was called before; with `fresh` all that are there.

        Raises RetryableError; what was folded stays.
        """
        with self._database.reading() as connection:
            newest = int(connection.execute(sa.select(sa.func.max(hot.c.id))).scalar() or 0)
            until, self._settled = newest if fresh else self._settled, max(newest, self._settled)
            known = self._catalog.refresh(connection)
            groups = self._groups(connection, known, until)
        before = after = samples = conflicts = 0
        for part in _parts(groups):
            if before >= _ROWS_A_RUN_MAX:
                waiting = sum(len(group.rows) for group in groups) - before
                return FoldReport(before, after, samples, conflicts, waiting)
            made = self._made(part)
            if not made:
                continue
            try:
                self._writer.alone(_Replacement(made))
            except ConflictError:
                conflicts += 1
                continue
            before, after = before + sum(len(each.group.rows) for each in made), after + len(made)
            samples += sum(row.count for each in made for row in each.group.rows)
        return FoldReport(before, after, samples, conflicts)

    def _groups(self, connection: sa.Connection, known: Known, until: int) -> list[FoldGroup]:
        if known.info.format < FOLDS_FROM or not until:
            return []
        groups: list[FoldGroup] = []
        damaged, lost = self._damage.ids(HOT) | self._damage.ids(STARTS), self._damage.ids(LAYOUT)
        for hour in sorted(connection.execute(sa.select(hot.c.hour).distinct()).scalars()):
            units: dict[Unit, list[HotMeta]] = defaultdict(list)
            for kind, *rest in connection.execute(_METAS.where(hot.c.hour == hour)).all():
                if (meta := HotMeta(*rest)).id <= until:
                    units[kind, meta.layout_id].append(meta)
            # What shares a series with a lost layout cannot be told.
            numbers = {number for _, number in units}
            if lost.isdisjoint(numbers) and all(number in known.layouts for number in numbers):
                stay = {unit for unit, rows in units.items() if any(row.id in damaged for row in rows)}
                groups += planned(hour, units, known.layouts, stay)
        return groups

    def _made(self, groups: Sequence[FoldGroup]) -> list[_Folded]:
        """Read the rows of these groups and put them behind each other; a group with a damaged row stays as it is."""
        found: dict[int, HotRow] = {}
        with self._database.reading() as connection:
            known = self._catalog.refresh(connection)
            counts = _counts(connection, [row.id for group in groups for row in group.rows])
            # Another process may have sealed or folded meanwhile.
            groups = [each for each in groups if all(counts.get(row.id) == row.count for row in each.rows)]
            for kind in {group.kind for group in groups}:
                metas = [row for group in groups if group.kind == kind for row in group.rows]
                found |= self._reader.rows(connection, kind, metas, known)
        damaged = self._damage.ids(HOT) | self._damage.ids(STARTS)
        return [
            _folded(group, [found[row.id] for row in group.rows])
            for group in groups
            if all(row.id in found and row.id not in damaged for row in group.rows)
        ]


def _counts(connection: sa.Connection, ids: Sequence[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for at in range(0, len(ids), _ROWS_MAX):
        query = sa.select(hot.c.id, hot.c.count).where(hot.c.id.in_(ids[at : at + _ROWS_MAX]))
        counts |= dict(connection.execute(query).all())
    return counts


def _parts(groups: Sequence[FoldGroup]) -> Iterator[list[FoldGroup]]:
    """Cut the groups into transactions."""
    part: list[FoldGroup] = []
    rows = samples = 0
    for group in groups:
        size = sum(row.count for row in group.rows)
        if part and (rows + len(group.rows) > _ROWS_MAX or samples + size > _SAMPLES_MAX):
            yield part
            part, rows, samples = [], 0, 0
        part.append(group)
        rows, samples = rows + len(group.rows), samples + size
    if part:
        yield part


def _folded(group: FoldGroup, rows: Sequence[HotRow]) -> _Folded:
    metas = group.rows
    start, end = min(row.start_ms for row in metas), max(row.end_ms for row in metas)
    head = {
        "kind": group.kind,
        "layout_id": metas[-1].layout_id,
        "start_ms": start,
        "end_ms": end,
        "count": sum(row.count for row in metas),
    }
    times = times_blob(
        np.concatenate([each_time(*pair) for pair in zip(metas, rows, strict=True)]), start, end
    )
    data, starts = _body(rows)
    body = {
        "times": times,
        "data": data,
        "checksum": row_sum(body_sum(times, data), **head),
        "starts": encode_starts(starts),
    }
    return _Folded(group, {"id": metas[-1].id, "hour": group.hour, **head, **body})


def _body(rows: Sequence[HotRow]) -> tuple[bytes, Int64 | None]:
    """Return the samples of the rows as bytes, and their start timestamps."""
    points = [row.samples for row in rows if isinstance(row.samples, HistogramColumns)]
    if points:
        joined = concat_histograms(points)
        return pack_points(joined), joined.start_timestamps
    values = [row.samples for row in rows if isinstance(row.samples, np.ndarray)]
    starts = join_starts([(len(row.samples), row.starts) for row in rows])
    return np.concatenate(values).astype("<f8", copy=False).tobytes(), starts


class _Replacement:
    """The write transaction of some groups."""

    def __init__(self, made: Sequence[_Folded]) -> None:
        self._made = made

    def __call__(self, connection: sa.Connection, _registry: Registry) -> None:
        take_rows(connection, [row for each in self._made for row in each.group.rows])
        connection.execute(sa.insert(hot), [each.row for each in self._made])
        newest = max(each.group.rows[-1].id for each in self._made)
        known = connection.execute(sa.select(info.c.value).where(info.c.key == FOLDED)).scalar()
        if known is None:
            connection.execute(sa.insert(info).values(key=FOLDED, value=newest))
        elif known < newest:
            connection.execute(sa.update(info).where(info.c.key == FOLDED).values(value=newest))
