"""Rollups: the samples of a selector summed up bin by bin, for windows that are much longer than a bin.

    t ──(─────bin─────](─────bin─────](──bin──](───── ...
                      k * ROLLUP_MS           an edge asked for

A bin is left-open like PromQL's windows. It reaches over no multiple of `ROLLUP_MS` and over no edge asked for, so a
window between two edges holds whole bins: first and last sample, count, sum, least, greatest and what counter
resets took away are those of its samples. Nothing is interpolated. What is not in a bin (every value, as a
quantile of a gauge needs them) has to be read by `select`.

Bins are stored beside the chunks. An edge that is a multiple of `ROLLUP_MS` costs nothing; any other makes the store
read every sample of the chunks around it, and so does a span that begins elsewhere than 1 ms after such a multiple, or
ends elsewhere than at one, once at either end.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np

from ninesight_store.contract import Columns, Float64, HistogramColumns, Int64, Labels, stale_in

__all__ = ["ROLLUP_COLUMNS", "ROLLUP_MS", "FloatBins", "Rollup", "bin_column", "rollup_of", "weights_of"]

ROLLUP_MS = 900_000
"""The widest a bin gets, and the grid of windows that are read fastest: a quarter of an hour."""

ROLLUP_COLUMNS = ("lost", "sum", "low", "high")
"""The columns of `FloatBins` that are read only if asked for: each costs about what `first` and `last` cost."""


def _no_times() -> Int64:
    return np.zeros(0, np.int64)


def _no_values() -> Float64:
    return np.zeros(0, np.float64)


@dataclass(frozen=True)
class FloatBins:
    """B bins of float samples, stale markers left out; no bin is empty. Within a series they ascend.

    Of `ROLLUP_COLUMNS` those that were not asked for may have no entries at all.
    """

    first_ms: Int64 = field(default_factory=_no_times)
    """[B] time of the first sample."""
    last_ms: Int64 = field(default_factory=_no_times)
    """[B] time of the last sample."""
    count: Int64 = field(default_factory=_no_times)
    """[B] samples."""
    first: Float64 = field(default_factory=_no_values)
    """[B]"""
    last: Float64 = field(default_factory=_no_values)
    """[B]"""
    lost: Float64 = field(default_factory=_no_values)
    """[B] sum of the values just before each fall inside the bin; a fall from the bin before is not in it."""
    sum: Float64 = field(default_factory=_no_values)
    """[B]"""
    low: Float64 = field(default_factory=_no_values)
    """[B] least value; NaN only where all are."""
    high: Float64 = field(default_factory=_no_values)
    """[B] greatest value; NaN only where all are."""

    def __len__(self) -> int:
        return len(self.count)


@dataclass(frozen=True)
class Rollup:
    """Selected series, sorted by labels, as bins. Read-only.

    Series r owns the bins `offsets[r]:offsets[r+1]`, the stale markers `stale_offsets[r]:stale_offsets[r+1]` and the
    histogram points `histogram_offsets[r]:histogram_offsets[r+1]`.
    """

    labels: tuple[Labels, ...]
    """[S]"""
    offsets: Int64
    """[S+1]"""
    bins: FloatBins
    stale_offsets: Int64
    """[S+1]"""
    stale_ms: Int64
    """[X] times of the float series' stale markers, ascending within a series."""
    histogram_offsets: Int64
    """[S+1]"""
    histograms: HistogramColumns
    """[M] of each bin at least the first and the last point, both points around whatever may be a counter reset,
    and every stale marker. Between two neighbours that are kept nothing but growth was left out. Without start
    timestamps."""
    weights: Int64
    """[M] how many stored points lie after the kept point before (of the same series, stale markers apart) up to
    and including this one; 0 for a stale marker."""


def rollup_of(columns: Columns, edges: Int64, names: Collection[str] = ROLLUP_COLUMNS) -> Rollup:
    """Return the bins of samples that are at hand. `edges`: ascending milliseconds that no bin may reach over.

    `names` are the columns wanted of `ROLLUP_COLUMNS`; the others stay without entries. Every histogram point is kept, each with the weight 1, without its start timestamp.
    """
    series = np.repeat(np.arange(len(columns.labels)), np.diff(columns.offsets))
    stale = stale_in(columns.values)
    good = ~stale
    rows, times, values = series[good], columns.timestamps[good], columns.values[good]
    points = columns.histograms
    begins = _begins(rows, times, edges)
    return Rollup(
        labels=columns.labels,
        offsets=_offsets(rows[begins], len(columns.labels)),
        bins=_bins(rows, times, values, begins, names),
        stale_offsets=_offsets(series[stale], len(columns.labels)),
        stale_ms=columns.timestamps[stale],
        histogram_offsets=columns.histogram_offsets,
        histograms=replace(points, start_timestamps=None),
        weights=weights_of(points),
    )


def weights_of(points: HistogramColumns) -> Int64:
    """Return the weights of points of which none is left out."""
    return (~stale_in(points.sum)).astype(np.int64)


def _begins(rows: Int64, times: Int64, edges: Int64) -> Int64:
    """Return where a bin begins."""
    # Left-open: a sample at a multiple of the width belongs to the bin that ends there.
    cell = -(-times // ROLLUP_MS)
    part = np.searchsorted(edges, times, "left")
    fresh = np.ones(len(rows), np.bool_)
    fresh[1:] = (rows[1:] != rows[:-1]) | (cell[1:] != cell[:-1]) | (part[1:] != part[:-1])
    return np.flatnonzero(fresh)


def _bins(rows: Int64, times: Int64, values: Float64, begins: Int64, names: Collection[str]) -> FloatBins:
    if not len(begins):
        return FloatBins()
    ends = np.append(begins[1:], len(rows)) - 1
    wanted = ("first", "last", *(name for name in ROLLUP_COLUMNS if name in names))
    with np.errstate(invalid="ignore", over="ignore"):
        columns = {name: bin_column(name, values, begins) for name in wanted}
    return FloatBins(first_ms=times[begins], last_ms=times[ends], count=ends - begins + 1, **columns)


def bin_column(name: str, values: Float64, begins: Int64) -> Float64:
    """Return a column of `FloatBins` [..., B] of samples [..., N] whose bins begin at `begins`."""
    if name == "first":
        return values[..., begins]
    if name == "last":
        return values[..., np.append(begins[1:], values.shape[-1]) - 1]
    if name == "lost":
        return _lost(values, begins)
    reduce = {"sum": np.add, "low": np.fmin, "high": np.fmax}[name]
    column: Float64 = reduce.reduceat(values, begins, axis=-1)
    return column


def _lost(values: Float64, begins: Int64) -> Float64:
    flat = np.ascontiguousarray(values).ravel()
    fall = np.zeros(len(flat), np.bool_)
    np.less(flat[1:], flat[:-1], out=fall[:-1])
    cells = fall.reshape(values.shape)
    # Not from one bin, or one series, to the next.
    cells[..., begins[1:] - 1] = False
    cells[..., -1] = False
    # Several times faster than `where`; what is no number stays none, and is no loss.
    lost: Float64 = np.add.reduceat((flat * fall).reshape(values.shape), begins, axis=-1)
    if np.isnan(lost).any():
        lost = np.add.reduceat(np.where(cells, values, 0.0), begins, axis=-1)
    return lost


def _offsets(rows: Int64, series: int) -> Int64:
    return np.searchsorted(rows, np.arange(series + 1)).astype(np.int64)
