"""Series seen before, by the bytes that name them: their labels are read once, and one table serves many requests.

    bytes of the labels ──► row of the settled table      (a look-up, for nearly every series)
                      new ──► labels read and checked ──► a table of this request's own series, until it settles

The store recognises a table it has seen, whatever rows of it a request uses. A table grows only by being made
anew, which costs as much as it is long; so new series wait until tables made for single requests have cost
as much (then at most half of the work was in vain). Rows not used for an hour are left out when it is made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import Int64, Labels, SeriesTable

from ninesight_collector.remote_write.refusals import LabelsError

__all__ = ["Placed", "SeriesBook"]

_UNUSED_MS_MAX = 3_600_000
_KEYS_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the series of a request stand."""

    table: SeriesTable
    rows: Int64
    """Row of each series; -1 where it was refused."""
    refused: dict[int, LabelsError]
    """By place in the request."""


class SeriesBook:
    """Remembers up to `series_max` series. Thread-safe."""

    def __init__(self, series_max: int) -> None:
        self._series_max = series_max
        self._lock = threading.Lock()
        self._forget()

    def place(self, keys: Sequence[bytes], read: Callable[[int], Labels], now_ms: int) -> Placed:
        """Return the rows of series named by `keys`; `read(place)` gives the labels of one that is new.

        Equal keys must always mean equal labels. `read` may raise LabelsError.
        """
        with self._lock:
            found = list(map(self._row_of_key.get, keys))
            if None not in found:
                rows = np.array(found, np.int64)
                self._last_ms[rows] = now_ms
                return Placed(self._table, rows, {})
            return self._place_new(keys, read, now_ms)

    def forget(self) -> None:
        """Forget everything: keys mean other labels from now on."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._row_of_key: dict[bytes, int] = {}
        self._row_of: dict[Labels, int] = {}
        self._table = SeriesTable(())
        self._last_ms = np.zeros(0, np.int64)
        self._waiting: dict[bytes, Labels] = {}
        self._vain = 0
        self._keys_bytes = 0

    def _place_new(self, keys: Sequence[bytes], read: Callable[[int], Labels], now_ms: int) -> Placed:
        refused: dict[int, LabelsError] = {}
        labels = [self._labels(key, place, read, refused, now_ms) for place, key in enumerate(keys)]
        if self._vain + len(keys) >= len(self._table) + len(self._waiting) or self._full():
            self._settle({one for one in labels if one is not None}, now_ms)
        else:
            self._vain += len(keys)
        settled = [-1 if one is None else self._row_of.get(one, -2) for one in labels]
        if -2 not in settled:
            return Placed(self._table, np.array(settled, np.int64), refused)
        own: dict[Labels, int] = {}
        rows = [-1 if one is None else own.setdefault(one, len(own)) for one in labels]
        return Placed(SeriesTable(tuple(own)), np.array(rows, np.int64), refused)

    def _labels(
        self,
        key: bytes,
        place: int,
        read: Callable[[int], Labels],
        refused: dict[int, LabelsError],
        now_ms: int,
    ) -> Labels | None:
        row = self._row_of_key.get(key)
        if row is not None:
            self._last_ms[row] = now_ms
            return self._table.labels[row]
        labels = self._waiting.get(key)
        if labels is None:
            try:
                labels = read(place)
            except LabelsError as error:
                refused[place] = error
                return None
            self._waiting[key] = labels
            self._keys_bytes += len(key)
        return labels

    def _full(self) -> bool:
        return len(self._waiting) > self._series_max or self._keys_bytes > _KEYS_BYTES_MAX

    def _settle(self, asked: set[Labels], now_ms: int) -> None:
        """Make the table anew: what was used lately, and what waits; where that is too much, what is asked now."""
        recent, waiting = self._last_ms >= now_ms - _UNUSED_MS_MAX, self._waiting
        if int(recent.sum()) + len(waiting) > self._series_max or self._full():
            recent = np.array([labels in asked for labels in self._table.labels], np.bool_)
            waiting = {key: labels for key, labels in waiting.items() if labels in asked}
        kept = np.flatnonzero(recent)
        self._row_of = {self._table.labels[row]: place for place, row in enumerate(kept.tolist())}
        for labels in waiting.values():
            self._row_of.setdefault(labels, len(self._row_of))
        moved = np.full(len(recent), -1, np.int64)
        moved[kept] = np.arange(len(kept))
        places = moved.tolist()
        keys = {key: places[row] for key, row in self._row_of_key.items() if places[row] >= 0}
        keys |= {key: self._row_of[labels] for key, labels in waiting.items()}
        fresh = len(self._row_of) - len(kept)
        self._last_ms = np.concatenate((self._last_ms[kept], np.full(fresh, now_ms, np.int64)))
        self._table = SeriesTable(tuple(self._row_of))
        self._row_of_key, self._keys_bytes = keys, sum(map(len, keys))
        self._waiting, self._vain = {}, 0
