"""Putting runs of samples together: by series, by time, of equals the one written last.

A *piece* is a run as it was stored: consecutive segments, each of one series. Pieces nearly always follow
each other in time, so segments are ordered by their first timestamp and copied; only series whose
timestamps then do not ascend are sorted sample by sample.

    pieces (any order) ──► segments by (series, first time) ──► gather ──► series out of order: sort, dedupe
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Int64
from ninesight_store.histograms import join_starts, offsets_of

__all__ = [
    "FLOATS",
    "POINTS",
    "SEALED_BELOW",
    "Piece",
    "Run",
    "assemble",
    "empty_run",
    "span_piece",
    "weight",
]

FLOATS = 0
"""`kind` of float samples."""
POINTS = 1
"""`kind` of native-histogram points."""
_POINT_WEIGHT = 16

SEALED_BELOW = 2**52
"""Write order: chunk ids as they are, hot row ids plus this; what is hot was written after what is sealed."""

Array = npt.NDArray[Any]


def weight(kind: int, count: int) -> int:
    """Return what samples of a kind weigh in memory, in float samples: a histogram point is about as much as 16."""
    return count * (_POINT_WEIGHT if kind == POINTS else 1)


@dataclass(frozen=True)
class Piece:
    """Consecutive segments of samples. `values` are floats, or row numbers of histogram points."""

    ranks: Int64
    """[K] series row of each segment, ascending."""
    lengths: Int64
    """[K] samples of each segment."""
    timestamps: Int64
    """[N]"""
    values: Array
    """[N]"""
    written: Int64
    """Write order: one number for the whole piece, one a sample, or R numbers for segments of R samples."""
    starts: Int64 | None = None
    """[N] start timestamps of floats, 0 where unknown (points carry theirs along)."""

    def written_each(self) -> Int64:
        """Return the write order of every sample."""
        if len(self.written) == 1:
            return np.full(len(self.timestamps), self.written[0], np.int64)
        if len(self.written) == len(self.timestamps):
            return self.written
        return np.tile(self.written, len(self.lengths))


@dataclass(frozen=True)
class Run:
    """Samples grouped by series, timestamps strictly ascending within each."""

    offsets: Int64
    """[S+1]"""
    timestamps: Int64
    values: Array
    written: Int64 | None
    """Write order of each sample, kept only on request."""
    starts: Int64 | None = None
    """Start timestamp of each sample, 0 where unknown; None: known for none."""

    def series(self) -> Int64:
        """Return the series row of every sample."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def span_piece(piece: Piece, start_ms: int, end_ms: int) -> Piece:
    """Return the part of a piece within the span, ends included."""
    keep = (piece.timestamps >= start_ms) & (piece.timestamps <= end_ms)
    if keep.all():
        return piece
    edges = offsets_of(piece.lengths)
    kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    written = piece.written if len(piece.written) == 1 else piece.written_each()[keep]
    lengths = kept[edges[1:]] - kept[edges[:-1]]
    starts = None if piece.starts is None else piece.starts[keep]
    return Piece(piece.ranks, lengths, piece.timestamps[keep], piece.values[keep], written, starts)


def empty_run(count: int, dtype: type[np.generic]) -> Run:
    """Return a run of `count` series without samples."""
    none = np.zeros(0, np.int64)
    return Run(np.zeros(count + 1, np.int64), none, np.zeros(0, dtype), none)


def assemble(count: int, pieces: Sequence[Piece], dtype: type[np.generic], *, written: bool = False) -> Run:
    """Return the samples of all pieces as one run over `count` series."""
    pieces = [piece for piece in pieces if len(piece.timestamps)]
    if not pieces:
        return empty_run(count, dtype)
    ranks = np.concatenate([piece.ranks for piece in pieces])
    lengths = np.concatenate([piece.lengths for piece in pieces])
    times = np.concatenate([piece.timestamps for piece in pieces])
    values = np.concatenate([piece.values for piece in pieces])
    begun = join_starts([(len(piece.timestamps), piece.starts) for piece in pieces])
    firsts = offsets_of(lengths)[:-1]
    if not lengths.all():
        ranks, firsts, lengths = ranks[lengths > 0], firsts[lengths > 0], lengths[lengths > 0]
    positions = None
    if len(pieces) > 1 or np.any(ranks[1:] < ranks[:-1]):
        order = np.lexsort((times[firsts], ranks))
        ranks, firsts, lengths = ranks[order], firsts[order], lengths[order]
        fresh = offsets_of(lengths)
        positions = np.arange(fresh[-1], dtype=np.int64) + np.repeat(firsts - fresh[:-1], lengths)
        times, values = times[positions], values[positions]
        begun = None if begun is None else begun[positions]
    totals = np.bincount(ranks, weights=lengths, minlength=count).astype(np.int64)
    offsets = offsets_of(totals)
    disorder = _disordered(offsets, times)
    if not len(disorder) and not written:
        return Run(offsets, times, values, None, begun)
    order_of = np.concatenate([piece.written_each() for piece in pieces])
    order_of = order_of if positions is None else order_of[positions]
    if not len(disorder):
        return Run(offsets, times, values, order_of, begun)
    return _settled(Run(offsets, times, values, order_of, begun), order_of, disorder)


def _disordered(offsets: Int64, times: Int64) -> Int64:
    """Return the series whose timestamps do not ascend strictly."""
    if len(times) < 2:
        return np.zeros(0, np.int64)
    back = np.flatnonzero(times[1:] <= times[:-1]) + 1
    if not len(back):
        return back
    owner = np.searchsorted(offsets, back, side="right") - 1
    return np.unique(owner[offsets[owner] != back])


def _settled(run: Run, order_of: Int64, disorder: Int64) -> Run:
    """Sort the series in `disorder` by time and drop what was overwritten."""
    offsets = run.offsets
    rows = np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in disorder.tolist()])
    owner = np.repeat(disorder, offsets[disorder + 1] - offsets[disorder])
    order = rows[np.lexsort((order_of[rows], run.timestamps[rows], owner))]
    times, values = _reordered(run.timestamps, rows, order), _reordered(run.values, rows, order)
    keep = np.ones(len(times), np.bool_)
    keep[rows[:-1]] = (owner[1:] != owner[:-1]) | (times[rows[1:]] != times[rows[:-1]])
    kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    starts = None if run.starts is None else _reordered(run.starts, rows, order)[keep]
    written = _reordered(order_of, rows, order)[keep]
    return Run(kept[offsets], times[keep], values[keep], written, starts)


def _reordered(column: Array, rows: Int64, order: Int64) -> Array:
    changed = column.copy()
    changed[rows] = column[order]
    return changed
