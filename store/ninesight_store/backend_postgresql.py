"""PostgreSQL: several processes and hosts share one store.

    write transaction   advisory lock (waits busy_timeout) ──► READ COMMITTED: sees all that was committed before
    read transaction    REPEATABLE READ, READ ONLY: one snapshot

The lock gives ids in commit order, which is what readers rely on to learn of new series. It is named after the
schema, so that two stores may share a database. Locks belong to transactions: one that dies frees them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from ninesight_store.backend import missing_driver
from ninesight_store.config import StoreSettings
from ninesight_store.errors import FullError, RetryableError, StoreError, StoreFormatError
from ninesight_store.schema import TABLES, chunks, hot

__all__ = ["PostgresqlBackend"]

_log = logging.getLogger("ninesight.store")

_ROW_BYTES = 250
"""A row without its blobs, with its index entries."""
_POOL, _OVERFLOW = 4, 28
_CONNECT_S = 10
_NOT_OURS = frozenset(("42P01", "42703", "42501", "3D000", "3F000", "28P01", "28000"))
"""Undefined table or column, no privilege, no such database or schema, refused password or role."""
_WRITING, _MAINTAINING = "ninesight.store.write", "ninesight.store.maintain"
_KEY = "hashtextextended(%(name)s || '.' || current_schema(), 0)"


class PostgresqlBackend:
    """A `Backend` on a PostgreSQL server (12 or newer)."""

    def __init__(self, url: sa.URL, settings: StoreSettings, *, read_only: bool) -> None:
        self.url = url
        self._settings = settings
        with missing_driver(url):
            self._engine = sa.create_engine(
                url,
                pool_size=_POOL,
                max_overflow=_OVERFLOW,
                pool_timeout=settings.busy_timeout_ms / 1000,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={"connect_timeout": _CONNECT_S, "application_name": "ninesight"}
                | dict(url.query),
            )
        event.listen(self._engine, "connect", _prepare)
        self._reader = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._writer = self._engine.execution_options(isolation_level="READ COMMITTED")

    def reader(self) -> sa.Engine:
        """Return the engine whose transactions are read-only snapshots."""
        return self._reader

    def writer(self) -> sa.Engine:
        """Return the engine whose transactions see what was committed before they took the lock."""
        return self._writer

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def lock(self, connection: sa.Connection) -> None:
        """Wait for the one write lock of this schema, at most `busy_timeout_ms`."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, self._settings.busy_timeout_ms)}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_KEY})", {"name": _WRITING})

    def refuse_foreign(self, connection: sa.Connection, tables: set[str]) -> None:
        """Raise StoreFormatError if some of our tables are there without the one that names the format."""
        if any(name in tables for name in TABLES.tables):
            raise StoreFormatError("the schema holds part of a store; point store.url at another schema")

    def claim(self, connection: sa.Connection) -> None:
        """Tell the server that our columns are compressed already."""
        for table in (hot, chunks):
            for name in ("times", "data"):
                statement = f"ALTER TABLE {table.name} ALTER COLUMN {name} SET STORAGE EXTERNAL"
                connection.exec_driver_sql(statement)

    def size_bytes(self, connection: sa.Connection) -> int:
        """Return the bytes of our tables, their indexes and long values."""
        names = ", ".join(f"'{name}'" for name in TABLES.tables)
        query = f"SELECT sum(pg_total_relation_size(to_regclass(n))) FROM unnest(ARRAY[{names}]) AS n"  # noqa: S608 - our own names
        return int(connection.exec_driver_sql(query).scalar() or 0)

    def used_bytes(self, connection: sa.Connection) -> int:
        """Return the bytes of rows that are there: deleted ones take room until the server's vacuum."""
        limit = self._settings.size_bytes_max
        taken = self.size_bytes(connection)
        if limit and taken <= limit * 8 // 10:
            return taken
        total = 0
        for table in (hot, chunks):
            blobs = (c for c in table.c if isinstance(c.type, sa.LargeBinary))
            size = sum(
                (sa.func.coalesce(sa.func.octet_length(c), 0) for c in blobs), start=sa.literal(_ROW_BYTES)
            )
            total += int(connection.execute(sa.select(sa.func.sum(size)).select_from(table)).scalar() or 0)
        return total

    def free_bytes(self, connection: sa.Connection) -> int:
        """Return 0: only the server's vacuum knows."""
        return 0

    def check(self, connection: sa.Connection, reasons_max: int) -> list[str]:
        """Return nothing: pages are the server's (`pg_amcheck`, data checksums)."""
        return []

    def error_kind(self, error: exc.DBAPIError) -> type[StoreError]:
        """Return which of our errors this one is, by its SQLSTATE."""
        state = getattr(error.orig, "sqlstate", None) or ""
        if state in _NOT_OURS:
            return StoreFormatError
        if state == "53100":
            return FullError
        transient = (exc.OperationalError, exc.InternalError)
        # 25: the server became read-only; 40: serialisation; 53, 57: out of room, stopping.
        if (
            isinstance(error, transient)
            or error.connection_invalidated
            or state[:2] in ("25", "40", "53", "57")
        ):
            return RetryableError
        return StoreError

    def way_out(self, error: exc.DBAPIError) -> str:
        """Return "": the server's words say it."""
        return ""

    @contextmanager
    def elected(self) -> Iterator[bool]:
        """Hold the maintainer's lock for the block, if nobody else does."""
        with self._engine.connect() as connection, connection.begin():
            query = f"SELECT pg_try_advisory_xact_lock({_KEY})"
            yield bool(connection.exec_driver_sql(query, {"name": _MAINTAINING}).scalar())


def _prepare(connection: Any, _record: Any) -> None:
    """Make every commit durable whatever the server's default is; blobs travel as bytes, not as text."""
    import psycopg
    from psycopg import pq

    class BinaryCursor(psycopg.Cursor[Any]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.format = pq.Format.BINARY

    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
        cursor.execute("SHOW fsync")
        if cursor.fetchone()[0] != "on":
            _log.warning(
                "the PostgreSQL server runs with fsync off: a power cut may lose or damage the store"
            )
    connection.commit()
    connection.cursor_factory = BinaryCursor
