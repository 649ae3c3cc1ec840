"""The database behind the store: transactions, the format, and errors in our own words.

One transaction writes at a time (`writing`); any number read (`reading`), each a consistent snapshot. What
a commit promises is the same everywhere: it is on the disk when it returns. How, is the backend's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import exc

from ninesight_store.address import shown, url_of
from ninesight_store.backend import Backend, backend_for
from ninesight_store.config import StoreSettings
from ninesight_store.errors import RetryableError, StoreError, StoreFormatError
from ninesight_store.migration import stamp, upgrade
from ninesight_store.schema import FORMAT_VERSION, INFO_KEYS, TABLES, info

__all__ = ["Database"]


class Database:
    """An open database. Safe to use from many threads."""

    def __init__(self, url: str | Path, settings: StoreSettings, *, read_only: bool = False) -> None:
        self.url = url_of(url)
        self.read_only = read_only
        self.name = shown(self.url)
        """For messages."""
        self.backend: Backend = backend_for(self.url, settings, read_only=read_only)
        try:
            self._open()
        except BaseException:
            self.backend.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection inside one read transaction. Raises RetryableError or StoreError."""
        with self._translated("reading"), self.backend.reader().connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a connection inside the one write transaction; commits at the end, rolls back on any error."""
        if self.read_only:
            raise StoreError(f"{self.name} was opened read-only; write through the process that owns it")
        with self._translated("writing"), self.backend.writer().connect() as connection, connection.begin():
            self.backend.lock(connection)
            yield connection

    @contextmanager
    def maintaining(self) -> Iterator[bool]:
        """Tell whether this process may do maintenance for the length of the block."""
        with self._translated("maintaining"), self.backend.elected() as elected:
            yield elected

    def close(self) -> None:
        """Close all connections. Safe to call twice."""
        self.backend.close()

    def _open(self) -> None:
        with self._translated("opening"):
            with self.backend.reader().connect() as connection, connection.begin():
                version = self._version(connection)
            if self.read_only or version == FORMAT_VERSION:
                return
            with self.backend.writer().connect() as connection, connection.begin():
                self.backend.lock(connection)
                # Read again: another process may have been first.
                version = self._version(connection)
                if version is None:
                    self._create(connection)
                elif version < FORMAT_VERSION:
                    upgrade(connection, version)

    def _version(self, connection: sa.Connection) -> int | None:
        tables = set(sa.inspect(connection).get_table_names())
        if info.name not in tables:
            self.backend.refuse_foreign(connection, tables)
            if self.read_only:
                raise StoreFormatError(f"{self.name} holds no ninesight store yet; open it for writing first")
            return None
        version = connection.execute(sa.select(info.c.value).where(info.c.key == "format")).scalar()
        if version is None or version > FORMAT_VERSION:
            raise StoreFormatError(
                f"{self.name} has store format {version}, this version reads up to {FORMAT_VERSION}; upgrade ninesight"
            )
        return int(version)

    def _create(self, connection: sa.Connection) -> None:
        TABLES.create_all(connection)
        start = {"format": FORMAT_VERSION, "series_next": 1, "layout_next": 1}
        rows = [{"key": key, "value": start.get(key, 0)} for key in INFO_KEYS]
        connection.execute(sa.insert(info), rows)
        stamp(connection, FORMAT_VERSION)
        self.backend.claim(connection)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except exc.TimeoutError as error:
            raise RetryableError(f"{doing} {self.name}: no connection was free, try again") from error
        except exc.DBAPIError as error:
            text = " ".join(str(error.orig).split())
            kind = self.backend.error_kind(error)
            if kind is StoreFormatError:
                text = f"not a usable ninesight store ({text})"
            elif issubclass(kind, RetryableError):
                text = f"{text}; {self.backend.way_out(error) or 'nothing was kept, try again'}"
            raise kind(f"{doing} {self.name}: {text}") from error
