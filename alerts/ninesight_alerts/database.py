"""Connections to the database that alerts share with the store.

SQLite: WAL, `synchronous=FULL` (a committed row survives a power cut), a busy timeout, and writes
that begin IMMEDIATE, so that two processes wait for each other instead of failing half way.
Any other SQLAlchemy URL is used as it is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, make_url, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool

from ninesight_alerts.errors import AlertsError
from ninesight_alerts.tables import SCHEMA_VERSION, meta, metadata

__all__ = ["Database"]

BUSY_TIMEOUT_MS = 30_000
WAL_ATTEMPTS_MAX = 50


class Database:
    """Hands out transactions. Safe to use from many threads.

    `read_only` refuses writes and creates nothing, so that pages in another process can look.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self._url = make_url(url)
        self._read_only = read_only
        self._engine = _engine(url, read_only=read_only)

    @property
    def exists(self) -> bool:
        """False while the SQLite file has not been created yet."""
        file = self._url.database if self._url.get_backend_name() == "sqlite" else None
        return file is None or Path(file).exists()

    def create(self) -> None:
        """Create what is missing. Raises AlertsError if the tables are of another version."""
        assert not self._read_only
        if self._url.get_backend_name() == "sqlite":
            if not self._url.database or self._url.database == ":memory:":
                raise AlertsError(
                    "alerts need a database on disk to survive a crash; give a URL like sqlite:///ninesight.db"
                )
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        with self.write() as connection:
            metadata.create_all(connection)
            found = connection.scalar(select(meta.c.value).where(meta.c.key == "schema_version"))
        if found is None:
            try:
                with self.write() as connection:
                    connection.execute(insert(meta).values(key="schema_version", value=str(SCHEMA_VERSION)))
            except IntegrityError:
                # Another process was first.
                found = str(SCHEMA_VERSION)
        elif found != str(SCHEMA_VERSION):
            raise AlertsError(
                f"the alerts tables must be of schema version {SCHEMA_VERSION}, got {found}; run the version that made them"
            )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back if it raises."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of the database."""
        with self._engine.connect().execution_options(ninesight_read=True) as connection:
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


def _engine(url: str, *, read_only: bool) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
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
