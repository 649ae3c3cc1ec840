"""Classic histograms: series with an `le` label, gathered into cubes of cumulative counts.

    cube [G, B, T]: groups of equal labels (but `le`), upper bounds ascending, steps

A bucket that is missing at a step takes the count and the bound of the one before it, so that it neither
holds observations nor cuts an interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import Float64, Int64, Labels

from ninesight_query import labels as label
from ninesight_query.block import Block, Bool
from ninesight_query.context import Context
from ninesight_query.label_memo import remembered

__all__ = ["BUCKET_LABEL", "Cube", "bucket_fraction", "bucket_quantile", "cubes_of"]

BUCKET_LABEL = "le"
SMALL_DELTA = 1e-12
"""Relative difference between buckets that is taken for a rounding error."""


@dataclass(frozen=True, slots=True)
class Cube:
    """Classic histograms with the same upper bounds."""

    labels: Sequence[Labels]
    """[G] without `le`."""
    bounds: Float64
    """[B] ascending."""
    counts: Float64
    """[G, B, T] cumulative."""
    present: Bool
    """[G, B, T]"""
    rows: Sequence[Int64]
    """Per group the rows of the block it was made from."""

    @property
    def exists(self) -> Bool:
        """[G, T] where any bucket is there."""
        return np.asarray(self.present.any(axis=1), np.bool_)


def cubes_of(block: Block, context: Context) -> list[Cube]:
    """Gather the floats of a block; series whose `le` is no number are left out, with a warning."""
    buckets = remembered(block.labels, "buckets", lambda: [_bucket(labels) for labels in block.labels])
    some = np.asarray(block.present.any(axis=1))
    for row in np.flatnonzero(some).tolist():
        if buckets[row] is None:
            labels = block.labels[row]
            name, text = label.get(labels, label.METRIC_NAME), label.get(labels, BUCKET_LABEL)
            context.annotations.bad_bucket_label(name, text)
    if some.all():
        layout = remembered(block.labels, "cubes", lambda: _layout(buckets, range(len(buckets))))
    else:
        layout = _layout(buckets, np.flatnonzero(some).tolist())
    return [_cube(block, bounds, keys, rows) for bounds, keys, rows in layout]


def _bucket(labels: Labels) -> tuple[float, Labels] | None:
    """Return the upper bound and the labels without it; None where `le` is no number."""
    bound = _parsed(label.get(labels, BUCKET_LABEL))
    return None if bound is None else (bound, tuple(pair for pair in labels if pair[0] != BUCKET_LABEL))


def _layout(
    buckets: Sequence[tuple[float, Labels] | None], rows: Iterable[int]
) -> list[tuple[tuple[float, ...], list[Labels], Int64]]:
    """Return bounds [B], labels [G] and rows [G, B] of the histograms that have the same bounds."""
    groups: dict[Labels, list[tuple[float, int]]] = {}
    for row in rows:
        bucket = buckets[row]
        if bucket is not None:
            groups.setdefault(bucket[1], []).append((bucket[0], row))
    by_bounds: dict[tuple[float, ...], list[tuple[Labels, list[int]]]] = {}
    for key, members in groups.items():
        members.sort()
        bounds = tuple(bound for bound, _ in members)
        by_bounds.setdefault(bounds, []).append((key, [row for _, row in members]))
    return [
        (bounds, [key for key, _ in members], np.array([own for _, own in members], np.int64))
        for bounds, members in by_bounds.items()
    ]


def _parsed(text: str) -> float | None:
    try:
        return float(text) if text and "_" not in text and not text[0].isspace() else None
    except ValueError:
        return None


def _cube(block: Block, bounds: tuple[float, ...], keys: list[Labels], rows: Int64) -> Cube:
    counts, present = block.values[rows], block.present[rows]
    edges = np.array(bounds)
    if len(set(bounds)) < len(bounds):
        edges, starts = np.unique(edges, return_index=True)
        counts = np.add.reduceat(np.where(present, counts, 0.0), starts, axis=1)
        present = np.logical_or.reduceat(present, starts, axis=1)
    return Cube(keys, edges, counts, present, list(rows))


@dataclass(frozen=True, slots=True)
class _Filled:
    """A cube without holes: missing buckets repeat the one before."""

    counts: Float64
    """[G, B, T]"""
    uppers: Float64
    """[G, B, T] or [1, B, 1]"""
    lowers: Float64
    """Upper bound of the bucket before, -Inf for the first."""
    number: Int64
    """[G, T] buckets that are there."""
    complete: Bool
    """[G, T] whether the +Inf bucket is there."""


def _fill(cube: Cube) -> _Filled:
    size = len(cube.bounds)
    number = cube.present.sum(axis=1)
    complete = cube.present[:, -1] & np.isposinf(cube.bounds[-1])
    exists = number > 0
    if (number[exists] == size).all():
        lowers = np.concatenate(([-np.inf], cube.bounds[:-1]))
        counts = np.where(exists[:, None, :], cube.counts, 0.0)
        return _Filled(counts, cube.bounds[None, :, None], lowers[None, :, None], number, complete)
    places = np.where(cube.present, np.arange(size)[None, :, None], -1)
    source = np.maximum.accumulate(places, axis=1)
    counts = np.take_along_axis(cube.counts, np.maximum(source, 0), axis=1)
    counts = np.where(source >= 0, counts, 0.0)
    padded = np.concatenate(([-np.inf], cube.bounds))
    uppers = padded[source + 1]
    before = np.concatenate((np.full_like(source[:, :1], -1), source[:, :-1]), axis=1)
    lowers = np.where(cube.present, padded[before + 1], uppers)
    return _Filled(counts, uppers, lowers, number, complete)


def _monotonic(counts: Float64, present: Bool) -> tuple[Float64, Bool]:
    """Repair counts that fall with the bound; also where [G, T] the fall was more than rounding."""
    out = counts.copy()
    forced = np.zeros((counts.shape[0], counts.shape[2]), np.bool_)
    previous = out[:, 0].copy()
    seen = present[:, 0].copy()
    for k in range(1, counts.shape[1]):
        now = out[:, k]
        difference = np.abs(now - previous)
        size = np.minimum(np.abs(now) + np.abs(previous), np.finfo(np.float64).max)
        close = (difference / size < SMALL_DELTA) & (now != previous)
        fell = (now < previous) & ~close & seen & present[:, k]
        forced |= fell
        out[:, k] = np.where(seen & (close | fell), previous, now)
        previous = np.where(close & seen, previous, np.where(seen, np.fmax(previous, now), now))
        seen |= present[:, k]
    return out, forced


def bucket_quantile(q: Float64, cube: Cube) -> tuple[Float64, Bool]:
    """Return the q-quantile [G, T], linear within its bucket, and where counts had to be repaired.

    The highest finite bound where it lies in the +Inf bucket; the lowest bucket starts at 0 if its bound
    is positive. NaN without a +Inf bucket, with fewer than two buckets or no observations.
    Source: Prometheus' BucketQuantile.
    """
    filled = _fill(cube)
    with np.errstate(all="ignore"):
        counts, forced = _monotonic(filled.counts, cube.present)
        total = counts[:, -1]
        rank = q * total
        reached = (counts >= rank[:, None, :]) & cube.present
        reached[:, -1] = True
        index = np.argmax(reached, axis=1)[:, None, :]
        uppers = np.broadcast_to(filled.uppers, counts.shape)
        lowers = np.broadcast_to(filled.lowers, counts.shape)
        upper = np.take_along_axis(uppers, index, 1)[:, 0]
        lower = np.take_along_axis(lowers, index, 1)[:, 0]
        count = np.take_along_axis(counts, index, 1)[:, 0]
        below = np.take_along_axis(counts, np.maximum(index - 1, 0), 1)[:, 0]
        lowest = np.isneginf(lower)
        below = np.where(lowest, 0.0, below)
        start = np.where(lowest, 0.0, lower)
        inside = start + (upper - start) * ((rank - below) / (count - below))
        found = np.where(lowest & (upper <= 0), upper, inside)
        found = np.where(index[:, 0] == counts.shape[1] - 1, lowers[:, -1], found)
        usable = filled.complete & (filled.number >= 2) & (total != 0) & ~np.isnan(total)
        found = np.where(usable, found, np.nan)
        outside = np.isnan(q) | (q < 0) | (q > 1)
        found = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, np.where(np.isnan(q), np.nan, found)))
    return found, forced & ~outside & cube.exists


def bucket_fraction(lower: Float64, upper: Float64, cube: Cube) -> Float64:
    """Return the share of observations between two values [G, T], linear within a bucket.

    NaN without a +Inf bucket or observations. Source: Prometheus' BucketFraction.
    """
    filled = _fill(cube)
    with np.errstate(all="ignore"):
        total = filled.counts[:, -1]
        low = np.minimum(_rank(lower, filled, cube.present), total)
        high = np.minimum(_rank(upper, filled, cube.present), total)
        share = np.where(lower >= upper, 0.0, (high - low) / total)
        usable = filled.complete & (total != 0) & ~np.isnan(lower) & ~np.isnan(upper)
    return np.where(usable, share, np.nan)


def _rank(value: Float64, filled: _Filled, present: Bool) -> Float64:
    """Return how many observations lie below a value [T]: [G, T]."""
    counts = filled.counts
    shape = (counts.shape[0], counts.shape[2])
    rank, settled = np.zeros(shape), np.zeros(shape, np.bool_)
    out = counts[:, -1].copy()
    lowers = np.broadcast_to(filled.lowers, counts.shape)
    uppers = np.broadcast_to(filled.uppers, counts.shape)
    for k in range(counts.shape[1]):
        here = present[:, k] & ~settled
        low, high, count = lowers[:, k], uppers[:, k], counts[:, k]
        low = np.where(np.isneginf(low) & (high > 0), 0.0, low)
        above = here & (low >= value)
        out = np.where(above, rank, out)
        within = here & ~above & (low < value) & (high > value)
        part = np.where(np.isposinf(high), 0.0, (value - low) / (high - low))
        part = np.where(np.isneginf(low), 1.0, part)
        out = np.where(within, rank + (count - rank) * part, out)
        settled |= above | within
        rank = np.where(present[:, k], count, rank)
    return out
