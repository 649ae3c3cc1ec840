"""Rows in, a `Batch` out: the one place where samples become columns.

A builder lives as long as its source. It keeps one `SeriesTable` across batches and hands out
the same object as long as no new series appears, so the store recognises it without a look-up
per series. It also knows which series the batch before held: with `marks_stale` those that
are missing from this one get a stale marker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from ninesight_store.contract import (
    STALE_BITS,
    STALE_NAN,
    Batch,
    HistogramColumns,
    Int64,
    Labels,
    Metadata,
    ResetHint,
    SeriesTable,
)

from ninesight_collector.exemplars import ExemplarRows

__all__ = ["BatchBuilder", "HistogramPoint"]

_UNUSED_ROWS_MIN = 256


@dataclass(frozen=True, slots=True)
class HistogramPoint:
    """One native-histogram point; bucket indexes are Prometheus' and ascend (see `HistogramColumns`)."""

    schema: int
    count: float
    sum: float
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive: tuple[tuple[int, float], ...] = ()
    negative: tuple[tuple[int, float], ...] = ()
    hint: int = ResetHint.UNKNOWN
    stale: bool = False


STALE_POINT = HistogramPoint(schema=0, count=0.0, sum=STALE_NAN, stale=True)
"""The histogram series ended."""


@dataclass(slots=True)
class _Rows:
    series: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    histogram_series: list[int] = field(default_factory=list)
    histogram_timestamps: list[int] = field(default_factory=list)
    histograms: list[HistogramPoint] = field(default_factory=list)
    tracked: set[int] = field(default_factory=set)
    tracked_histograms: set[int] = field(default_factory=set)


