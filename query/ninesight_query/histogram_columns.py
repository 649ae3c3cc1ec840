"""Histograms between the store's columns and values: `from_columns`, `to_columns`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Float64, HistogramColumns, Int32, Int64, ResetHint

from ninesight_query.histogram import Histogram

__all__ = ["Objects", "from_columns", "to_columns"]

Objects = npt.NDArray[np.object_]
"""An array of Histogram."""

_HINTS = tuple(ResetHint)


def _runs(offsets: Int64, index: Int32, count: Float64) -> list[tuple[int, Float64]]:
    """Cut sparse bucket columns into one dense run per point."""
    size = len(offsets) - 1
    begin, end = offsets[:-1], offsets[1:]
    used = end > begin
    first = np.zeros(size, np.int64)
    width = np.zeros(size, np.int64)
    first[used] = index[begin[used]]
    width[used] = index[end[used] - 1].astype(np.int64) - first[used] + 1
    starts = np.concatenate(([0], np.cumsum(width)))
    dense = np.zeros(int(starts[-1]))
    owner = np.repeat(np.arange(size), end - begin)
    dense[starts[owner] + index - first[owner]] = count
    dense.flags.writeable = False
    edges = starts.tolist()
    return [
        (start, dense[low:high])
        for start, low, high in zip(first.tolist(), edges[:-1], edges[1:], strict=True)
    ]


def from_columns(columns: HistogramColumns) -> Objects:
    """[M] the points as Histogram values, bucket runs dense and read-only.

    Cost: a few numpy passes over all buckets and one object per point.
    """
    size = len(columns)
    out: Objects = np.empty(size, object)
    if size == 0:
        return out
    positive = _runs(columns.positive_offsets, columns.positive_index, columns.positive_count)
    negative = _runs(columns.negative_offsets, columns.negative_index, columns.negative_count)
    bounds = columns.bounds_offsets.tolist()
    rows = zip(
        columns.schema.tolist(),
        columns.count.tolist(),
        columns.sum.tolist(),
        columns.zero_threshold.tolist(),
        columns.zero_count.tolist(),
        columns.hint.tolist(),
        strict=True,
    )
    seen: dict[bytes, tuple[float, ...]] = {}
    for k, (schema, count, sum_, threshold, zero, hint) in enumerate(rows):
        edges: tuple[float, ...] = ()
        if bounds[k + 1] > bounds[k]:
            part = columns.bounds[bounds[k] : bounds[k + 1]]
            edges = seen.setdefault(part.tobytes(), tuple(part.tolist()))
        out[k] = Histogram(
            schema, count, sum_, threshold, zero, *positive[k], *negative[k], edges, _HINTS[hint]
        )
    return out


def _columns(runs: Sequence[tuple[int, Float64]]) -> tuple[Int64, Int32, Float64]:
    """Join dense runs into sparse bucket columns; empty buckets are left out."""
    offsets, index, counts = [0], [], []
    for start, run in runs:
        filled = np.flatnonzero(run)
        offsets.append(offsets[-1] + len(filled))
        index.append((filled + start).astype(np.int32))
        counts.append(run[filled])
    if not index:
        return np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0)
    return np.array(offsets, np.int64), np.concatenate(index), np.concatenate(counts)


def to_columns(
    histograms: Sequence[Histogram] | Objects,
    timestamps: Sequence[int] | Int64,
    series: Sequence[int] | Int32,
) -> HistogramColumns:
    """Return points as columns; `timestamps` in milliseconds and `series` rows, one each per histogram."""
    points: list[Histogram] = list(histograms)
    positive = _columns([(h.positive_start, h.positive) for h in points])
    negative = _columns([(h.negative_start, h.negative) for h in points])
    bounds = [np.array(h.bounds, np.float64) for h in points]
    return HistogramColumns(
        series=np.array(series, np.int32),
        timestamps=np.array(timestamps, np.int64),
        schema=np.array([h.schema for h in points], np.int32),
        hint=np.array([int(h.hint) for h in points], np.int32),
        count=np.array([h.count for h in points], np.float64),
        sum=np.array([h.sum for h in points], np.float64),
        zero_threshold=np.array([h.zero_threshold for h in points], np.float64),
        zero_count=np.array([h.zero_count for h in points], np.float64),
        positive_offsets=positive[0],
        positive_index=positive[1],
        positive_count=positive[2],
        negative_offsets=negative[0],
        negative_index=negative[1],
        negative_count=negative[2],
        bounds_offsets=np.concatenate(([0], np.cumsum([len(b) for b in bounds]))).astype(np.int64),
        bounds=np.concatenate([np.zeros(0), *bounds]),
    )
