"""SQLite: one file in WAL mode, `synchronous=FULL`; any number of processes read while one writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from ninesight_store.config import StoreSettings
from ninesight_store.errors import FullError, RetryableError, StoreError, StoreFormatError
from ninesight_store.schema import APPLICATION_ID, TABLES

__all__ = ["SqliteBackend"]

_TRANSIENT = ("locked", "busy", "disk is full", "disk i/o error", "unable to open", "readonly")
_NOT_OURS = (
    "not a database",
    "malformed",
    "could not decode",
    "no such table",
    "no such column",
    "unsupported file format",
)
_CACHE_KIB = 16_384
_CHECKPOINT_PAGES = 4000
_LOG_BYTES_MAX = 32 * 2**20
"""The log is cut back to this when it begins anew; it outgrows it only while one snapshot (a backup) is held."""
_READERS_MAX = 32


class SqliteBackend:
    """A `Backend` on one file."""

    def __init__(self, url: sa.URL, settings: StoreSettings, *, read_only: bool) -> None:
        if not url.database or url.database == ":memory:":
            raise StoreFormatError(
                "store.url must name a file; use MemoryStore for data that need not survive"
            )
        self.url = url
        self.path = Path(url.database)
        self._read_only, self._settings = read_only, settings
        self._engine = self._engine_of()
        self._immediate = self._engine.execution_options(immediate=True)

    def reader(self) -> sa.Engine:
        """Return the engine whose transactions begin as snapshots."""
        return self._engine

    def writer(self) -> sa.Engine:
        """Return the engine whose transactions begin with the write lock."""
        return self._immediate

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def lock(self, connection: sa.Connection) -> None:
        """BEGIN IMMEDIATE has locked already."""

    def refuse_foreign(self, connection: sa.Connection, tables: set[str]) -> None:
        """Raise StoreFormatError if the file has another program's mark, or half of our tables."""
        application = connection.exec_driver_sql("PRAGMA application_id").scalar()
        if application not in (0, APPLICATION_ID) or any(name in tables for name in TABLES.tables):
            raise StoreFormatError(f"{self.path} belongs to another program; point store.url elsewhere")

    def claim(self, connection: sa.Connection) -> None:
        """Mark the file as ours."""
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")

    def size_bytes(self, connection: sa.Connection) -> int:
        """Return the bytes of the file and its write-ahead log."""
        names = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(name.stat().st_size for name in names if name.exists())

    def used_bytes(self, connection: sa.Connection) -> int:
        """Return the bytes of pages in use."""
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
        page = connection.exec_driver_sql("PRAGMA page_size").scalar() or 0
        return int(pages * page) - self.free_bytes(connection)

    def free_bytes(self, connection: sa.Connection) -> int:
        """Return the bytes of free pages."""
        free = connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0
        page = connection.exec_driver_sql("PRAGMA page_size").scalar() or 0
        return int(free * page)

    def check(self, connection: sa.Connection, reasons_max: int) -> list[str]:
        """Return what SQLite finds wrong with its pages and indexes."""
        found = connection.exec_driver_sql(f"PRAGMA integrity_check({reasons_max})").scalars().all()
        return [str(reason) for reason in found if reason != "ok"]

    def error_kind(self, error: exc.DBAPIError) -> type[StoreError]:
        """Return which of our errors this one is, by SQLite's words."""
        text = str(error.orig).lower()
        if any(part in text for part in _NOT_OURS):
            return StoreFormatError
        if "is full" in text:
            return FullError
        if any(part in text for part in _TRANSIENT) or isinstance(error, exc.OperationalError):
            return RetryableError
        return StoreError

    def way_out(self, error: exc.DBAPIError) -> str:
        """Say what files and folders must allow; a full or locked disk only takes patience."""
        text = str(error.orig).lower()
        if not any(part in text for part in ("readonly", "unable to open")):
            return ""
        needs = f"{self.path} and its folder must be there and writable for this user"
        if self._read_only:
            return f"{needs}, or its writer must be running (SQLite keeps a log beside it); or read a backup"
        return f"{needs}; nothing was kept, try again"

    @contextmanager
    def elected(self) -> Iterator[bool]:
        """Every process may: a step that another one did first is given up, and nothing is lost."""
        yield True

    def _engine_of(self) -> sa.Engine:
        url = self.url
        if self._read_only:
            url = url.set(database=f"file:{self.path}", query={**url.query, "mode": "ro", "uri": "true"})
        engine = sa.create_engine(
            url,
            pool_size=_READERS_MAX,
            max_overflow=0,
            pool_timeout=self._settings.busy_timeout_ms / 1000,
            connect_args={"timeout": self._settings.busy_timeout_ms / 1000, "check_same_thread": False},
        )
        event.listen(engine, "connect", self._prepare)
        event.listen(engine, "begin", _begin)
        return engine

    def _prepare(self, connection: sqlite3.Connection, _record: Any) -> None:
        # The driver must not open transactions of its own: BEGIN is ours (see _begin).
        connection.isolation_level = None
        run = connection.execute
        if not self._read_only:
            run("PRAGMA journal_mode=WAL")
            run("PRAGMA synchronous=FULL")
            run(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            run(f"PRAGMA journal_size_limit={_LOG_BYTES_MAX}")
            if self._settings.size_bytes_max:
                page_bytes = run("PRAGMA page_size").fetchone()[0]
                run(f"PRAGMA max_page_count={max(1, self._settings.size_bytes_max // page_bytes)}")
        run(f"PRAGMA cache_size=-{_CACHE_KIB}")


def _begin(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
