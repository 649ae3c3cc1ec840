"""The database behind the store: connections, transactions, and errors in our own words.

One transaction writes at a time (`writing`, BEGIN IMMEDIATE); any number read (`reading`), each a
consistent snapshot. SQLite runs in WAL mode with synchronous=FULL: a commit is on the disk when it returns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from ninesight_store.config import StoreSettings
from ninesight_store.errors import RetryableError, StoreError, StoreFormatError
from ninesight_store.schema import APPLICATION_ID, FORMAT_VERSION, INFO_KEYS, TABLES, UPGRADES, info

__all__ = ["Database"]

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
_READERS_MAX = 32


class Database:
    """An open database. Safe to use from many threads."""

    def __init__(self, url: str | Path, settings: StoreSettings, *, read_only: bool = False) -> None:
        self.url = _url_of(url)
        self.read_only = read_only
        self._settings = settings
        if self.url.get_backend_name() != "sqlite":
            raise StoreFormatError(
                f"store.url must name an SQLite database (sqlite:///path/ninesight.db), "
                f"got {self.url.render_as_string(hide_password=True)}"
            )
        if not self.url.database or self.url.database == ":memory:":
            raise StoreFormatError(
                "store.url must name a file; use MemoryStore for data that need not survive"
            )
        self.path = Path(self.url.database)
        self._engine = self._engine_of()
        self._immediate = self._engine.execution_options(immediate=True)
        try:
            self._open()
        except BaseException:
            self._engine.dispose()
            raise

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection inside one read transaction. Raises RetryableError or StoreError."""
        with self._translated("reading"), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a connection inside the one write transaction; commits at the end, rolls back on any error."""
        if self.read_only:
            raise StoreError(f"{self.path} was opened read-only; write through the process that owns it")
        with self._translated("writing"), self._immediate.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close all connections. Safe to call twice."""
        self._engine.dispose()

    def size_bytes(self) -> int:
        """Return the bytes on the disk, the write-ahead log included."""
        names = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(name.stat().st_size for name in names if name.exists())

    def _engine_of(self) -> sa.Engine:
        url = self.url
        if self.read_only:
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
        if not self.read_only:
            run("PRAGMA journal_mode=WAL")
            run("PRAGMA synchronous=FULL")
            run(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            if self._settings.size_bytes_max:
                page_bytes = run("PRAGMA page_size").fetchone()[0]
                run(f"PRAGMA max_page_count={max(1, self._settings.size_bytes_max // page_bytes)}")
        run(f"PRAGMA cache_size=-{_CACHE_KIB}")

    def _open(self) -> None:
        with self._translated("opening"):
            with self._engine.connect() as connection, connection.begin():
                version = self._version(connection)
            if version is None:
                self._create()
            elif version < FORMAT_VERSION and not self.read_only:
                self._upgrade()

    def _version(self, connection: sa.Connection) -> int | None:
        tables = set(sa.inspect(connection).get_table_names())
        application = connection.exec_driver_sql("PRAGMA application_id").scalar()
        if info.name not in tables:
            if application not in (0, APPLICATION_ID) or any(name in tables for name in TABLES.tables):
                raise StoreFormatError(f"{self.path} belongs to another program; point store.url elsewhere")
            if self.read_only:
                raise StoreFormatError(f"{self.path} holds no ninesight store yet; open it for writing first")
            return None
        version = connection.execute(sa.select(info.c.value).where(info.c.key == "format")).scalar()
        if version is None or version > FORMAT_VERSION:
            raise StoreFormatError(
                f"{self.path} has store format {version}, this version reads up to {FORMAT_VERSION}; upgrade ninesight"
            )
        return int(version)

    def _create(self) -> None:
        with self._immediate.connect() as connection, connection.begin():
            if self._version(connection) is not None:
                return
            TABLES.create_all(connection)
            start = {"format": FORMAT_VERSION, "series_next": 1, "layout_next": 1}
            rows = [{"key": key, "value": start.get(key, 0)} for key in INFO_KEYS]
            connection.execute(sa.insert(info), rows)
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")

    def _upgrade(self) -> None:
        """Bring an older format up to ours, all in one transaction. A read-only store reads it as it is."""
        with self._immediate.connect() as connection, connection.begin():
            for version in range(self._version(connection) or FORMAT_VERSION, FORMAT_VERSION):
                for statement in UPGRADES[version]:
                    connection.exec_driver_sql(statement)
            connection.execute(sa.update(info).where(info.c.key == "format").values(value=FORMAT_VERSION))

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except exc.TimeoutError as error:
            raise RetryableError(f"{doing} {self.path}: no connection was free, try again") from error
        except exc.DBAPIError as error:
            text = str(error.orig)
            low = text.lower()
            if any(part in low for part in _NOT_OURS):
                raise StoreFormatError(
                    f"{doing} {self.path}: not a usable ninesight store ({text})"
                ) from error
            if any(part in low for part in _TRANSIENT) or isinstance(error, exc.OperationalError):
                raise RetryableError(f"{doing} {self.path}: {text}; nothing was kept, try again") from error
            raise StoreError(f"{doing} {self.path}: {text}") from error


def _begin(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _url_of(url: str | Path) -> sa.URL:
    if isinstance(url, Path):
        return sa.URL.create("sqlite", database=str(url))
    try:
        return sa.make_url(url)
    except exc.ArgumentError as error:
        raise StoreFormatError(
            f"store.url must be a SQLAlchemy address such as sqlite:///ninesight.db, got {url!r}"
        ) from error
