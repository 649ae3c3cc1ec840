"""Stored histograms of many series, ready to be read series by series as matrices.

Series are sorted by layout. One that changes its layout on the way (a coarsened schema, other bounds) or
is spread over too many buckets is *odd*: it has to be handled point by point.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from ninesight_store.contract import Float64, HistogramColumns, Int32, Int64, ResetHint, stale_in

from ninesight_query.histogram import CUSTOM_SCHEMA
from ninesight_query.histogram_columns import Objects, from_columns
from ninesight_query.histogram_reset import detect_reset, stack_resets
from ninesight_query.histogram_stack import Stack

__all__ = ["HistogramTable", "Layout", "SeriesStack"]

WIDTH_MAX = 2048
"""Buckets between the lowest and the highest of all series of a layout; beyond, a matrix wastes memory."""


@dataclass(frozen=True)
class Layout:
    """What the series of one group share, and the buckets that any of them uses."""

    schema: int
    zero_threshold: float
    bounds: tuple[float, ...]
    positive: tuple[int, int]
    """(index of the first bucket, number of buckets)"""
    negative: tuple[int, int]


@dataclass(frozen=True)
class SeriesStack:
    """The points of one series, stale markers left out."""

    times: Int64
    """[N] milliseconds."""
    stack: Stack
    """[N]"""
    stale_times: Int64
    """Times of its stale markers."""


Key = tuple[int, float, tuple[float, ...]]


class HistogramTable:
    """Histograms of series as the store gave them. Immutable; safe from many threads."""

    def __init__(self, columns: HistogramColumns, offsets: Int64, weights: Int64 | None = None) -> None:
        """`weights` [M]: how many stored points each stands for where some were left out (a rollup)."""
        self._columns = columns
        self._offsets = offsets
        self._weights = weights
        self._stale = stale_in(columns.sum)

    def rows(self) -> list[int]:
        """Return the series that have points."""
        return [int(row) for row in np.flatnonzero(np.diff(self._offsets))]

    def layouts(self, rows: Collection[int]) -> tuple[dict[int, Layout], list[int]]:
        """Return the layout of each series that has one, and the odd ones."""
        keys: dict[int, Key] = {}
        odd: list[int] = []
        for row in rows:
            key = self._key(row)
            if key is None:
                odd.append(row)
            else:
                keys[row] = key
        groups: dict[Key, list[int]] = {}
        for row, key in keys.items():
            groups.setdefault(key, []).append(row)
        found: dict[int, Layout] = {}
        for key, members in groups.items():
            layout = self._layout(key, members)
            if layout.positive[1] + layout.negative[1] > WIDTH_MAX:
                odd += members
            else:
                found.update(dict.fromkeys(members, layout))
        return found, odd

    def _key(self, row: int) -> Key | None:
        """Return what all points of a series share, None where they do not."""
        columns = self._columns
        part = slice(int(self._offsets[row]), int(self._offsets[row + 1]))
        good = ~self._stale[part]
        if not good.any():
            return None
        schema, threshold = columns.schema[part][good], columns.zero_threshold[part][good]
        if not (np.isfinite(columns.sum[part][good]).all() and np.isfinite(columns.count[part][good]).all()):
            # Running sums over resets would carry a NaN from one window into the next.
            return None
        if (schema != schema[0]).any() or (threshold != threshold[0]).any():
            return None
        if schema[0] != CUSTOM_SCHEMA:
            return int(schema[0]), float(threshold[0]), ()
        edges = columns.bounds_offsets[part.start : part.stop + 1]
        spans = {
            columns.bounds[low:high].tobytes()
            for low, high, there in zip(edges[:-1].tolist(), edges[1:].tolist(), good.tolist(), strict=True)
            if there
        }
        if len(spans) > 1:
            return None
        return int(schema[0]), float(threshold[0]), tuple(np.frombuffer(spans.pop(), np.float64).tolist())

    def _layout(self, key: Key, rows: list[int]) -> Layout:
        columns = self._columns
        positive = self._extent(columns.positive_offsets, columns.positive_index, rows)
        negative = self._extent(columns.negative_offsets, columns.negative_index, rows)
        return Layout(*key, positive, negative)

    def _extent(self, offsets: Int64, index: Int32, rows: list[int]) -> tuple[int, int]:
        """Return (first bucket, number of buckets) over all points of some series."""
        low, high = np.iinfo(np.int32).max, np.iinfo(np.int32).min
        for row in rows:
            part = index[offsets[self._offsets[row]] : offsets[self._offsets[row + 1]]]
            if len(part):
                low, high = min(low, int(part.min())), max(high, int(part.max()))
        return (low, high - low + 1) if high >= low else (0, 0)

    def series(self, row: int, layout: Layout) -> SeriesStack:
        """Read one series into matrices of its layout."""
        columns = self._columns
        first, last = int(self._offsets[row]), int(self._offsets[row + 1])
        part = slice(first, last)
        positive = _dense(
            columns.positive_offsets[first : last + 1],
            columns.positive_index,
            columns.positive_count,
            layout.positive,
        )
        negative = _dense(
            columns.negative_offsets[first : last + 1],
            columns.negative_index,
            columns.negative_count,
            layout.negative,
        )
        times, stale = columns.timestamps[part], self._stale[part]
        scalars = (columns.count[part], columns.sum[part], columns.zero_count[part])
        hint = columns.hint[part]
        gone = times[stale]
        if len(gone):
            good = ~stale
            times, positive, negative, hint = times[good], positive[good], negative[good], hint[good]
            scalars = (scalars[0][good], scalars[1][good], scalars[2][good])
        stack = Stack(
            layout.schema,
            layout.zero_threshold,
            layout.bounds,
            *scalars,
            layout.positive[0],
            positive,
            layout.negative[0],
            negative,
            hint,
        )
        return SeriesStack(times, stack, gone)

    def with_resets(self) -> HistogramTable:
        """Return the same with resets looked for: every unknown hint but a series' first becomes known."""
        hint = self._columns.hint.copy()
        layouts, odd = self.layouts(self.rows())
        for row in (*layouts, *odd):
            part = slice(int(self._offsets[row]), int(self._offsets[row + 1]))
            good = np.arange(part.start, part.stop)[~self._stale[part]]
            if row in layouts:
                began = stack_resets(self.series(row, layouts[row]).stack)
            else:
                points = self.points(row)[1][~self._stale[part]]
                pairs = zip(points[1:], points[:-1], strict=True)
                began = np.array([False, *(detect_reset(now, then) for now, then in pairs)], np.bool_)
            unknown = hint[good] == int(ResetHint.UNKNOWN)
            unknown[:1] = False
            hint[good[unknown]] = np.where(began[unknown], int(ResetHint.RESET), int(ResetHint.NOT_RESET))
        return HistogramTable(replace(self._columns, hint=hint), self._offsets, self._weights)

    def points(self, row: int) -> tuple[Int64, Objects]:
        """Return (times, values) of one series as objects, stale markers included."""
        first, last = int(self._offsets[row]), int(self._offsets[row + 1])
        return self._columns.timestamps[first:last], from_columns(_part(self._columns, first, last))

    def starts(self, row: int) -> Int64 | None:
        """Return the start timestamps of one series, stale markers included; None where it has none."""
        starts = self._columns.start_timestamps
        if starts is None:
            return None
        own: Int64 = starts[int(self._offsets[row]) : int(self._offsets[row + 1])]
        return own if own.any() else None

    def numbers(self, row: int) -> Int64:
        """Return the number of each stored point of a series, those left out counted, stale markers not."""
        part = slice(int(self._offsets[row]), int(self._offsets[row + 1]))
        good = ~self._stale[part]
        weights = good[good].astype(np.int64) if self._weights is None else self._weights[part][good]
        return np.cumsum(weights)

    def times(self, row: int) -> tuple[Int64, Int32, Int64]:
        """Return (times, hints, times of stale markers) of one series without reading its buckets."""
        part = slice(int(self._offsets[row]), int(self._offsets[row + 1]))
        stale = self._stale[part]
        times, hint = self._columns.timestamps[part], self._columns.hint[part]
        return times[~stale], hint[~stale], times[stale]


