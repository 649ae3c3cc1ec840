"""Hot rows and chunks' bins kept in memory, because every dashboard asks for the same again and again.

What a key names never changes, so there is nothing to invalidate: a folded row has the id of one that went into it,
but more samples, and both are its key. What is gone is simply not asked for any more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any

__all__ = ["RowCache"]

Key = Hashable


class RowCache:
    """Rows by what identifies them, the least recently used dropped first. Safe to use from many threads."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._rows: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Any]:
        """Return the rows that are here."""
        found: dict[Key, Any] = {}
        with self._lock:
            for key in keys:
                entry = self._rows.get(key)
                if entry is not None:
                    self._rows.move_to_end(key)
                    found[key] = entry[0]
        return found

    def put(self, key: Key, row: Any, nbytes: int) -> None:
        """Keep a row; rows larger than a quarter of the cache are not worth it."""
        if nbytes * 4 > self._bytes_max:
            return
        with self._lock:
            before = self._rows.pop(key, None)
            self._bytes += nbytes - (before[1] if before else 0)
            self._rows[key] = (row, nbytes)
            while self._bytes > self._bytes_max:
                self._bytes -= self._rows.popitem(last=False)[1][1]
