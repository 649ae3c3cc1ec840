"""Writing: batches are checked, gathered (group_commit.py) and committed one transaction at a time."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from ninesight_store.catalog import Catalog
from ninesight_store.checks import row_sum
from ninesight_store.config import HOUR_MS, StoreSettings
from ninesight_store.contract import Batch, SeriesTable
from ninesight_store.counters import Counters
from ninesight_store.database import Database
from ninesight_store.errors import Amount, LateError, StoreError
from ninesight_store.exemplar_table import ExemplarWriter
from ninesight_store.exemplars import fitting
from ninesight_store.group_commit import GroupCommit, Pending
from ninesight_store.hot import HotDraft, drafts_of
from ninesight_store.late import amount_of, without_late
from ninesight_store.metadata_table import MetadataWriter
from ninesight_store.moves import Moves
from ninesight_store.registry import Registry
from ninesight_store.schema import hot
from ninesight_store.validation import check_batch, check_metadata, check_table

__all__ = ["Writer"]

_CHECKED_TABLES_MAX = 64


class Writer:
    """Writes batches, and anything else that must run alone, through one transaction at a time."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        settings: StoreSettings,
        counters: Counters,
        now_ms: Callable[[], int],
    ) -> None:
        self._now_ms = now_ms
        self._database, self._catalog, self._settings, self._counters = database, catalog, settings, counters
        self._commits = GroupCommit(self._commit_or_forget, settings)
        self._registry = Registry()
        self.moves = Moves()
        self._exemplars = ExemplarWriter(settings)
        self._metadata = MetadataWriter()
        self._checked: dict[int, SeriesTable] = {}

    def write(self, batch: Batch) -> None:
        """Keep a batch; it is on the disk when this returns. Raises PermanentError or RetryableError."""
        self._check(batch)
        fresh, oldest_ms = self._timely(batch)
        late = len(batch) - len(fresh)
        if late == 0 or len(fresh) or fresh.metadata or len(fresh.exemplars):
            self._commits.submit(Pending(fresh, drafts_of(fresh)))
        if late:
            self._refuse(batch, fresh, oldest_ms)

    def alone(self, work: Callable[[sa.Connection, Registry], None]) -> None:
        """Run `work` in a write transaction of its own; it is committed or leaves no trace."""
        with self._commits.alone():
            try:
                with self._database.writing() as connection:
                    self._begin(connection)
                    work(connection, self._registry)
                    self._registry.flush()
            except BaseException:
                self._registry.forget()
                raise

    def move(self, work: Callable[[sa.Connection, Registry], None], row_last: int = 0) -> None:
        """Like `alone`, for work that only moves samples: hot rows with ids up to `row_last`, or chunks."""
        self.moves.do(self.alone, work, row_last)

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

    def _timely(self, batch: Batch) -> tuple[Batch, int]:
        """Return what of the batch is not too old, and the time before which anything is."""
        window = self._settings.late_ms_max
        if window is None:
            return batch, 0
        oldest_ms = self._now_ms() - window
        fresh = without_late(batch, oldest_ms)
        if gone := len(batch.exemplars) - len(fresh.exemplars):
            self._counters.add("exemplars_left_out", gone)
        return fresh, oldest_ms

    def _refuse(self, batch: Batch, fresh: Batch, oldest_ms: int) -> None:
        given, kept = amount_of(batch), amount_of(fresh)
        late = Amount(*(all_of - some for all_of, some in zip(given, kept, strict=True)))
        count = len(batch) - len(fresh)
        self._counters.add("samples_refused", count)
        self._counters.add("samples_refused_late", count)
        hours = (self._settings.late_ms_max or 0) / HOUR_MS
        raise LateError(
            f"samples must be at most {hours:g} h old when they arrive, {count} were older and are refused, "
            f"{len(fresh)} others were kept; raise store.late_max and store.retention, or check the sender's clock",
            late=late,
            fresh=kept,
            oldest_ms=oldest_ms,
        )

    def _commit_or_forget(self, group: list[Pending]) -> None:
        try:
            self._commit(group)
        except BaseException:
            self._registry.forget()
            self._metadata.forget()
            self._counters.add("commits_failed")
            raise

    def _commit(self, group: list[Pending]) -> None:
        with self._database.writing() as connection:
            self._begin(connection)
            rows = [self._row(pending.batch, draft) for pending in group for draft in pending.drafts]
            if rows:
                connection.execute(sa.insert(hot), rows)
            kept = 0
            for pending in group:
                if pending.batch.metadata:
                    self._metadata.write(connection, pending.batch.metadata)
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

    def _count_exemplars(self, group: list[Pending], kept: int) -> None:
        given = sum(len(pending.batch.exemplars) for pending in group)
        if given:
            self._counters.add("exemplars_written", kept)
            self._counters.add("exemplars_left_out", given - kept)

    def _begin(self, connection: sa.Connection) -> None:
        known = self._catalog.refresh(connection, hours=False)
        self._registry.begin(connection, known.series, known.info)
        self._metadata.begin(known.info.metadata_changes)

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
