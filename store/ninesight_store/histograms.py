"""Cutting and joining `HistogramColumns`: every helper returns new columns and never changes the given ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import HistogramColumns, Int32, Int64

__all__ = [
    "arrays_of",
    "concat_histograms",
    "copy_histograms",
    "gather_slices",
    "join_starts",
    "offsets_of",
    "slice_histograms",
    "take_histograms",
    "with_series",
]

POINT_FIELDS = ("series", "timestamps", "schema", "hint", "count", "sum", "zero_threshold", "zero_count")
"""The columns with one entry a point."""

SLICED_FIELDS = (
    ("positive_offsets", ("positive_index", "positive_count")),
    ("negative_offsets", ("negative_index", "negative_count")),
    ("bounds_offsets", ("bounds",)),
)
"""The offset columns, each with the columns that it cuts."""


def arrays_of(columns: HistogramColumns) -> dict[str, npt.NDArray[np.generic]]:
    """Return every column that is there, by name."""
    return {name: array for name, array in vars(columns).items() if array is not None}


def join_starts(pieces: Sequence[tuple[int, Int64 | None]]) -> Int64 | None:
    """Return the start timestamps of (rows, starts) pieces one after the other; None if no piece knows any."""
    if all(starts is None for _, starts in pieces):
        return None
    return np.concatenate([np.zeros(rows, np.int64) if starts is None else starts for rows, starts in pieces])


def offsets_of(lengths: npt.NDArray[np.integer]) -> Int64:
    """Return the M+1 offsets of M slices with these lengths."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def gather_slices(offsets: Int64, rows: npt.NDArray[np.integer]) -> tuple[Int64, Int64]:
    """Return the new offsets, and the positions to take, of the chosen slices in the chosen order."""
    starts = offsets[rows]
    lengths = offsets[np.asarray(rows) + 1] - starts
    fresh = offsets_of(lengths)
    positions = np.arange(fresh[-1], dtype=np.int64) + np.repeat(starts - fresh[:-1], lengths)
    return fresh, positions


def take_histograms(columns: HistogramColumns, rows: npt.NDArray[np.integer]) -> HistogramColumns:
    """Return the points with these row numbers, in this order (repeats allowed); buckets come along.

    Neighbours in ascending order share memory with the given columns.
    """
    rows = np.asarray(rows, np.int64)
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and bool((rows[1:] > rows[:-1]).all()):
        return slice_histograms(columns, int(rows[0]), int(rows[-1]) + 1)
    taken: dict[str, npt.NDArray[np.generic]] = {name: getattr(columns, name)[rows] for name in POINT_FIELDS}
    for offsets_name, names in SLICED_FIELDS:
        if not len(getattr(columns, names[0])):
            taken[offsets_name] = np.zeros(len(rows) + 1, np.int64)
            taken |= {name: getattr(columns, name)[:0] for name in names}
            continue
        taken[offsets_name], positions = gather_slices(getattr(columns, offsets_name), rows)
        for name in names:
            taken[name] = getattr(columns, name)[positions]
    if columns.start_timestamps is not None:
        taken["start_timestamps"] = columns.start_timestamps[rows]
    return HistogramColumns(**taken)  # type: ignore[arg-type]


def concat_histograms(pieces: Sequence[HistogramColumns]) -> HistogramColumns:
    """Return all points of all pieces, one piece after the other; `series` is taken as it stands."""
    kept = [piece for piece in pieces if len(piece)]
    if not kept:
        return HistogramColumns()
    if len(kept) == 1:
        return kept[0]
    joined = {name: np.concatenate([getattr(piece, name) for piece in kept]) for name in POINT_FIELDS}
    for offsets_name, names in SLICED_FIELDS:
        lengths = np.concatenate([np.diff(getattr(piece, offsets_name)) for piece in kept])
        joined[offsets_name] = offsets_of(lengths)
        for name in names:
            joined[name] = np.concatenate([getattr(piece, name) for piece in kept])
    starts = join_starts([(len(piece), piece.start_timestamps) for piece in kept])
    return HistogramColumns(**joined, start_timestamps=starts)


def copy_histograms(columns: HistogramColumns) -> HistogramColumns:
    """Return the same points in memory of their own."""
    return HistogramColumns(**{name: np.array(array) for name, array in arrays_of(columns).items()})


def slice_histograms(columns: HistogramColumns, low: int, high: int) -> HistogramColumns:
    """Return the points low..high-1; the columns share memory with the given ones."""
    cut: dict[str, npt.NDArray[np.generic]] = {
        name: getattr(columns, name)[low:high] for name in POINT_FIELDS
    }
    for offsets_name, names in SLICED_FIELDS:
        offsets = getattr(columns, offsets_name)[low : high + 1]
        cut[offsets_name] = offsets - offsets[0]
        for name in names:
            cut[name] = getattr(columns, name)[offsets[0] : offsets[-1]]
    if columns.start_timestamps is not None:
        cut["start_timestamps"] = columns.start_timestamps[low:high]
    return HistogramColumns(**cut)  # type: ignore[arg-type]


def with_series(columns: HistogramColumns, series: Int32) -> HistogramColumns:
    """Return the same points under other series rows."""
    return replace(columns, series=np.ascontiguousarray(series, np.int32))


def histogram_nbytes(columns: HistogramColumns) -> int:
    """Return the bytes that the columns hold in memory."""
    return sum(array.nbytes for array in arrays_of(columns).values())
