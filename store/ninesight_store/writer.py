"""Group commit: one transaction at a time, and every batch that waits for it rides in the next one.

    write ──queue──► first in line takes the lock, commits all that wait ──► each caller returns or raises

A lone writer never waits: it finds the queue empty and the lock free.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa

from ninesight_store.catalog import Catalog
from ninesight_store.checks import row_sum
from ninesight_store.config import StoreSettings
from ninesight_store.contract import Batch, Metadata, SeriesTable
from ninesight_store.counters import Counters
from ninesight_store.database import Database
from ninesight_store.errors import StoreError
from ninesight_store.exemplar_table import ExemplarWriter
from ninesight_store.exemplars import fitting
from ninesight_store.hot import HotDraft, drafts_of
from ninesight_store.registry import Registry
from ninesight_store.schema import hot, metadata
from ninesight_store.validation import check_batch, check_metadata, check_table

__all__ = ["Writer"]

_SMALL_BATCH = 1000
_CHECKED_TABLES_MAX = 64


@dataclass(eq=False)
class _Pending:
    batch: Batch
    drafts: list[HotDraft]
    done: bool = False
    error: Exception | None = field(default=None)


class Writer:
    """Writes batches, and anything else that must run alone, through one transaction at a time."""

    def __init__(
        self, database: Database, catalog: Catalog, settings: StoreSettings, counters: Counters
    ) -> None:
        self._database, self._catalog, self._settings, self._counters = database, catalog, settings, counters
        self._lock = threading.Lock()
        self._queue: deque[_Pending] = deque()
        self._arrived = threading.Condition()
        self._registry = Registry()
        self._exemplars = ExemplarWriter(settings)
        self._metadata: dict[str, Metadata] = {}
        self._checked: dict[int, SeriesTable] = {}

    def write(self, batch: Batch) -> None:
        """Keep a batch; it is on the disk when this returns. Raises PermanentError or RetryableError."""
        self._check(batch)
        pending = _Pending(batch, drafts_of(batch))
        with self._arrived:
            self._queue.append(pending)
            self._arrived.notify()
        with self._lock:
            if not pending.done:
                self._wait_for_company(pending)
                self._commit_waiting(pending)
        if pending.error is not None:
            raise pending.error

    def alone(self, work: Callable[[sa.Connection, Registry], None]) -> None:
        """Run `work` in a write transaction of its own; it is committed or leaves no trace."""
        with self._lock:
            try:
                with self._database.writing() as connection:
                    self._begin(connection)
                    work(connection, self._registry)
                    self._registry.flush()
            except BaseException:
                self._registry.forget()
                raise

    def _check(self, batch: Batch) -> None:
        try:
            check_batch(batch)
            check_metadata(batch.metadata)
            # A malformed table may have no digest: what is not known by its identity is checked first.
            if self._checked.get(id(batch.series)) is not batch.series:
                check_table(batch.series)
                if len(self._checked) >= _CHECKED_TABLES_MAX:
                    self._checked.clear()
                self._checked[id(batch.series)] = batch.series
        except StoreError as error:
            self._counters.add("batches_refused")
            self._counters.add("samples_refused", getattr(error, "refused", 0))
            raise

    def _wait_for_company(self, pending: _Pending) -> None:
        if self._settings.group_commit_ms_max and len(pending.batch) < _SMALL_BATCH:
            enough = self._settings.group_commit_batches_max
            with self._arrived:
                self._arrived.wait_for(
                    lambda: len(self._queue) >= enough, self._settings.group_commit_ms_max / 1000
                )

    def _commit_waiting(self, own: _Pending) -> None:
        while not own.done:
            group: list[_Pending] = []
            while self._queue and len(group) < self._settings.group_commit_batches_max:
                group.append(self._queue.popleft())
            try:
                self._commit(group)
            except Exception as error:
                self._registry.forget()
                self._metadata.clear()
                self._counters.add("commits_failed")
                for pending in group:
                    pending.error = error
            for pending in group:
                pending.done = True

    def _commit(self, group: list[_Pending]) -> None:
        with self._database.writing() as connection:
            self._begin(connection)
            rows = [self._row(pending.batch, draft) for pending in group for draft in pending.drafts]
            if rows:
                connection.execute(sa.insert(hot), rows)
            kept = 0
            for pending in group:
                if pending.batch.metadata:
                    self._write_metadata(connection, pending.batch.metadata)
                if len(pending.batch.exemplars):
                    kept += self._write_exemplars(connection, pending.batch)
            self._registry.flush()
        self._count_exemplars(group, kept)
        self._counters.add("commits")
        self._counters.add("batches_written", len(group))
        self._counters.add("samples_written", sum(len(pending.batch) for pending in group))

    def _write_exemplars(self, connection: sa.Connection, batch: Batch) -> int:
        ids = self._registry.ids_of(batch.series).tolist()
        return self._exemplars.insert(connection, [(ids[row], one) for row, one in fitting(batch.exemplars)])

    def _count_exemplars(self, group: list[_Pending], kept: int) -> None:
        given = sum(len(pending.batch.exemplars) for pending in group)
        if given:
            self._counters.add("exemplars_written", kept)
            self._counters.add("exemplars_left_out", given - kept)

    def _begin(self, connection: sa.Connection) -> None:
        known = self._catalog.refresh(connection)
        self._registry.begin(connection, known.series, known.info)

    def _row(self, batch: Batch, draft: HotDraft) -> dict[str, object]:
        head = {
            "kind": draft.kind,
            "layout_id": self._registry.layout_of(batch.series, draft.rows),
            "start_ms": draft.start_ms,
            "end_ms": draft.end_ms,
            "count": draft.count,
        }
        checksum = row_sum(draft.body_sum, **head)
        body = {"times": draft.times, "data": draft.data, "checksum": checksum, "starts": draft.starts}
        return {"hour": draft.hour, **head, **body}

    def _write_metadata(self, connection: sa.Connection, entries: tuple[Metadata, ...]) -> None:
        for entry in entries:
            if self._metadata.get(entry.metric) == entry:
                continue
            connection.execute(sa.delete(metadata).where(metadata.c.metric == entry.metric))
            row = {"metric": entry.metric, "kind": entry.kind, "unit": entry.unit, "help": entry.help}
            connection.execute(sa.insert(metadata).values(**row))
            self._metadata[entry.metric] = entry
