"""Dropping what is past retention: whole rows and chunks, then layouts and series that hold nothing any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import sqlalchemy as sa

from ninesight_store.config import HOUR_MS
from ninesight_store.contract import Int64
from ninesight_store.damage import LAYOUT
from ninesight_store.exemplar_table import ExemplarWriter
from ninesight_store.moves import raise_moves
from ninesight_store.registry import Registry
from ninesight_store.reports import RetainReport
from ninesight_store.schema import chunks, exemplars, hot, info, layouts, rollups, series
from ninesight_store.tools import Tools

__all__ = ["Retention"]

_STEP_MAX = 500
"""Rows dropped in one transaction, so that writers never wait long."""


_ENDS = [sa.select(each(table.c.end_ms)) for each in (sa.func.min, sa.func.max) for table in (hot, chunks)]


class Retention:
    """Drops old data. One thread at a time."""

    def __init__(self, tools: Tools) -> None:
        self._database, self._catalog, self._writer, self._settings, self._damage = tools

    def retain(self, now_ms: int) -> RetainReport:
        """Drop what ended more than `retention_ms` ago. Raises RetryableError; what was dropped stays so."""
        before_ms = now_ms - self._settings.retention_ms
        rows, row_samples = self._drop(hot, before_ms)
        pieces, samples = self._drop(chunks, before_ms)
        traces = self._drop_exemplars(before_ms)
        gone_layouts, gone_series = self.drop_unused() if rows or pieces or traces else (0, 0)
        return RetainReport(rows, pieces, row_samples + samples, gone_series, gone_layouts, traces)

    def _drop_exemplars(self, before_ms: int) -> int:
        dropped = 0

        def work(connection: sa.Connection, _registry: Registry) -> None:
            nonlocal dropped
            keeper = ExemplarWriter(self._settings)
            dropped = keeper.retire(connection, before_ms) + keeper.trim(connection)

        self._writer.alone(work)
        return dropped

    def drop_unused(self) -> tuple[int, int]:
        """Drop layouts that no row refers to, and series without sample or exemplar; return how many of each."""
        dropped = (0, 0)

        def work(connection: sa.Connection, _registry: Registry) -> None:
            nonlocal dropped
            known = self._catalog.refresh(connection)
            used = set(connection.execute(sa.select(hot.c.layout_id).distinct()).scalars())
            used |= set(connection.execute(sa.select(chunks.c.layout_id).distinct()).scalars())
            unused = sorted(set(known.layouts.numbers()) - used)
            traced = connection.execute(sa.select(exemplars.c.series_id).distinct()).scalars()
            alive = np.concatenate([known.layouts.series_in(used), np.fromiter(traced, np.int64)])
            empty = _without(known.series.numbers(), alive).tolist()
            if self._damage.ids(LAYOUT):
                empty = []  # Which series a damaged layout holds cannot be told.
            _delete(connection, layouts, unused)
            _delete(connection, series, empty)
            if unused:
                _raise(connection, "layout_generation")
            if empty:
                _raise(connection, "series_generation")
            dropped = (len(unused), len(empty))

        self._writer.alone(work)
        return dropped

    def make_room(self) -> RetainReport:
        """Drop whole hours, oldest first, until nine tenths of `size_bytes_max` suffice; never the newest hour."""
        aim = self._settings.size_bytes_max * 9 // 10
        total = RetainReport()
        if not aim:
            return total
        while True:
            with self._database.reading() as connection:
                used = self._database.backend.used_bytes(connection)
                ends = [connection.execute(query).scalar() for query in _ENDS]
            oldest = min((end for end in ends[:2] if end is not None), default=None)
            newest = max((end for end in ends[2:] if end is not None), default=None)
            if used <= aim or oldest is None or newest is None or oldest // HOUR_MS >= newest // HOUR_MS:
                break
            before_ms = (oldest // HOUR_MS + 1) * HOUR_MS
            rows, row_samples = self._drop(hot, before_ms)
            pieces, samples = self._drop(chunks, before_ms)
            total = replace(
                total,
                rows=total.rows + rows,
                chunks=total.chunks + pieces,
                samples=total.samples + row_samples + samples,
                exemplars=total.exemplars + self._drop_exemplars(before_ms),
                dropped_before_ms=before_ms,
            )
        if total.rows or total.chunks:
            gone_layouts, gone_series = self.drop_unused()
            total = replace(total, layouts=gone_layouts, series=gone_series)
        return total

    def _drop(self, table: sa.Table, before_ms: int) -> tuple[int, int]:
        rows = samples = 0
        query = sa.select(table.c.id, table.c.count).where(table.c.end_ms < before_ms).limit(_STEP_MAX)
        while True:
            found: Sequence[tuple[int, int]] = []

            def work(connection: sa.Connection, _registry: Registry) -> None:
                nonlocal found
                found = [(number, count) for number, count in connection.execute(query)]
                numbers = [number for number, _ in found]
                _delete(connection, table, numbers)
                if table is chunks:
                    _delete(connection, rollups, numbers)
                if found:
                    raise_moves(connection)

            self._writer.alone(work)
            rows, samples = rows + len(found), samples + sum(count for _, count in found)
            if len(found) < _STEP_MAX:
                return rows, samples


def _without(numbers: Int64, gone: Int64) -> Int64:
    """Return the numbers that are not among the others; ids are dense, so they are marked, not sorted."""
    if not len(numbers) or not len(gone):
        return numbers
    there = np.zeros(max(int(numbers[-1]), int(gone.max())) + 1, np.bool_)
    there[gone] = True
    return numbers[~there[numbers]]


def _delete(connection: sa.Connection, table: sa.Table, numbers: Sequence[int]) -> None:
    for part in _parts(numbers):
        connection.execute(sa.delete(table).where(table.c.id.in_(part)))


def _raise(connection: sa.Connection, key: str) -> None:
    connection.execute(sa.update(info).where(info.c.key == key).values(value=info.c.value + 1))


def _parts(numbers: Sequence[int]) -> Iterator[Iterable[int]]:
    return (numbers[at : at + _STEP_MAX] for at in range(0, len(numbers), _STEP_MAX))
