"""What the store knows of its series and layouts, in memory: filled at open, refreshed as ids appear.

Ids rise in commit order and are never used twice, so "everything from `next` on" is all that is new, also
when another process wrote it. When ids were dropped, a generation in `store_info` rises and they are dropped here too.

    open ──► kept index (index_table.py) ──► what was dropped since ──► what came since
        └──► none, or damaged: everything from the tables, counted (`index_rebuilds`)
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from ninesight_store.config import HOUR_MS
from ninesight_store.contract import labels_of
from ninesight_store.counters import Counters
from ninesight_store.damage import LAYOUT, SERIES, Damage, DamageLog
from ninesight_store.errors import StoreFormatError
from ninesight_store.index_snapshot import SnapshotState
from ninesight_store.index_table import DamagedIndexError, read_index
from ninesight_store.label_reader import LabelReader
from ninesight_store.layouts import Layout, LayoutTable, layout_digest
from ninesight_store.metadata_table import METADATA_CHANGES
from ninesight_store.raw_text import raw_text
from ninesight_store.schema import (
    CHECKSUMS_FROM,
    FORMAT_VERSION,
    INDEX_FROM,
    ROLLUPS_FROM,
    STARTS_FROM,
    chunks,
    hot,
    info,
    layouts,
    series,
)
from ninesight_store.series_index import SeriesIndex

__all__ = ["Catalog", "Info", "Known"]


@dataclass(frozen=True)
class Info:
    """The counters of `store_info` as one transaction sees them."""

    series_next: int
    layout_next: int
    series_generation: int
    layout_generation: int
    format: int
    metadata_changes: int
    """How often anything in the table of metadata changed."""

    @property
    def ids(self) -> tuple[int, int, int, int]:
        """The next ids of series and layouts, and their generations."""
        return self.series_next, self.layout_next, self.series_generation, self.layout_generation

    @classmethod
    def read(cls, connection: sa.Connection) -> Info:
        """Read them inside a transaction."""
        rows = {str(key): int(value) for key, value in connection.exec_driver_sql(_SELECT_INFO)}
        return cls(**{key: rows[key] for key in _KEYS}, metadata_changes=rows.get(METADATA_CHANGES, 0))


@dataclass(frozen=True)
class Known:
    """What a transaction may rely on."""

    info: Info
    series: SeriesIndex
    layouts: LayoutTable

    @property
    def checksums(self) -> bool:
        """Whether the tables have checksums."""
        return self.info.format >= CHECKSUMS_FROM

    @property
    def starts(self) -> bool:
        """Whether the tables have start timestamps, and there is one of exemplars."""
        return self.info.format >= STARTS_FROM

    @property
    def rollups(self) -> bool:
        """Whether the tables have rollups."""
        return self.info.format >= ROLLUPS_FROM


# Every read and write asks this: as plain SQL it costs a third.
_SELECT_INFO = f"SELECT {info.c.key.name}, {info.c.value.name} FROM {info.name}"  # noqa: S608 - our own names
_KEYS = ("series_next", "layout_next", "series_generation", "layout_generation", "format")


# Made once: building a statement takes longer than asking it.
_SPANS = tuple(
    sa.select(table.c.layout_id, sa.func.min(table.c.start_ms), sa.func.max(table.c.end_ms)).group_by(
        table.c.layout_id
    )
    for table in (hot, chunks)
)
_SPANS_SINCE = tuple(
    query.where(table.c.id > sa.bindparam("seen")) for query, table in zip(_SPANS, (hot, chunks), strict=True)
)


def _note_hours(connection: sa.Connection, known: Known) -> None:
    """Note in index and table which hours the rows and chunks that nobody looked at yet lie in."""
    seen = list(known.layouts.seen)
    last = [int(number or 0) for number in connection.exec_driver_sql(_NEWEST).one()]
    for at, newest in enumerate(last):
        if newest <= seen[at]:
            continue
        # From nothing the index alone is read; by id the rows are.
        query = _SPANS_SINCE[at] if seen[at] else _SPANS[at]
        found = connection.execute(query, {"seen": seen[at]} if seen[at] else {}).all()
        columns = np.array([tuple(row) for row in found], np.int64).reshape(-1, 3)
        hours = np.clip(columns[:, 1:] // HOUR_MS, -_HOURS_MAX, _HOURS_MAX).astype(np.int32)
        known.series.alive(*known.layouts.alive(columns[:, 0], hours[:, 0], hours[:, 1]))
        seen[at] = newest
    known.layouts.seen = (seen[0], seen[1])


_TOGETHER = 2000
_HOURS_MAX = 2**31 - 2


_NEWEST = f"SELECT (SELECT max(id) FROM {hot.name}), (SELECT max(id) FROM {chunks.name})"  # noqa: S608 - our own names


class Catalog:
    """The series index and the layout table, kept up with the database. Safe to use from many threads."""

    def __init__(self, damage: DamageLog, counters: Counters, *, kept: bool = True) -> None:
        """Without `kept` the kept index is not asked: every series and layout is read and checked."""
        self._damage, self._counters, self._kept = damage, counters, kept
        self._lock = threading.Lock()
        self._series = SeriesIndex(generation=-1)
        self._layouts = LayoutTable(generation=-1)

    def refresh(self, connection: sa.Connection, *, hours: bool = True) -> Known:
        """Return index and table that know at least what this transaction sees.

        Without `hours` it is not noted which series the newest rows belong to: writers need not know.
        A transaction older than the last drop of ids gets an index of its own: it may still see rows that
        refer to what was dropped since.
        """
        seen = Info.read(connection)
        if seen.format > FORMAT_VERSION:
            raise StoreFormatError(
                f"the store was upgraded to format {seen.format} while this process had it open; restart with that version"
            )
        with self._lock:
            if self._series.generation < 0:
                self._begin(connection, seen)
            layouts_now = self._layouts_for(connection, seen)
            known = Known(seen, self._series_for(connection, seen, layouts_now), layouts_now)
            if hours:
                _note_hours(connection, known)
            return known

    def state(self) -> SnapshotState | None:
        """Return all that is known; None where it would pass on damage of the tables, or nothing is known yet."""
        with self._lock:
            if self._series.generation < 0 or self._damage.ids(SERIES) or self._damage.ids(LAYOUT):
                return None
            return SnapshotState(self._series.state(), self._layouts.state())

    def _begin(self, connection: sa.Connection, seen: Info) -> None:
        """Take what was kept, if it can be used."""
        if self._kept and seen.format >= INDEX_FROM:
            try:
                found = read_index(connection, seen.ids)
            except DamagedIndexError as error:
                self._damage.add(error.damage)
                self._counters.add("index_damaged")
                found = None
            if found is not None:
                self._series, self._layouts = found
                self._counters.add("index_loads")
                return
        if seen.series_next > 1:
            self._counters.add("index_rebuilds")

    def _series_for(self, connection: sa.Connection, seen: Info, table: LayoutTable) -> SeriesIndex:
        index = self._series
        if seen.series_generation > index.generation >= 0:
            ids = connection.execute(sa.select(series.c.id).where(series.c.id < index.next_id)).scalars()
            index = index.only(np.fromiter(ids, np.int64), seen.series_generation)
        elif seen.series_generation != index.generation:
            index = SeriesIndex(generation=seen.series_generation)
        before = index.next_id
        if seen.series_next > index.next_id:
            # As bytes: the driver refuses damaged text, and with it every other series.
            query = sa.select(series.c.id, raw_text(series.c.labels)).where(series.c.id >= index.next_id)
            found = connection.execute(query.order_by(series.c.id))
            # Some at a time: labels live on as numbers, and what is built on the way must not pile up.
            reader = LabelReader(index.pairs)
            for rows in found.partitions(_TOGETHER):
                flat: list[int] = []
                lengths = [self._read(reader, number, text, flat) for number, text in rows]
                # The next id rises with what was read: if this breaks off, the rest is asked for again.
                index.add([number for number, _ in rows], lengths, flat, 0)
            index.next_id = max(index.next_id, seen.series_next)
            if before == 1:
                index.alive(*table.lives())
        if index.generation > self._series.generation:
            self._series = index
        return index

    def _layouts_for(self, connection: sa.Connection, seen: Info) -> LayoutTable:
        table = self._layouts
        if seen.layout_generation > table.generation >= 0:
            numbers = connection.execute(
                sa.select(layouts.c.id).where(layouts.c.id < table.next_id)
            ).scalars()
            table = table.only(np.fromiter(numbers, np.int64), seen.layout_generation)
        elif seen.layout_generation != table.generation:
            table = LayoutTable(generation=seen.layout_generation)
        if seen.layout_next > table.next_id:
            columns = (layouts.c.id, layouts.c.digest, layouts.c.ids)
            query = sa.select(*columns).where(layouts.c.id >= table.next_id)
            found = connection.execute(query.order_by(layouts.c.id))
            table.extend([self._layout(*row) for row in found], seen.layout_next)
        if table.generation > self._layouts.generation:
            self._layouts = table
        return table

    def _read(self, reader: LabelReader, number: int, text: bytes, flat: list[int]) -> int:
        """Add the numbers of a series' pairs to `flat`; return how many."""
        try:
            numbers = reader.read(text.decode())
        except (ValueError, TypeError):
            self._damage.add(Damage(SERIES, number, "its labels cannot be read", (number,)))
            numbers = reader.numbers(labels_of("ninesight_damaged_series", {"id": str(number)}))
        flat += numbers
        return len(numbers)

    def _layout(self, number: int, digest: bytes, blob: bytes) -> Layout:
        if layout_digest(blob) == digest:
            return Layout.from_blob(number, blob)
        self._damage.add(Damage(LAYOUT, number, "its list of series is damaged; its samples are left out"))
        return Layout.from_blob(number, b"")
