"""The same series again: the same `SeriesTable` again, so that its digest is made once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from ninesight_store.contract import Batch, Labels, SeriesTable

__all__ = ["TableCache"]


class TableCache:
    """Remembers the last `tables_max` tables, up to `series_max` series in all. Thread-safe."""

    def __init__(self, *, tables_max: int = 256, series_max: int = 500_000) -> None:
        self._tables_max = tables_max
        self._series_max = series_max
        self._series = 0
        self._tables: OrderedDict[tuple[Labels, ...], SeriesTable] = OrderedDict()
        self._lock = threading.Lock()

    def shared(self, batch: Batch) -> Batch:
        """Return the batch on the table that an earlier one with the same series had."""
        labels = batch.series.labels
        with self._lock:
            table = self._tables.get(labels)
            if table is not None:
                self._tables.move_to_end(labels)
                return replace(batch, series=table)
            self._tables[labels] = batch.series
            self._series += len(labels)
            while self._tables and (len(self._tables) > self._tables_max or self._series > self._series_max):
                gone, _ = self._tables.popitem(last=False)
                self._series -= len(gone)
        return batch
