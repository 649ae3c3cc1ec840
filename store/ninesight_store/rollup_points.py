"""Rollups of chunks of histograms: of each series only the points that say more than that it grew.

    head    uint32 points kept of each series | packed: uint32 time (milliseconds from the chunk's first point), weights
    ends    the kept points of all series, one after the other (point_chunk.py)

Kept are the first and last point of every bin, both points around whatever may be a counter reset, and around and
with every stale marker. What is left out between two kept points only grew, bucket by bucket, so the difference of
those two is what all points would give. A series that keeps more than a quarter, or a gauge, is not in the rollup.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Float64, HistogramColumns, Int32, Int64, ResetHint, stale_in
from ninesight_store.errors import StoreFormatError
from ninesight_store.histograms import (
    concat_histograms,
    gather_slices,
    offsets_of,
    take_histograms,
    with_series,
)
from ninesight_store.pieces import POINTS
from ninesight_store.point_chunk import decode_points, encode_points
from ninesight_store.rollup import ROLLUP_MS
from ninesight_store.rollup_row import RollupDraft, RollupHead, bin_begins, worth_it

__all__ = ["decode_kept", "encode_kept", "kept_points", "kept_weights"]

_SHARE = 4
"""At most one in so many points is kept."""
_CELLS_MAX = 2**22
_CALM = (ResetHint.UNKNOWN, ResetHint.NOT_RESET)

Bool = npt.NDArray[np.bool_]


def encode_kept(stamps: Int64, series: Sequence[HistogramColumns], level: int) -> RollupDraft | None:
    """Return the rollup of series whose points share their timestamps; None where it is not worth it."""
    begins = bin_begins(stamps)
    if not worth_it(len(stamps), len(series), len(begins), int(stamps[-1] - stamps[0])):
        return None
    counts, times, weights = [], [], []
    kept: list[HistogramColumns] = []
    for points in series:
        chosen = kept_points(points, begins)
        rows = np.flatnonzero(chosen) if chosen.sum() * _SHARE <= len(stamps) else np.zeros(0, np.int64)
        counts.append(len(rows))
        times.append(stamps[rows] - stamps[0])
        weights.append(kept_weights(points, rows))
        kept.append(take_histograms(points, rows))
    head = RollupHead(POINTS, ROLLUP_MS, len(begins), len(series)).packed()
    pairs = np.concatenate([*times, *weights]).astype("<u4").tobytes()
    return RollupDraft(
        head=head + np.array(counts, "<u4").tobytes() + zlib.compress(pairs, 1),
        ends=encode_points(concat_histograms(kept), level) if sum(counts) else b"",
    )


def decode_kept(
    blobs: Mapping[str, bytes], start_ms: int, positions: Int64
) -> tuple[HistogramColumns, Int64, Int64]:
    """Return the kept points (`series`: which of `positions`), their weights, and which positions have none here.

    Raises StoreFormatError for damaged bytes.
    """
    blob = blobs["head"]
    head = RollupHead.of(blob)
    if head.form != POINTS or len(blob) < RollupHead.SIZE + 4 * head.series:
        raise StoreFormatError("a rollup is damaged: its head is not that of a chunk of histograms")
    counts = np.frombuffer(blob, "<u4", head.series, RollupHead.SIZE).astype(np.int64)
    if head.width_ms != ROLLUP_MS:
        counts[:] = 0
    there = counts[positions] > 0
    absent = np.flatnonzero(~there)
    if not there.any():
        return HistogramColumns(), np.zeros(0, np.int64), absent
    pairs = np.frombuffer(zlib.decompress(blob[RollupHead.SIZE + 4 * head.series :]), "<u4").astype(np.int64)
    edges = offsets_of(counts)
    if len(pairs) != 2 * edges[-1]:
        raise StoreFormatError("a rollup is damaged: its times do not fit its points")
    stamps, weights = pairs[: edges[-1]] + start_ms, pairs[edges[-1] :]
    points = decode_points(blobs["ends"], np.zeros(len(stamps), np.int32), stamps)
    fresh, rows = gather_slices(edges, positions[there])
    places = np.repeat(np.flatnonzero(there), np.diff(fresh)).astype(np.int32)
    return with_series(take_histograms(points, rows), places), weights[rows], absent


def kept_weights(points: HistogramColumns, rows: Int64) -> Int64:
    """Return how many points of one series, stale markers apart, each kept one stands for."""
    seen = np.cumsum(~stale_in(points.sum))
    return np.diff(seen[rows], prepend=0)


def kept_points(points: HistogramColumns, begins: Int64) -> Bool:
    """Return which points of one series must be kept; all of a gauge."""
    count = len(points)
    if (points.hint == ResetHint.GAUGE).any():
        return np.ones(count, np.bool_)
    stale = stale_in(points.sum)
    kept = stale.copy()
    kept[begins] = True
    kept[np.append(begins[1:], count) - 1] = True
    around = _may_reset(points) | stale[1:] | stale[:-1]
    kept[1:] |= around
    kept[:-1] |= around
    return kept


def _may_reset(points: HistogramColumns) -> Bool:
    """Return for each point but the first whether it may have begun anew since the one before."""
    lengths = np.diff(points.bounds_offsets)
    if (lengths != lengths[0]).any():
        return np.ones(len(points) - 1, np.bool_)
    reset = ~np.isin(points.hint[1:], _CALM)
    reset |= points.schema[1:] != points.schema[:-1]
    for column in (points.zero_threshold, *points.bounds.reshape(len(points), -1).T):
        reset |= column[1:] != column[:-1]
    for column in (points.count, points.zero_count):
        reset |= ~(column[1:] >= column[:-1])
    reset |= _fallen(points.positive_offsets, points.positive_index, points.positive_count)
    reset |= _fallen(points.negative_offsets, points.negative_index, points.negative_count)
    return reset


def _fallen(offsets: Int64, index: Int32, counts: Float64) -> Bool:
    """Return for each point but the first whether a bucket fell or disappeared."""
    points = len(offsets) - 1
    width = len(index) // points
    if width * points == len(index) and (index.reshape(points, width) == index[:width]).all():
        table = counts.reshape(points, width)
    else:
        distinct, column = np.unique(index, return_inverse=True)
        if len(distinct) * points > _CELLS_MAX:
            return np.ones(points - 1, np.bool_)
        # What is absent is less than anything: to appear is to grow.
        table = np.full((points, len(distinct)), -np.inf)
        table[np.repeat(np.arange(points), np.diff(offsets)), column] = counts
    return ~np.asarray((table[1:] >= table[:-1]).all(axis=1), np.bool_)
