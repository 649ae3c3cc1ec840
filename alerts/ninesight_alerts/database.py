"""Connections to the database that alerts share with the store.

SQLite: WAL, `synchronous=FULL` (a committed row survives a power cut), a busy timeout, and writes
that begin IMMEDIATE, so that two processes wait for each other instead of failing half way.
PostgreSQL: a read is one REPEATABLE READ snapshot; commits are durable whatever the server's default is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, inspect, make_url, select
from sqlalchemy.pool import QueuePool

from ninesight_alerts.errors import AlertsError
from ninesight_alerts.migration import stamp, upgrade
from ninesight_alerts.tables import SCHEMA_VERSION, meta, metadata

__all__ = ["Database"]

BUSY_TIMEOUT_MS = 30_000
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('ninesight.alerts.create.' || current_schema(), 0))"
"""Two processes that start at once make the tables once."""
WAL_ATTEMPTS_MAX = 50


class Database:
    """Hands out transactions. Safe to use from many threads.

    `read_only` refuses writes and creates nothing, so that pages in another process can look.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self._url = make_url(url)
        if self._url.get_backend_name() == "postgresql":
            self._url = self._url.set(drivername="postgresql+psycopg")
        self._read_only = read_only
        self._engine = _engine(self._url, read_only=read_only)
        options: dict[str, Any] = {"ninesight_read": True}
        if self._url.get_backend_name() == "postgresql":
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reader = self._engine.execution_options(**options)

    @property
    def exists(self) -> bool:
        """False while the SQLite file has not been created yet."""
        file = self._url.database if self._url.get_backend_name() == "sqlite" else None
        return file is None or Path(file).exists()

    def create(self) -> None:
        """Create the tables, or bring older ones up. Raises AlertsError if they are of a newer version."""
        assert not self._read_only
        if self._url.get_backend_name() == "sqlite":
            if not self._url.database or self._url.database == ":memory:":
                raise AlertsError(
                    "alerts need a database on disk to survive a crash; give a URL like sqlite:///ninesight.db"
                )
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        with self.write() as connection:
            if self._url.get_backend_name() == "postgresql":
                connection.exec_driver_sql(_ALONE)
            found = self._version(connection)
            if found is None:
                metadata.create_all(connection)
                connection.execute(insert(meta).values(key="schema_version", value=str(SCHEMA_VERSION)))
                stamp(connection, SCHEMA_VERSION)
            elif found > SCHEMA_VERSION:
                raise AlertsError(
                    f"the alerts tables must be of schema version {SCHEMA_VERSION} or older, got {found}; "
                    "run the version that made them"
                )
            elif found < SCHEMA_VERSION:
                upgrade(connection, found)

    def _version(self, connection: Connection) -> int | None:
        if not inspect(connection).has_table(meta.name):
            return None
        found = connection.scalar(select(meta.c.value).where(meta.c.key == "schema_version"))
        return None if found is None else int(found)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back if it raises."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of the database."""
        with self._reader.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close all idle connections. Safe to call twice."""
        self._engine.dispose()


def _use_wal(connection: Any) -> None:
    """Switch to WAL. SQLite refuses at once, without its busy timeout, while another process does the same."""
    for attempt in range(WAL_ATTEMPTS_MAX):
        try:
            if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal":
                return
        except sqlite3.OperationalError:
            if attempt == WAL_ATTEMPTS_MAX - 1:
                raise
        time.sleep(0.1)
    raise AlertsError(
        "the database must be on a file system that supports SQLite's WAL mode; move it to a local disk"
    )


def _engine(url: URL, *, read_only: bool) -> Engine:
    if url.get_backend_name() == "postgresql":
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)

        @event.listens_for(engine, "connect")
        def _prepared(connection: Any, _record: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET synchronous_commit = on")
                if read_only:
                    cursor.execute("SET default_transaction_read_only = on")
            connection.commit()

        return engine
    if url.get_backend_name() != "sqlite":
        shown = url.render_as_string(hide_password=True)
        raise AlertsError(f"alerts need SQLite or PostgreSQL, got {shown}")
    engine = create_engine(
        url, poolclass=QueuePool, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: `_begun` does.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        else:
            _use_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        reads = read_only or connection.get_execution_options().get("ninesight_read")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
