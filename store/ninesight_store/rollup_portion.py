"""Portions: what one chunk says about the series picked from it; and how portions become a `Rollup`.

portions (any order) ──► runs of bins by (series, first time) ──► gather ──► the rest's bins sorted in ──► Rollup
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Float64, HistogramColumns, Int64, Labels
from ninesight_store.histograms import (
    concat_histograms,
    histogram_nbytes,
    offsets_of,
    take_histograms,
    with_series,
)
from ninesight_store.hot_reader import PointPool
from ninesight_store.pieces import FLOATS, Piece
from ninesight_store.rollup import ROLLUP_COLUMNS, FloatBins, Rollup, weights_of
from ninesight_store.rollup_floats import Part, decode_part, parts_of
from ninesight_store.rollup_points import decode_kept
from ninesight_store.rollup_row import ChunkFacts

__all__ = ["Portion", "Shares", "floats_portion", "joined", "points_portion", "stored_portion"]

_PORTION_BYTES = 500
Bool = npt.NDArray[np.bool_]


def _column_names(wanted: Collection[str]) -> tuple[str, ...]:
    """Return the columns of values that a part has, in order."""
    return ("first", "last", *(name for name in ROLLUP_COLUMNS if name in wanted))


def _none() -> Int64:
    return np.zeros(0, np.int64)


_NO_POINTS = HistogramColumns()


@dataclass(frozen=True, eq=False)
class Portion:
    """What one chunk says about the series picked from it; places number those. Read-only."""

    parts: Sequence[Part] = ()
    stale_places: Int64 = field(default_factory=_none)
    stale_ms: Int64 = field(default_factory=_none)
    points: HistogramColumns = _NO_POINTS
    """Kept points; `series` holds the place."""
    weights: Int64 = field(default_factory=_none)

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        held = _PORTION_BYTES + sum(part.nbytes for part in self.parts) + 2 * self.stale_ms.nbytes
        return held + histogram_nbytes(self.points) + self.weights.nbytes if len(self.points) else held


def stored_portion(
    blobs: Mapping[str, bytes], facts: ChunkFacts, positions: Int64, names: Sequence[str]
) -> tuple[Portion, Int64]:
    """Return what a chunk's rollup says of the series at these positions, and the places it leaves open.

    Raises StoreFormatError, and what else damaged bytes may raise.
    """
    if facts.kind == FLOATS:
        part, absent = decode_part(blobs, facts.start_ms, positions, names)
        return Portion([part] if len(part.places) else []), absent
    points, weights, absent = decode_kept(blobs, facts.start_ms, positions)
    return Portion(points=points, weights=weights), absent


def floats_portion(piece: Piece, names: Sequence[str]) -> Portion:
    """Return the bins of one chunk's float samples; the ranks of `piece` are the places."""
    width = int(piece.lengths[0])
    values = piece.values.reshape(len(piece.ranks), width)
    parts, rows, times = parts_of(piece.timestamps[:width], values, names)
    return Portion(
        [replace(part, places=piece.ranks[part.places]) for part in parts], piece.ranks[rows], times
    )


def points_portion(piece: Piece, pool: PointPool) -> Portion:
    """Return all points of one chunk; the ranks of `piece` are the places."""
    places = np.repeat(piece.ranks, piece.lengths).astype(np.int32)
    points = replace(
        pool.take(piece.values), series=places, timestamps=piece.timestamps, start_timestamps=None
    )
    return Portion(points=points, weights=weights_of(points))


def joined(portions: Sequence[Portion]) -> Portion:
    """Return what several portions say of different places of one chunk as one."""
    if len(portions) == 1:
        return portions[0]
    none = np.zeros(0, np.int64)
    return Portion(
        [part for portion in portions for part in portion.parts],
        np.concatenate([none, *(portion.stale_places for portion in portions)]),
        np.concatenate([none, *(portion.stale_ms for portion in portions)]),
        concat_histograms([portion.points for portion in portions]),
        np.concatenate([none, *(portion.weights for portion in portions if len(portion.points))]),
    )