class BatchBuilder:
    """Collects the samples of one look and turns them into a Batch. Used by one thread at a time."""

    def __init__(self, *, marks_stale: bool = False) -> None:
        self._marks_stale = marks_stale
        self._row_of: dict[Labels, int] = {}
        self._table = SeriesTable(())
        self._rows = _Rows()
        self._before: set[int] = set()
        self._before_histograms: set[int] = set()
        self._metadata: dict[str, Metadata] = {}
        self._metadata_sent: dict[str, Metadata] = {}
        self.exemplars = ExemplarRows()
        """Of the batch in the making; rows are those of `row`."""
        self.generation = 0
        """Grows when rows were renumbered: rows remembered from `row` are void then."""

    def __len__(self) -> int:
        return len(self._rows.values) + len(self._rows.histograms)

    def row(self, labels: Labels) -> int:
        """Return the row of a series; it stays the same until `generation` grows."""
        found = self._row_of.get(labels)
        if found is None:
            found = self._row_of[labels] = len(self._row_of)
        return found

    def add(self, labels: Labels, timestamp_ms: int, value: float, *, tracked: bool = True) -> None:
        """Add one float sample. An untracked one (it brought its own time) gets no stale marker later."""
        self.add_row(self.row(labels), timestamp_ms, value, tracked=tracked)

    def add_row(self, row: int, timestamp_ms: int, value: float, *, tracked: bool = True) -> None:
        """Add one float sample to a row that `row` returned in this generation."""
        rows = self._rows
        rows.series.append(row)
        rows.timestamps.append(timestamp_ms)
        rows.values.append(value)
        if tracked:
            rows.tracked.add(row)

    def add_stale(self, labels: Labels, timestamp_ms: int) -> None:
        """Say that a float series ended at this time."""
        self._stale_row(self.row(labels), timestamp_ms)

    def add_histogram(self, labels: Labels, timestamp_ms: int, point: HistogramPoint) -> None:
        """Add one native-histogram point."""
        row = self.row(labels)
        self._rows.histogram_series.append(row)
        self._rows.histogram_timestamps.append(timestamp_ms)
        self._rows.histograms.append(point)
        if not point.stale:
            self._rows.tracked_histograms.add(row)

    def describe(self, metadata: Metadata) -> None:
        """Say what a metric is. Travels with the next batch, and again only if it changes."""
        if self._metadata_sent.get(metadata.metric) != metadata:
            self._metadata[metadata.metric] = metadata

    def described(self) -> tuple[Metadata, ...]:
        """Return what was said of metrics in finished batches. Safe to call from any thread."""
        return tuple(self._metadata_sent.values())

    def discard(self) -> None:
        """Forget the samples added since the last `batch` (a page turned out to be unreadable)."""
        self._rows = _Rows()
        self.exemplars.discard()

    def batch(self, now_ms: int) -> Batch:
        """Return what was added since the last call, stale markers at `now_ms` included."""
        if self._marks_stale:
            self._end_missing(now_ms)
        rows, self._rows = self._rows, _Rows()
        self._before, self._before_histograms = rows.tracked, rows.tracked_histograms
        metadata, self._metadata = tuple(self._metadata.values()), {}
        self._metadata_sent.update((entry.metric, entry) for entry in metadata)
        values = np.array(rows.values, np.float64)
        # A signalling NaN must not pass through arithmetic: the bits are set, not the value.
        values.view(np.uint64)[rows.stale] = STALE_BITS
        batch = Batch(
            series=self._current_table(),
            series_index=np.array(rows.series, np.int32),
            timestamps=np.array(rows.timestamps, np.int64),
            values=values,
            histograms=_histogram_columns(rows),
            metadata=metadata,
            exemplars=self.exemplars.columns(),
        )
        self._forget_unused(rows)
        return batch

    def _end_missing(self, now_ms: int) -> None:
        for row in sorted(self._before - self._rows.tracked):
            self._stale_row(row, now_ms)
        for row in sorted(self._before_histograms - self._rows.tracked_histograms):
            self._rows.histogram_series.append(row)
            self._rows.histogram_timestamps.append(now_ms)
            self._rows.histograms.append(STALE_POINT)

    def _stale_row(self, row: int, timestamp_ms: int) -> None:
        self._rows.stale.append(len(self._rows.values))
        self.add_row(row, timestamp_ms, 0.0, tracked=False)

    def _current_table(self) -> SeriesTable:
        if len(self._table) != len(self._row_of):
            self._table = SeriesTable(tuple(self._row_of))
        return self._table

    def _forget_unused(self, rows: _Rows) -> None:
        """Renumber when most rows are of series long gone, so that a table cannot grow for ever."""
        used = rows.tracked | rows.tracked_histograms
        unused = len(self._row_of) - len(used)
        if unused < _UNUSED_ROWS_MIN or unused < len(used):
            return
        kept = [labels for labels, row in self._row_of.items() if row in used]
        renumbered = {self._row_of[labels]: place for place, labels in enumerate(kept)}
        self._row_of = {labels: place for place, labels in enumerate(kept)}
        self._before = {renumbered[row] for row in self._before}
        self._before_histograms = {renumbered[row] for row in self._before_histograms}
        self.exemplars.renumber(renumbered)
        self._metadata_sent = {}
        self.generation += 1


def _histogram_columns(rows: _Rows) -> HistogramColumns:
    points = rows.histograms
    if not points:
        return HistogramColumns()
    sums = np.array([point.sum for point in points], np.float64)
    sums.view(np.uint64)[[place for place, point in enumerate(points) if point.stale]] = STALE_BITS
    return HistogramColumns(
        series=np.array(rows.histogram_series, np.int32),
        timestamps=np.array(rows.histogram_timestamps, np.int64),
        schema=np.array([point.schema for point in points], np.int32),
        hint=np.array([point.hint for point in points], np.int32),
        count=np.array([point.count for point in points], np.float64),
        sum=sums,
        zero_threshold=np.array([point.zero_threshold for point in points], np.float64),
        zero_count=np.array([point.zero_count for point in points], np.float64),
        positive_offsets=_offsets(len(point.positive) for point in points),
        positive_index=np.array([index for point in points for index, _ in point.positive], np.int32),
        positive_count=np.array([count for point in points for _, count in point.positive], np.float64),
        negative_offsets=_offsets(len(point.negative) for point in points),
        negative_index=np.array([index for point in points for index, _ in point.negative], np.int32),
        negative_count=np.array([count for point in points for _, count in point.negative], np.float64),
        bounds_offsets=np.zeros(len(points) + 1, np.int64),
    )


def _offsets(lengths: Iterable[int]) -> Int64:
    return np.concatenate(([0], np.cumsum(list(lengths), dtype=np.int64))).astype(np.int64)
