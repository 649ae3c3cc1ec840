"""Verify: read everything once and say what is damaged, whose it is and which span it touches.

    file      the database's own check of pages and indexes (SQLite)
    series    labels against their key          layouts   series lists against their digest
    rows      blobs and header against the checksum; without one (format 1) they are decoded
    chunks    the same, series by series
    rollups   blobs against their checksums, and against what their chunks say
    index     the kept index against its checksums

It reads in short transactions beside a running writer: what is sealed or merged meanwhile is read as what
it became, and what was dropped meanwhile is no damage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from ninesight_store.blobs import fetch_by_id
from ninesight_store.catalog import Catalog, Known
from ninesight_store.chunk_reader import (
    Chunk,
    ChunkMeta,
    chunk_columns,
    chunk_starts,
    decoded,
    sound_part,
)
from ninesight_store.config import HOUR_MS, StoreSettings
from ninesight_store.counters import Counters
from ninesight_store.damage import CHUNK, FILE, HOT, SERIES, STARTS, Damage, DamageLog
from ninesight_store.database import Database
from ninesight_store.errors import StoreFormatError
from ninesight_store.exemplar_table import damaged_exemplars
from ninesight_store.hot_reader import HotMeta, Picked, PointPool, checked_row, hot_columns, with_starts
from ninesight_store.index_table import DamagedIndexError, read_index
from ninesight_store.progress import Progress, Told, unheard
from ninesight_store.raw_text import raw_text
from ninesight_store.rollup_check import check_rollups
from ninesight_store.schema import INDEX_FROM, chunks, hot, rollups, series
from ninesight_store.stored_labels import labels_key
from ninesight_store.validation import EVER

__all__ = ["VerifyReport", "verify"]

_STEP = 64
_FILE_REASONS_MAX = 20


@dataclass(frozen=True)
class VerifyReport:
    """What one reading of the whole store found."""

    rows: int
    """Hot rows read."""
    chunks: int
    samples: int
    """Samples and histogram points in them, the damaged ones included."""
    unchecked: int
    """Rows and chunks without a checksum (format 1): they were decoded, which finds less."""
    damage: tuple[Damage, ...]
    """The first 1000 damaged parts, with the labels of the series they touch."""
    damaged: int
    """Damaged parts in all."""
    rollups: int = 0
    """Rollups of chunks read, and compared with their chunks."""

    @property
    def sound(self) -> bool:
        """Whether everything reads as it was written."""
        return not self.damaged


def verify(url: str | Path, *, told: Told = unheard) -> VerifyReport:
    """Read the whole store, changing nothing, and return what is damaged.

    `told` hears of rows and chunks done. Raises StoreFormatError if the file is no store at all (or its
    first page is gone), RetryableError if it is locked.
    """
    database = Database(url, StoreSettings(), read_only=True)
    try:
        return _Verifier(database, told).run()
    finally:
        database.close()


class _Verifier:
    def __init__(self, database: Database, told: Told) -> None:
        self._database, self._told = database, told
        self._log = DamageLog()
        # What was kept hides damage of the tables: here everything is read.
        self._catalog = Catalog(self._log, Counters(), kept=False)
        self._unchecked = self._samples = 0
        self._done = self._total = 0

    def run(self) -> VerifyReport:
        self._check_file()
        with self._database.reading() as connection:
            known = self._catalog.refresh(connection)
            self._check_series(connection)
            self._check_index(connection, known)
            for each in damaged_exemplars(connection) if known.starts else ():
                self._log.add(each)
            # Counted by the key's own tree: an index may be what is damaged.
            tables = (hot, chunks, rollups) if known.rollups else (hot, chunks)
            self._total = sum(_count(connection, table) for table in tables)
        rows = self._each(hot, self._check_rows)
        pieces = self._each(chunks, self._check_chunks)
        sums = self._each(rollups, self._check_rollups) if known.rollups else 0
        return VerifyReport(
            rows,
            pieces,
            self._samples,
            self._unchecked,
            self._labelled(),
            self._log.counts()["parts_damaged"],
            sums,
        )

    def _check_file(self) -> None:
        self._told(Progress("file", 0, 1, "pages"))
        with self._database.reading() as connection:
            found = self._database.backend.check(connection, _FILE_REASONS_MAX)
        for at, reason in enumerate(found):
            self._log.add(Damage(FILE, at, reason))
        self._told(Progress("file", 1, 1, "pages"))

    def _check_series(self, connection: sa.Connection) -> None:
        query = sa.select(series.c.id, series.c.key, raw_text(series.c.labels))
        for number, key, text in connection.execute(query):
            if labels_key(text.decode(errors="replace")) != key:
                self._log.add(Damage(SERIES, number, "its labels do not match their key", (number,)))

    def _check_index(self, connection: sa.Connection, known: Known) -> None:
        if known.info.format < INDEX_FROM:
            return
        try:
            read_index(connection, known.info.ids)
        except DamagedIndexError as error:
            self._log.add(error.damage)

    def _each(self, table: sa.Table, check: Any) -> int:
        """Give the rows of a table to `check`, a few in a transaction; return how many there were."""
        last, seen = -1, 0
        while True:
            with self._database.reading() as connection:
                known = self._catalog.refresh(connection)
                ids = _ids_after(connection, table, last)
                if not ids:
                    return seen
                check(connection, known, ids)
            last, seen = ids[-1], seen + len(ids)
            self._done += len(ids)
            self._told(Progress(table.name, min(self._done, self._total), self._total, "rows and chunks"))

    def _check_rows(self, connection: sa.Connection, known: Known, ids: Sequence[int]) -> None:
        heads = [hot.c.id, hot.c.kind, hot.c.hour, *(hot.c[name] for name in _META)]
        for number, kind, hour, *head in fetch_by_id(connection, heads, ids, self._lost(HOT), together=_STEP):
            meta = HotMeta(number, *head)
            self._samples += meta.count
            owners = tuple(np.unique(_owners(known, meta.layout_id)).tolist())
            touched = Damage(HOT, number, "", owners, meta.start_ms, meta.end_ms)
            if not meta.start_ms // HOUR_MS == meta.end_ms // HOUR_MS == hour:
                self._log.add(replace(touched, reason=f"it is filed under hour {hour}, which is not its own"))
            for _, times, data, checksum, starts in fetch_by_id(
                connection, hot_columns(known), [number], self._lost(HOT), together=1
            ):
                self._unchecked += checksum is None
                try:
                    row, _ = checked_row(kind, meta, times, data, checksum)
                except (StoreFormatError, ValueError, KeyError, IndexError) as error:
                    self._log.add(replace(touched, reason=str(error)))
                    continue
                if starts is not None:
                    with_starts(row, starts, partial(self._lost_starts, touched))

    def _check_chunks(self, connection: sa.Connection, known: Known, ids: Sequence[int]) -> None:
        heads = [chunks.c.id, chunks.c.kind, *(chunks.c[name] for name in _META)]
        lost = self._lost(CHUNK)
        for number, kind, *head in fetch_by_id(connection, heads, ids, lost, together=_STEP):
            meta = ChunkMeta(number, *head)
            self._samples += meta.count
            owners = _owners(known, meta.layout_id)
            every = np.arange(len(owners), dtype=np.int64)
            picked = Picked(every, every, every=True)
            if meta.layout_id not in known.layouts:
                reason = f"its series list {meta.layout_id} is not there"
                self._log.add(Damage(CHUNK, number, reason, (), meta.start_ms, meta.end_ms))
            for _, *blobs in fetch_by_id(connection, chunk_columns(known), [number], lost, together=1):
                chunk = Chunk(kind, meta, *blobs)
                sound = sound_part(chunk, picked, owners, self._log)
                if chunk.starts is not None and len(sound.positions):
                    width = meta.count // len(owners)
                    chunk_starts(chunk, sound, owners, width, self._log)
                if chunk.checksums is None:
                    self._unchecked += 1
                    decoded(chunk, sound, owners, EVER, PointPool(), self._log)

    def _check_rollups(self, connection: sa.Connection, known: Known, ids: Sequence[int]) -> None:
        check_rollups(connection, known, ids, self._log)

    def _lost(self, part: str) -> Any:
        return lambda number, reason: self._log.add(Damage(part, number, reason))

    def _lost_starts(self, touched: Damage, reason: str) -> None:
        self._log.add(replace(touched, part=STARTS, reason=reason))

    def _labelled(self) -> tuple[Damage, ...]:
        with self._database.reading() as connection:
            index = self._catalog.refresh(connection).series
        return tuple(replace(one, series=index.labels_of(one.series_ids)) for one in self._log.kept())


_META = ("layout_id", "start_ms", "end_ms", "count")


def _owners(known: Known, layout_id: int) -> Any:
    return known.layouts[layout_id].ids if layout_id in known.layouts else np.zeros(0, np.int64)


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() or 0)


def _ids_after(connection: sa.Connection, table: sa.Table, last: int) -> list[int]:
    query = sa.select(table.c.id).where(table.c.id > last).order_by(table.c.id).limit(_STEP)
    return [int(number) for number in connection.execute(query).scalars()]