class Shares:
    """Collects portions of selected series, then gives their rollup."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._ranks: list[Int64] = []
        self._rows: list[Int64] = []
        self._stale: list[tuple[Int64, Int64]] = []
        self._points: list[tuple[HistogramColumns, Int64]] = []

    def add(self, portion: Portion, ranks: Int64, free: Bool | None) -> None:
        """Add a portion whose series have these ranks; with `free` only some of them."""
        for part in portion.parts:
            rows = np.arange(len(part.places))
            if free is not None:
                rows = rows[free[part.places]]
            if len(rows):
                self._parts.append(part)
                self._rows.append(rows)
                self._ranks.append(ranks[part.places[rows]])
        if len(portion.stale_ms):
            kept = slice(None) if free is None else free[portion.stale_places]
            self._stale.append((ranks[portion.stale_places[kept]], portion.stale_ms[kept]))
        points, weights = portion.points, portion.weights
        if len(points) and free is not None:
            chosen = np.flatnonzero(free[points.series])
            points, weights = take_histograms(points, chosen), weights[chosen]
        if len(points):
            self._points.append((with_series(points, ranks[points.series].astype(np.int32)), weights))

    def rollup(self, rest: Rollup, span: tuple[int, int], wanted: Collection[str]) -> Rollup:
        """Return the portions within a span and the rest, which has all selected series, as one; series sorted.

        Bins lie wholly within the span or wholly outside.
        """
        names = _column_names(wanted)
        rows, times, values = self._bins(rest, span, names)
        stale_rows, stale_ms = self._stale_markers(rest, span)
        points, weights = self._kept_points(rest, span)
        count = len(rest.labels)
        here = np.zeros(count, np.bool_)
        for found in (rows, stale_rows, points.series):
            here[found] = True
        kept = np.flatnonzero(here)
        bins = FloatBins(*times, **dict(zip(names, values, strict=True))) if len(rows) else FloatBins()
        number = (np.cumsum(here) - 1).astype(np.int32)
        return _frozen(
            Rollup(
                labels=_chosen(rest.labels, kept),
                offsets=_offsets(rows, kept),
                bins=bins,
                stale_offsets=_offsets(stale_rows, kept),
                stale_ms=stale_ms,
                histogram_offsets=_offsets(points.series, kept),
                histograms=with_series(points, number[points.series]),
                weights=weights,
            )
        )

    def _bins(
        self, rest: Rollup, span: tuple[int, int], names: Sequence[str]
    ) -> tuple[Int64, Int64, Float64]:
        """Return series row [B], times [3, B] and values [C, B] of all bins, sorted."""
        bins = rest.bins
        rows = np.repeat(np.arange(len(rest.labels)), np.diff(rest.offsets))
        times = np.stack([bins.first_ms, bins.last_ms, bins.count])
        values = np.stack([getattr(bins, name) for name in names]) if len(bins) else np.zeros((len(names), 0))
        if not self._parts:
            return rows, times, values
        own_rows, own_times, own_values = self._gathered(len(names))
        outside = (own_times[0] < span[0]) | (own_times[1] > span[1])
        if outside.any():
            inside = ~outside
            own_rows, own_times, own_values = own_rows[inside], own_times[:, inside], own_values[:, inside]
        if not len(rows):
            return own_rows, own_times, own_values
        rows = np.concatenate([own_rows, rows])
        times = np.concatenate([own_times, times], axis=1)
        values = np.concatenate([own_values, values], axis=1)
        order = np.lexsort((times[0], rows))
        return rows[order], times[:, order], values[:, order]

    def _gathered(self, columns: int) -> tuple[Int64, Int64, Float64]:
        parts = self._parts
        times = np.concatenate([part.times for part in parts], axis=1)
        values = np.concatenate([part.values.reshape(columns, -1) for part in parts], axis=1)
        bins = np.array([part.times.shape[1] for part in parts])
        series = np.array([len(part.places) for part in parts])
        owner = np.repeat(np.arange(len(parts)), [len(rows) for rows in self._rows])
        rank, lengths = np.concatenate(self._ranks), bins[owner]
        time_at = offsets_of(bins)[owner]
        value_at = offsets_of(bins * series)[owner] + np.concatenate(self._rows) * lengths
        order = np.lexsort((times[0, time_at], rank))
        lengths = lengths[order]
        fresh = offsets_of(lengths)
        steps = np.arange(fresh[-1]) - np.repeat(fresh[:-1], lengths)
        time_at = np.repeat(time_at[order], lengths) + steps
        value_at = np.repeat(value_at[order], lengths) + steps
        return np.repeat(rank[order], lengths), times[:, time_at], values[:, value_at]

    def _stale_markers(self, rest: Rollup, span: tuple[int, int]) -> tuple[Int64, Int64]:
        rows = np.repeat(np.arange(len(rest.labels)), np.diff(rest.stale_offsets))
        if not self._stale:
            return rows, rest.stale_ms
        rows = np.concatenate([rows, *(ranks for ranks, _ in self._stale)])
        times = np.concatenate([rest.stale_ms, *(times for _, times in self._stale)])
        inside = np.flatnonzero((times >= span[0]) & (times <= span[1]))
        order = inside[np.lexsort((times[inside], rows[inside]))]
        return rows[order], times[order]

    def _kept_points(self, rest: Rollup, span: tuple[int, int]) -> tuple[HistogramColumns, Int64]:
        if not self._points:
            return rest.histograms, rest.weights
        points = concat_histograms([rest.histograms, *(points for points, _ in self._points)])
        weights = np.concatenate([rest.weights, *(weights for _, weights in self._points)])
        inside = np.flatnonzero((points.timestamps >= span[0]) & (points.timestamps <= span[1]))
        order = inside[np.lexsort((points.timestamps[inside], points.series[inside]))]
        return take_histograms(points, order), weights[order]


def _chosen(labels: tuple[Labels, ...], kept: Int64) -> tuple[Labels, ...]:
    return labels if len(kept) == len(labels) else tuple(labels[row] for row in kept.tolist())


def _offsets(rows: npt.NDArray[np.integer], kept: Int64) -> Int64:
    """Return where the rows of each kept series begin; rows of others there are none."""
    return np.append(np.searchsorted(rows, kept), len(rows)).astype(np.int64)


def _frozen(rollup: Rollup) -> Rollup:
    arrays = [*vars(rollup).values(), *vars(rollup.bins).values(), *vars(rollup.histograms).values()]
    for array in arrays:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return rollup