def _part(columns: HistogramColumns, first: int, last: int) -> HistogramColumns:
    """Cut points first..last-1 out of columns."""

    def cut(offsets: Int64) -> tuple[Int64, slice]:
        own = offsets[first : last + 1]
        return own - own[0], slice(int(own[0]), int(own[-1]))

    positive_offsets, positive = cut(columns.positive_offsets)
    negative_offsets, negative = cut(columns.negative_offsets)
    bounds_offsets, bounds = cut(columns.bounds_offsets)
    part = slice(first, last)
    return HistogramColumns(
        columns.series[part],
        columns.timestamps[part],
        columns.schema[part],
        columns.hint[part],
        columns.count[part],
        columns.sum[part],
        columns.zero_threshold[part],
        columns.zero_count[part],
        positive_offsets,
        columns.positive_index[positive],
        columns.positive_count[positive],
        negative_offsets,
        columns.negative_index[negative],
        columns.negative_count[negative],
        bounds_offsets,
        columns.bounds[bounds],
    )


def _dense(offsets: Int64, index: Int32, count: Float64, extent: tuple[int, int]) -> Float64:
    """Spread sparse buckets into an [N, W] matrix."""
    first, width = extent
    size = len(offsets) - 1
    out = np.zeros((size, width))
    part = slice(int(offsets[0]), int(offsets[-1]))
    if width and part.stop > part.start:
        lengths = np.diff(offsets)
        if (lengths == width).all():
            out[:] = count[part].reshape(size, width)
        else:
            out[np.repeat(np.arange(size), lengths), index[part] - first] = count[part]
    return out
