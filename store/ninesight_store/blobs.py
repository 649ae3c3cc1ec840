"""Fetching rows with blobs by id. A page that SQLite cannot read costs the rows on it, not the whole answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

__all__ = ["fetch_by_id"]


def fetch_by_id(
    connection: sa.Connection,
    columns: Sequence[sa.ColumnElement[Any]],
    ids: Sequence[int],
    lost: Callable[[int, str], None],
    *,
    together: int,
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows with these ids, `together` at a time; `columns` begin with the id.

    `lost` is told of each row that cannot be read, with the reason.
    """
    query = sa.select(*columns)
    for at in range(0, len(ids), together):
        part = ids[at : at + together]
        try:
            rows = [tuple(row) for row in connection.execute(query.where(columns[0].in_(part)))]
        except exc.DatabaseError as error:
            if not _malformed(error):
                raise
            rows = []
            for number in part:
                try:
                    rows += [tuple(row) for row in connection.execute(query.where(columns[0] == number))]
                except exc.DatabaseError as single:
                    if not _malformed(single):
                        raise
                    lost(number, f"its pages cannot be read ({single.orig})")
        yield from rows


def _malformed(error: exc.DatabaseError) -> bool:
    return "malformed" in str(error.orig).lower()
