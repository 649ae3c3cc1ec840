"""Ids for what a batch names: series of its table, layouts of its rows. Lives inside write transactions.

Senders reuse one `SeriesTable`, so its ids and layouts are remembered by digest: a batch whose table and
row order were seen costs no look-up at all. What a failed transaction would have added is forgotten.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

import numpy as np
import sqlalchemy as sa

from ninesight_store.catalog import Info
from ninesight_store.contract import Int32, Int64, Labels, SeriesTable
from ninesight_store.layouts import layout_blob, layout_digest
from ninesight_store.schema import info, layouts, series
from ninesight_store.series_index import SeriesIndex
from ninesight_store.stored_labels import labels_key, labels_text

__all__ = ["Registry"]

_TABLES_MAX = 512
_LAYOUTS_MAX = 4096

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Recent(Generic[Key, Value]):
    """The entries used last, up to a bound."""

    def __init__(self, entries_max: int) -> None:
        self._max = entries_max
        self._entries: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: Key, value: Value) -> None:
        self._entries[key] = value
        if len(self._entries) > self._max:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()


class Registry:
    """Gives ids. Used by one transaction at a time, in this order: `begin`, the look-ups, `flush`."""

    def __init__(self) -> None:
        self._tables: _Recent[bytes, Int64] = _Recent(_TABLES_MAX)
        self._layouts: _Recent[bytes, int] = _Recent(_LAYOUTS_MAX)
        self._generations = (-1, -1)
        self._pending: dict[Labels, int] = {}
        self._next = (0, 0)
        self._start = (0, 0)

    def begin(self, connection: sa.Connection, index: SeriesIndex, seen: Info) -> None:
        """Start a transaction: drop what was remembered if ids were dropped meanwhile."""
        generations = (seen.series_generation, seen.layout_generation)
        if generations != self._generations:
            self.forget()
            self._generations = generations
        self._pending = {}
        self._connection, self._index = connection, index
        self._start = self._next = (seen.series_next, seen.layout_next)

    def forget(self) -> None:
        """Forget everything; call it when the transaction failed."""
        self._tables.clear()
        self._layouts.clear()
        self._generations = (-1, -1)

    def ids_of(self, table: SeriesTable) -> Int64:
        """Return the id of each series of a table, adding those that are new."""
        known = self._tables.get(table.digest)
        if known is None:
            known = self._register(table)
            self._tables.put(table.digest, known)
        return known

    def layout_of(self, table: SeriesTable, rows: Int32) -> int:
        """Return the number of the layout of these rows of a table."""
        digest = hashlib.blake2b(table.digest, digest_size=16)
        digest.update(np.ascontiguousarray(rows, np.int32).data)
        key = digest.digest()
        known = self._layouts.get(key)
        if known is None:
            known = self.layout_of_ids(self.ids_of(table)[rows])
            self._layouts.put(key, known)
        return known

    def layout_of_ids(self, ids: Int64) -> int:
        """Return the number of the layout with these series ids in this order, adding it if it is new."""
        blob = layout_blob(ids)
        digest = layout_digest(blob)
        query = sa.select(layouts.c.id).where(layouts.c.digest == digest)
        found = self._connection.execute(query).scalar()
        if found is not None:
            return int(found)
        number = self._next[1]
        self._connection.execute(sa.insert(layouts).values(id=number, digest=digest, ids=blob))
        self._next = (self._next[0], number + 1)
        return number

    def flush(self) -> None:
        """Write the counters that changed."""
        for key, before, after in zip(("series_next", "layout_next"), self._start, self._next, strict=True):
            if after != before:
                self._connection.execute(sa.update(info).where(info.c.key == key).values(value=after))

    def _register(self, table: SeriesTable) -> Int64:
        ids = np.zeros(len(table), np.int64)
        rows = []
        number, layout_next = self._next
        for row, labels in enumerate(table.labels):
            known = self._index.id_of(labels) or self._pending.get(labels)
            if known is None:
                text = labels_text(labels)
                rows.append({"id": number, "key": labels_key(text), "labels": text})
                known = self._pending[labels] = number
                number += 1
            ids[row] = known
        if rows:
            self._connection.execute(sa.insert(series), rows)
        self._next = (number, layout_next)
        return ids
