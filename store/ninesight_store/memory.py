"""`MemoryStore`: the whole contract in memory, for tests and for data that need not survive."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from ninesight_store.columns import columns_of
from ninesight_store.contract import (
    Batch,
    Columns,
    Exemplar,
    Float64,
    HistogramColumns,
    Int64,
    Labels,
    Matcher,
    Metadata,
    SeriesExemplars,
)
from ninesight_store.exemplars import fitting, identity, ordered
from ninesight_store.histograms import concat_histograms, copy_histograms, take_histograms, with_series
from ninesight_store.matchers import compile_matchers, labels_match
from ninesight_store.rollup import ROLLUP_COLUMNS, Rollup, rollup_of
from ninesight_store.validation import check_batch, check_table

__all__ = ["MemoryStore"]


_Rows = tuple[Int64, Int64, Float64, Int64, Int64]
"""Series, timestamps, values, order of writing, start timestamps (0 unknown)."""


class MemoryStore:
    """A `Sink` and `Source` without a disk. Unbounded: it keeps all it is given until `clear`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._labels: list[Labels] = []
            self._ids: dict[Labels, int] = {}
            self._metadata: dict[str, Metadata] = {}
            self._rows: list[_Rows] = []
            self._exemplars: dict[Labels, dict[object, Exemplar]] = {}
            self._points: list[HistogramColumns] = []
            self._point_order: list[Int64] = []
            self._writes = 0

    def write(self, batch: Batch) -> None:
        """Keep the batch. Raises PermanentError for a malformed one."""
        check_table(batch.series)
        check_batch(batch)
        with self._lock:
            self._writes += 1
            ids = np.array([self._id(labels) for labels in batch.series.labels], np.int64)
            if len(batch.timestamps):
                order = np.full(len(batch.timestamps), self._writes, np.int64)
                self._rows.append(
                    (
                        ids[batch.series_index],
                        batch.timestamps.astype(np.int64),
                        batch.values.astype(np.float64),
                        order,
                        np.zeros(len(order), np.int64)
                        if batch.start_timestamps is None
                        else batch.start_timestamps.astype(np.int64),
                    )
                )
            if len(batch.histograms):
                points = copy_histograms(batch.histograms)
                self._points.append(with_series(points, ids[points.series].astype(np.int32)))
                self._point_order.append(np.full(len(points), self._writes, np.int64))
            for row, exemplar in fitting(batch.exemplars):
                known = self._exemplars.setdefault(batch.series.labels[row], {})
                known[identity(exemplar)] = exemplar
            self._metadata.update({entry.metric: entry for entry in batch.metadata})

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Columns:
        """Return the samples of the matching series within the span (see `Source`)."""
        compiled = compile_matchers(matchers)
        with self._lock:
            chosen = np.array([labels_match(compiled, labels) for labels in self._labels], np.bool_)
            series, times, values, order, starts = self._floats()
            points, point_order = self._histograms()
            labels = tuple(self._labels)
        rows = np.flatnonzero(chosen[series] & (times >= start_ms) & (times <= end_ms))
        in_span = (points.timestamps >= start_ms) & (points.timestamps <= end_ms)
        point_rows = np.flatnonzero(chosen[points.series] & in_span)
        return columns_of(
            labels,
            series[rows],
            times[rows],
            values[rows],
            take_histograms(points, point_rows),
            order=order[rows],
            histogram_order=point_order[point_rows],
            starts=starts[rows],
        )

    def rollup(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        edges: Int64,
        columns: Collection[str] = ROLLUP_COLUMNS,
    ) -> Rollup:
        """Return the same samples as bins (see `LocalStore.rollup`)."""
        return rollup_of(self.select(matchers, start_ms, end_ms), edges, columns)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> tuple[Labels, ...]:
        """Return the matching series with samples in the span, sorted."""
        return self.select(matchers, start_ms, end_ms).labels

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return the exemplars of the series that any selector matches within the span (see `Source`)."""
        compiled = [compile_matchers(matchers) for matchers in selectors]
        found = []
        with self._lock:
            for labels in sorted(self._exemplars):
                if any(labels_match(each, labels) for each in compiled):
                    within = (
                        e for e in self._exemplars[labels].values() if start_ms <= e.timestamp_ms <= end_ms
                    )
                    found.append(SeriesExemplars(labels, ordered(within)))
        return tuple(entry for entry in found if entry.exemplars)

    def metadata(self) -> Iterable[Metadata]:
        """Return what is known of each metric, sorted by name."""
        with self._lock:
            return tuple(self._metadata[name] for name in sorted(self._metadata))

    def _id(self, labels: Labels) -> int:
        number = self._ids.setdefault(labels, len(self._labels))
        if number == len(self._labels):
            self._labels.append(labels)
        return number

    def _floats(self) -> _Rows:
        if len(self._rows) != 1:
            none = np.zeros(0, np.int64)
            pieces = self._rows or [(none, none, np.zeros(0, np.float64), none, none)]
            series, times, values, order, starts = (
                np.concatenate(part) for part in zip(*pieces, strict=True)
            )
            self._rows = [(series, times, values, order, starts)]
        return self._rows[0]

    def _histograms(self) -> tuple[HistogramColumns, Int64]:
        if len(self._points) != 1:
            order = np.concatenate([np.zeros(0, np.int64), *self._point_order])
            self._points, self._point_order = [concat_histograms(self._points)], [order]
        return self._points[0], self._point_order[0]
