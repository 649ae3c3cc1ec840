"""The address of a database, and how it is shown: never with a password."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import exc

from ninesight_store.errors import StoreFormatError

__all__ = ["shown", "url_of"]

_EXAMPLES = "sqlite:///ninesight.db or postgresql+psycopg://user:password@host/database"


def url_of(address: str | Path) -> sa.URL:
    """Return a SQLAlchemy URL; a path names an SQLite file. Raises StoreFormatError."""
    if isinstance(address, Path):
        return sa.URL.create("sqlite", database=str(address))
    try:
        url = sa.make_url(address)
    except (exc.ArgumentError, ValueError):
        # What cannot be read may hold a password anywhere: nothing behind :// is repeated, nor is the cause.
        scheme, mark, _ = address.partition("://")
        given = f"{scheme}://..." if mark else "something without ://"
        raise StoreFormatError(
            f"store.url must be a SQLAlchemy address such as {_EXAMPLES}, got {given}"
        ) from None
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    return url


def shown(url: sa.URL) -> str:
    """Return the address for messages: without password and options, which may hold secrets too."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    user = f"{url.username}@" if url.username else ""
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{user}{url.host or ''}{port}/{url.database or ''}"
