"""The index snapshot (index_snapshot.py) in the database: rows of at most a mebibyte, replaced in one transaction.

    part 0    the head           part 1 ...    the body, cut

Only the store reads it, and it may do without: what is absent, damaged or of another version is built from the
series themselves. A snapshot that is older than the tables is brought up as a process that slept would be.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import sqlalchemy as sa

from ninesight_store.blobs import fetch_by_id
from ninesight_store.damage import INDEX, Damage
from ninesight_store.index_snapshot import unpacked
from ninesight_store.layouts import LayoutTable
from ninesight_store.schema import index_parts, series
from ninesight_store.series_index import SeriesIndex
from ninesight_store.stored_labels import labels_key, labels_text

__all__ = ["DamagedIndexError", "read_index", "write_index"]

_PART_BYTES = 2**20
_TOGETHER = 16


class DamagedIndexError(Exception):
    """The snapshot cannot be used; carries what is wrong with it."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.damage = Damage(INDEX, number, f"{reason}; the index is built from the series instead")


def write_index(connection: sa.Connection, head: bytes, body: bytes) -> None:
    """Replace the snapshot, inside a write transaction."""
    cuts = [body[at : at + _PART_BYTES] for at in range(0, len(body), _PART_BYTES)]
    connection.execute(sa.delete(index_parts))
    for number, data in enumerate([head, *cuts]):
        row = {"id": number, "checksum": _sum(number, data), "data": data}
        connection.execute(sa.insert(index_parts).values(**row))


def read_index(
    connection: sa.Connection, present: tuple[int, int, int, int]
) -> tuple[SeriesIndex, LayoutTable] | None:
    """Return what was written, None if nothing was. Raises DamagedIndexError if it is not as it was written.

    `present`: the next ids of series and layouts, and their generations.
    """
    ids = [int(number) for number in connection.execute(_IDS).scalars()]
    if not ids:
        return None
    if ids != list(range(len(ids))):
        raise DamagedIndexError(0, f"it must have parts 0 to {len(ids) - 1}, got {ids[:5]} ...")
    parts = _parts(connection, ids)
    try:
        index, table = unpacked(parts[0], b"".join(parts[1:]))
    except ValueError as error:
        raise DamagedIndexError(0, str(error)) from error
    known = (index.next_id, table.next_id, index.generation, table.generation)
    if any(kept > now for kept, now in zip(known, present, strict=True)):
        raise DamagedIndexError(0, f"it must not be ahead of the tables ({known}, they are at {present})")
    _check_newest(connection, index)
    return index, table


def _parts(connection: sa.Connection, ids: Sequence[int]) -> list[bytes]:
    def lost(number: int, reason: str) -> None:
        raise DamagedIndexError(number, reason)

    found: dict[int, bytes] = {}
    for number, checksum, data in fetch_by_id(connection, list(index_parts.c), ids, lost, together=_TOGETHER):
        if _sum(number, data) != checksum:
            raise DamagedIndexError(number, "its checksum does not match")
        found[number] = bytes(data)
    return [found[number] for number in ids]


def _check_newest(connection: sa.Connection, index: SeriesIndex) -> None:
    """Compare the newest series of both with its key: tables of two stores put together would differ."""
    query = sa.select(series.c.id, series.c.key).where(series.c.id < index.next_id)
    row = connection.execute(query.order_by(series.c.id.desc()).limit(1)).one_or_none()
    if row is None:
        return
    number, key = row
    known = index.labels_of([int(number)])
    if not known or labels_key(labels_text(known[0])) != bytes(key):
        raise DamagedIndexError(
            0, f"series {number} must be the one it knows; the tables are of another store"
        )


_IDS = sa.select(index_parts.c.id).order_by(index_parts.c.id)


def _sum(number: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(number.to_bytes(8, "little")))
