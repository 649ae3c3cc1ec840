"""What differs between databases, behind one face.

| | SQLite | PostgreSQL |
| --- | --- | --- |
| one writer at a time | `BEGIN IMMEDIATE` | a transaction-level advisory lock, across processes and hosts |
| a reader's snapshot | `BEGIN` in WAL mode | `REPEATABLE READ, READ ONLY` |
| on the disk at commit | `synchronous=FULL` | `synchronous_commit=on`, set by every connection |
| one maintainer | not needed: steps that lose a race are given up | an advisory lock while it works |
| its own check | `PRAGMA integrity_check` | the server's `pg_amcheck` and `--data-checksums` |
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import exc

from ninesight_store.address import shown
from ninesight_store.config import StoreSettings
from ninesight_store.errors import StoreError, StoreFormatError

__all__ = ["Backend", "backend_for", "missing_driver"]


class Backend(Protocol):
    """One database. Safe to use from many threads."""

    url: sa.URL

    def reader(self) -> sa.Engine:
        """Return the engine whose transactions are consistent snapshots."""

    def writer(self) -> sa.Engine:
        """Return the engine whose transactions write."""

    def close(self) -> None:
        """Close all connections."""

    def lock(self, connection: sa.Connection) -> None:
        """Make this transaction the only one that writes; first statement of every write transaction."""

    def refuse_foreign(self, connection: sa.Connection, tables: set[str]) -> None:
        """Raise StoreFormatError if a database without our tables is somebody else's."""

    def claim(self, connection: sa.Connection) -> None:
        """Mark a database as ours and set what its new tables need."""

    def size_bytes(self, connection: sa.Connection) -> int:
        """Return what the store takes on the disk."""

    def used_bytes(self, connection: sa.Connection) -> int:
        """Return what the store's rows take, without what waits to be used again; for retention by size."""

    def free_bytes(self, connection: sa.Connection) -> int:
        """Return how much of it waits to be used again, as far as that is known."""

    def check(self, connection: sa.Connection, reasons_max: int) -> list[str]:
        """Return what the database's own check finds wrong with its pages."""

    def error_kind(self, error: exc.DBAPIError) -> type[StoreError]:
        """Return which of our errors this one is."""

    def way_out(self, error: exc.DBAPIError) -> str:
        """Return what a person must do about an error that trying again will not mend, else ""."""

    def elected(self) -> AbstractContextManager[bool]:
        """Tell whether this process may do maintenance; it keeps the right until the end of the block."""


def backend_for(url: sa.URL, settings: StoreSettings, *, read_only: bool) -> Backend:
    """Return the backend of an address. Raises StoreFormatError if we have none for it."""
    name = url.get_backend_name()
    if name == "sqlite":
        from ninesight_store.backend_sqlite import SqliteBackend

        return SqliteBackend(url, settings, read_only=read_only)
    if name == "postgresql":
        from ninesight_store.backend_postgresql import PostgresqlBackend

        return PostgresqlBackend(url, settings, read_only=read_only)
    raise StoreFormatError(
        f"store.url must name SQLite (sqlite:///path/ninesight.db) or PostgreSQL "
        f"(postgresql+psycopg://user@host/database), got {shown(url)}"
    )


@contextmanager
def missing_driver(url: sa.URL) -> Iterator[None]:
    """Turn an absent driver into an error that says how to get it."""
    try:
        yield
    except (ModuleNotFoundError, ImportError) as error:
        raise StoreFormatError(
            f"{shown(url)} needs the Python package {error.name or 'psycopg'}; pip install 'ninesight[suite]'"
        ) from error
