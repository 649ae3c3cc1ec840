"""`LocalStore`: the durable store: one SQLite file, or a PostgreSQL database that several hosts share.

    store = LocalStore("sqlite:///ninesight.db")
    store.write(batch)                 # on the disk when it returns
    columns = store.select([Matcher("__name__", MatchOp.EQUAL, "up")], start_ms, end_ms)

Any number of processes may read (`read_only=True`) and write at once; writers take turns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from ninesight_store.backend import Backend
from ninesight_store.backend_sqlite import SqliteBackend
from ninesight_store.catalog import Catalog
from ninesight_store.config import StoreSettings
from ninesight_store.contract import Batch, Columns, Int64, Labels, Matcher, Metadata, SeriesExemplars
from ninesight_store.counters import Counters
from ninesight_store.cover import Cover
from ninesight_store.cover_reader import CoverReader, Keeping
from ninesight_store.damage import Damage, DamageLog
from ninesight_store.database import Database
from ninesight_store.errors import FullError
from ninesight_store.folder import Folder
from ninesight_store.index_snapshot import packed
from ninesight_store.index_table import write_index
from ninesight_store.merger import Merger
from ninesight_store.reader import Reader
from ninesight_store.reports import FillReport, FoldReport, MergeReport, RetainReport, SealReport, StoreStat
from ninesight_store.retention import Retention
from ninesight_store.rollup import ROLLUP_COLUMNS, Rollup
from ninesight_store.rollup_filler import RollupFiller
from ninesight_store.rollup_reader import RollupReader
from ninesight_store.row_cache import RowCache
from ninesight_store.schema import metadata
from ninesight_store.sealer import Sealer
from ninesight_store.stat import read_stat
from ninesight_store.tools import Tools
from ninesight_store.watch import Watch
from ninesight_store.writer import Writer

__all__ = ["LocalStore"]

_log = logging.getLogger("ninesight.store")


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _file_of(backend: Backend) -> Path | None:
    return backend.path if isinstance(backend, SqliteBackend) else None


class LocalStore:
    """A `Sink` and `Source` on SQLite or PostgreSQL. Safe to use from many threads.

    Raises StoreFormatError if the database is not a store, or one of a newer version; RetryableError if
    another process holds it or it cannot be reached.
    """

    def __init__(
        self,
        url: str | Path,
        settings: StoreSettings | None = None,
        *,
        now_ms: Callable[[], int] = _wall_clock_ms,
        read_only: bool = False,
    ) -> None:
        self.settings = settings or StoreSettings()
        self.now_ms = now_ms
        self._database = Database(url, self.settings, read_only=read_only)
        self._damage = DamageLog()
        self._counters = Counters()
        self._catalog = Catalog(self._damage, self._counters)
        cache = RowCache(self.settings.row_cache_bytes_max)
        self._reader = Reader(self._database, self._catalog, cache, self._damage)
        self._watch = Watch(_file_of(self._database.backend))
        self._writer = Writer(self._database, self._catalog, self.settings, self._counters, now_ms)
        covered = (self._database, self._reader, self._writer.moves, self._watch, self._damage)
        self._covers = CoverReader(*covered, self.settings.cover_cache_bytes_max)
        kept = RowCache(self.settings.rollup_cache_bytes_max)
        self._rollups = RollupReader(self._database, self._reader, kept, self._damage)
        tools = Tools(self._database, self._catalog, self._writer, self.settings, self._damage)
        self._sealer, self._merger, self._folder = Sealer(tools), Merger(tools), Folder(tools)
        self._retention, self._filler = Retention(tools), RollupFiller(tools)
        self._upkeep = threading.Lock()
        self._index_kept: tuple[object, ...] = ()

    def write(self, batch: Batch) -> None:
        """Keep the batch; it is on the disk when this returns (see `Sink`)."""
        try:
            self._writer.write(batch)
        except FullError:
            if not self.settings.size_bytes_max:
                raise
            # Refusing is the last resort: room is made of what is oldest, then it is tried once more.
            self.make_room()
            self._writer.write(batch)

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Columns:
        """Return the samples of the matching series within the span, ends included (see `Source`)."""
        return self._reader.select(matchers, start_ms, end_ms)

    def cover(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Cover:
        """Return the same as matrices over at least the span, kept between calls (see `CoverReader.cover`)."""
        return self._covers.cover(matchers, start_ms, end_ms)

    def rollup(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        edges: Int64,
        columns: Collection[str] = ROLLUP_COLUMNS,
    ) -> Rollup:
        """Return the same samples as bins (see `Rollup`); `edges` are ascending times that no bin reaches over.

        `columns` are those wanted of `ROLLUP_COLUMNS`; the fewer, the faster. Raises MatcherError, RetryableError,
        StoreError.
        """
        return self._rollups.rollup(matchers, start_ms, end_ms, edges, columns)

    def kept_covers(self) -> Keeping | None:
        """Return what hands out as `cover` would now, if that needs no reading; else None. Waits for nobody."""
        return self._covers.kept()

    def select_series(self, series: Sequence[Labels], start_ms: int, end_ms: int) -> Columns:
        """Return the samples of exactly these series within the span; unknown ones are left out."""
        return self._reader.select_series(series, start_ms, end_ms)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> tuple[Labels, ...]:
        """Return the matching series that may have samples in the span, sorted (see `Source`)."""
        return self._reader.series(matchers, start_ms, end_ms)

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return the exemplars of the series that any selector matches within the span (see `Source`)."""
        return self._reader.exemplars(selectors, start_ms, end_ms, self.settings.exemplars_per_series_max)

    def metadata(self) -> Iterable[Metadata]:
        """Return what is known of each metric, one entry a metric, sorted by name."""
        with self._database.reading() as connection:
            found = connection.execute(sa.select(metadata)).all()
        # Sorted here: a database may collate text differently.
        return tuple(sorted((Metadata(*row) for row in found), key=lambda entry: entry.metric))

    def seal(self, now_ms: int | None = None) -> SealReport:
        """Compress the hours that are closed at `now_ms`. Raises RetryableError."""
        return self._sealed(lambda: self._sealer.seal(self._at(now_ms)))

    def fold(self, *, fresh: bool = False) -> FoldReport:
        """Join small rows of the same series: those that were there at the call before, with `fresh` all.

        Cheap where nothing is due; `Maintenance` calls it at every turn. Raises RetryableError; what was folded stays.
        """
        with self._upkeep:
            report = self._folder.fold(fresh=fresh)
        self._counters.add("rows_folded", report.rows_before - report.rows_after)
        self._counters.add("samples_folded", report.samples)
        self._counters.add("conflicts", report.conflicts)
        return report

    def relieve(self) -> SealReport:
        """Seal what small batches filled with rows, and drop the oldest hours if the size asks for it.

        Cheap where nothing is due; `Maintenance` calls it at every turn. Raises RetryableError.
        """
        report = self._sealed(self._sealer.seal_crowded)
        self.make_room()
        return report

    def make_room(self) -> RetainReport:
        """Drop the oldest hours until nine tenths of `size_bytes_max` suffice. Raises RetryableError."""
        with self._upkeep:
            report = self._retention.make_room()
            if report.rows or report.chunks:
                self._covers.changed()
        if report.dropped_before_ms is not None:
            self._counters.add("samples_dropped_for_size", report.samples)
            _log.warning("store.size_max_mb: dropped the oldest %d samples to make room", report.samples)
        return report

    def _sealed(self, seal: Callable[[], SealReport]) -> SealReport:
        with self._upkeep:
            report = seal()
            if report.rows:
                self._retention.drop_unused()
        self._counters.add("rows_sealed", report.rows)
        self._counters.add("conflicts", report.conflicts)
        return report

    def merge(self, now_ms: int | None = None) -> MergeReport:
        """Join the hourly chunks of the blocks that are closed at `now_ms`. Raises RetryableError."""
        with self._upkeep:
            report = self._merger.merge(self._at(now_ms))
            if report.chunks_before:
                self._retention.drop_unused()
        self._counters.add("chunks_merged", report.chunks_before)
        self._counters.add("conflicts", report.conflicts)
        return report

    def fill_rollups(self, now_ms: int | None = None) -> FillReport:
        """Add rollups to some of the chunks that an older format left without; bounded. Raises RetryableError."""
        with self._upkeep:
            report = self._filler.fill(self._at(now_ms))
        self._counters.add("rollups_filled", report.rollups)
        return report

    def retain(self, now_ms: int | None = None) -> RetainReport:
        """Drop what is past retention at `now_ms`. Raises RetryableError."""
        with self._upkeep:
            report = self._retention.retain(self._at(now_ms))
            if report.rows or report.chunks:
                self._covers.changed()
        self._counters.add("samples_retired", report.samples)
        return report

    def keep_index(self) -> bool:
        """Keep the label index in the database, so that the next opening need not build it; return whether it changed.

        What comes later is added at opening; without it, or if it is damaged, everything is built from the series.
        Nothing is kept that damage may have touched. Raises RetryableError; then the one before stays.
        """
        with self._upkeep:
            with self._database.reading() as connection:
                known = self._catalog.refresh(connection)
            state = self._catalog.state()
            if state is None or known.info.series_next == 1:
                return False
            layouts = state.layouts
            now = (
                state.series.generation,
                state.series.next_id,
                layouts.generation,
                layouts.next_id,
                layouts.seen,
            )
            if now == self._index_kept:
                return False
            # Packed before writers have to wait.
            head, body = packed(state)
            self._writer.alone(lambda connection, _registry: write_index(connection, head, body))
            self._index_kept = now
        self._counters.add("index_kept")
        return True

    def maintaining(self) -> AbstractContextManager[bool]:
        """Tell whether this process may do maintenance now; of several on one PostgreSQL only one may."""
        return self._database.maintaining()

    def stat(self, *, payload: bool = False) -> StoreStat:
        """Return sizes, ages and counters. Reads no sample.

        With `payload` also what the compressed samples occupy, which takes a look at every chunk: minutes at 10 GB.
        """
        return read_stat(self._database, self._catalog, self._counters, self._damage, payload=payload)

    def damage(self) -> tuple[Damage, ...]:
        """Return what reads had to leave out since the store was opened, the first 1000 parts of it."""
        with self._database.reading() as connection:
            index = self._catalog.refresh(connection).series
        return tuple(replace(one, series=index.labels_of(one.series_ids)) for one in self._damage.kept())

    def close(self) -> None:
        """Close the database. Safe to call twice; the store must not be used afterwards."""
        self._watch.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _at(self, now_ms: int | None) -> int:
        return self.now_ms() if now_ms is None else now_ms
