"""Building `Columns` from pieces: sort, drop what was overwritten, freeze.

A *piece* is a run of rows in the order they were written. For one series and timestamp the row written
last wins, whether it is a float or a histogram point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ninesight_store.contract import Columns, Float64, HistogramColumns, Int64, Labels
from ninesight_store.histograms import (
    arrays_of,
    concat_histograms,
    gather_slices,
    take_histograms,
    with_series,
)
from ninesight_store.kinds import one_kind_each
from ninesight_store.pieces import Run

__all__ = [
    "columns_of",
    "columns_of_runs",
    "concat_histograms",
    "empty_columns",
    "last_written",
    "take_columns",
    "take_histograms",
]


def empty_columns() -> Columns:
    """Return columns without any series."""
    zero = np.zeros(1, np.int64)
    return Columns((), zero, np.zeros(0, np.int64), np.zeros(0, np.float64), zero)


def last_written(series: Int64, timestamps: Int64) -> Int64:
    """Return the row numbers to keep, sorted by series and time: of equals only the last row."""
    rows = len(series)
    if rows == 0:
        return np.zeros(0, np.int64)
    same = series[1:] == series[:-1]
    if bool(np.all((series[1:] > series[:-1]) | (same & (timestamps[1:] > timestamps[:-1])))):
        return np.arange(rows, dtype=np.int64)
    order = np.lexsort((timestamps, series))
    ranked, times = series[order], timestamps[order]
    keep = np.ones(rows, np.bool_)
    keep[:-1] = (ranked[1:] != ranked[:-1]) | (times[1:] != times[:-1])
    return order[keep]


def columns_of(
    labels: Sequence[Labels],
    series: Int64,
    timestamps: Int64,
    values: Float64,
    histograms: HistogramColumns | None = None,
    *,
    order: Int64 | None = None,
    histogram_order: Int64 | None = None,
    starts: Int64 | None = None,
) -> Columns:
    """Return `Columns` of rows in the order they were written.

    `series` (and `histograms.series`) number the entries of `labels`, which may be unsorted; series
    without a row are left out. `order` and `histogram_order` say which of a float and a histogram point
    at one timestamp was written later (the greater; equal or absent: the histogram point). `starts` are
    the start timestamps of the float samples, if any is known.
    """
    points = HistogramColumns() if histograms is None else histograms
    rank, names = _ranked(labels)
    series = rank[series]
    points = with_series(points, rank[points.series].astype(np.int32)) if len(points) else points
    kept = last_written(series, timestamps)
    kept_points = last_written(points.series.astype(np.int64), points.timestamps)
    if len(kept) and len(kept_points):
        kept, kept_points = one_kind_each(
            (series, timestamps, kept, order),
            (points.series.astype(np.int64), points.timestamps, kept_points, histogram_order),
        )
    floats = Run(np.zeros(0, np.int64), timestamps[kept], values[kept], None, _some(starts, kept))
    return _assemble(names, series[kept], floats, take_histograms(points, kept_points))


def columns_of_runs(
    labels: tuple[Labels, ...], floats: Run, points: Run, histograms: HistogramColumns
) -> Columns:
    """Return `Columns` of two runs over the same, sorted series; `histograms` are the points of `points` in order.

    Series without a sample are left out.
    """
    present = (floats.offsets[1:] > floats.offsets[:-1]) | (points.offsets[1:] > points.offsets[:-1])
    kept = np.flatnonzero(present)
    if len(kept) < len(labels):
        labels = tuple(labels[row] for row in kept.tolist())
    edges = np.append(kept, len(present))
    histogram_offsets = points.offsets[edges]
    series = np.repeat(np.arange(len(kept), dtype=np.int32), np.diff(histogram_offsets))
    histograms = replace(histograms, series=series, timestamps=points.timestamps)
    offsets = floats.offsets[edges]
    return _frozen(
        Columns(
            labels, offsets, floats.timestamps, floats.values, histogram_offsets, histograms, floats.starts
        )
    )


def take_columns(columns: Columns, rows: Int64) -> Columns:
    """Return the series with these row numbers, which must ascend."""
    rows = np.asarray(rows, np.int64)
    offsets, positions = gather_slices(columns.offsets, rows)
    histogram_offsets, points = gather_slices(columns.histogram_offsets, rows)
    series = np.repeat(np.arange(len(rows)), np.diff(histogram_offsets)).astype(np.int32)
    return _frozen(
        Columns(
            tuple(columns.labels[row] for row in rows.tolist()),
            offsets,
            columns.timestamps[positions],
            columns.values[positions],
            histogram_offsets,
            with_series(take_histograms(columns.histograms, points), series),
            _some(columns.start_timestamps, positions),
        )
    )


def _ranked(labels: Sequence[Labels]) -> tuple[Int64, tuple[Labels, ...]]:
    order = sorted(range(len(labels)), key=labels.__getitem__)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank, tuple(labels[row] for row in order)


def _some(starts: Int64 | None, rows: Int64) -> Int64 | None:
    return None if starts is None else starts[rows]


def _assemble(names: tuple[Labels, ...], series: Int64, floats: Run, points: HistogramColumns) -> Columns:
    """Return the columns of float samples sorted by `series`, a row of `names` each, and of points likewise."""
    present = np.zeros(len(names), np.bool_)
    present[series] = True
    present[points.series] = True
    kept = np.flatnonzero(present)
    shift = np.cumsum(present) - 1
    edges = np.append(kept, len(names))
    offsets = np.searchsorted(series, edges).astype(np.int64)
    histogram_offsets = np.searchsorted(points.series, edges).astype(np.int64)
    points = with_series(points, shift[points.series].astype(np.int32))
    labels = names if len(kept) == len(names) else tuple(names[row] for row in kept.tolist())
    return _frozen(
        Columns(labels, offsets, floats.timestamps, floats.values, histogram_offsets, points, floats.starts)
    )


def _frozen(columns: Columns) -> Columns:
    """Make the arrays read-only; start timestamps that say nothing are left out."""
    if columns.start_timestamps is not None and not columns.start_timestamps.any():
        columns = replace(columns, start_timestamps=None)
    points = columns.histograms
    if points.start_timestamps is not None and not points.start_timestamps.any():
        columns = replace(columns, histograms=replace(points, start_timestamps=None))
    arrays = [columns.offsets, columns.timestamps, columns.values, columns.histogram_offsets]
    if columns.start_timestamps is not None:
        arrays.append(columns.start_timestamps)
    for array in (*arrays, *arrays_of(columns.histograms).values()):
        array.flags.writeable = False
    return columns
