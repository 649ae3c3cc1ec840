"""Native histograms as classic ones, for engines that have none: `_bucket{le}`, `_sum`, `_count`.

The bounds of an exponential histogram are edges of schema 2 (19 % apart) or of its own, if that is coarser, so
every count is exact. They run without a gap from below its smallest bucket to its largest: a counter's buckets
only become more, so a bound once sent is sent again. Custom bounds stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ninesight_store.contract import STALE_BITS, STALE_NAN, HistogramColumns, Labels
from ninesight_store.histograms import take_histograms

from ninesight_collector.forward.outgoing import Outgoing, without_empty
from ninesight_collector.names import format_float

__all__ = ["without_natives"]

_SCHEMA = 2
_CUSTOM = -53
_BOUNDS_MAX = 256
_CACHE_MAX = 200_000


def without_natives(
    outgoing: Outgoing, cache: dict[tuple[Labels, str], Labels], *, custom_only: bool = False
) -> Outgoing:
    """Return the same with classic histograms as float series; `cache` keeps their labels between calls.

    With `custom_only` exponential histograms stay native.
    """
    points, kept = outgoing.histograms, HistogramColumns()
    if custom_only:
        custom = points.schema == _CUSTOM
        kept = take_histograms(points, np.flatnonzero(~custom))
        points = take_histograms(points, np.flatnonzero(custom))
    if not len(points):
        return outgoing
    if len(cache) > _CACHE_MAX:
        cache.clear()
    rows: dict[Labels, list[tuple[int, float]]] = {}
    for place in range(len(points)):
        labels = outgoing.labels[int(points.series[place])]
        time = int(points.timestamps[place])
        for suffix, value in _classic(points, place):
            rows.setdefault(_named(labels, suffix, cache), []).append((time, value))
    fresh = list(rows)
    counts = [len(rows[labels]) for labels in fresh]
    pairs = [pair for labels in fresh for pair in rows[labels]]
    first = len(outgoing.labels)
    values = np.array([value for _, value in pairs], np.float64)
    # A marker that has been through Python may have lost its bits.
    values.view(np.uint64)[np.isnan(values)] = STALE_BITS
    starts = outgoing.start_timestamps
    return without_empty(
        Outgoing(
            [*outgoing.labels, *fresh],
            np.concatenate((outgoing.owner, np.repeat(first + np.arange(len(fresh)), counts))).astype(
                np.int64
            ),
            np.concatenate((outgoing.timestamps, np.array([time for time, _ in pairs], np.int64))),
            np.concatenate((outgoing.values, values)),
            None if starts is None else np.concatenate((starts, np.zeros(len(pairs), np.int64))),
            kept,
            outgoing.exemplars,
            [*outgoing.metadata, *([None] * len(fresh))] if outgoing.metadata else (),
            None
            if outgoing.shape is None
            else outgoing.shape + hash(tuple(fresh)).to_bytes(8, "big", signed=True),
        )
    )


def _classic(points: HistogramColumns, place: int) -> Iterator[tuple[str, float]]:
    """Yield (suffix, value): an `le` bound for a bucket, or `_sum`, `_count`."""
    if points.sum[place : place + 1].view(np.uint64)[0] == STALE_BITS:
        # Which bounds there were is not known here; those series end by themselves after the lookback.
        yield from (("+Inf", STALE_NAN), ("_sum", STALE_NAN), ("_count", STALE_NAN))
        return
    for bound, below in _bounds(points, place):
        yield format_float(bound), below
    count = float(points.count[place])
    yield from (("+Inf", count), ("_sum", float(points.sum[place])), ("_count", count))


def _bounds(points: HistogramColumns, place: int) -> list[tuple[float, float]]:
    """Return (bound, observations at or below it), ascending."""
    low, high = points.positive_offsets[place : place + 2].tolist()
    index = points.positive_index[low:high].astype(np.int64)
    run = np.cumsum(points.positive_count[low:high])
    schema = int(points.schema[place])
    if schema == _CUSTOM:
        first, last = points.bounds_offsets[place : place + 2].tolist()
        bounds = points.bounds[first:last]
        before = np.searchsorted(index, np.arange(len(bounds)), "right")
        return list(zip(bounds.tolist(), np.concatenate(([0.0], run))[before].tolist(), strict=True))
    negative_low, negative_high = points.negative_offsets[place : place + 2].tolist()
    under = float(points.negative_count[negative_low:negative_high].sum()) + float(points.zero_count[place])
    if not len(index):
        return []
    coarse = min(schema, _SCHEMA)
    shift = schema - coarse
    # Bucket i ends at 2^(i * 2^-schema); at a coarser schema in the bucket that ends at or above that.
    lowest, highest = ((int(index[0]) - 1) >> shift), ((int(index[-1]) - 1) >> shift) + 1
    edges = np.arange(max(lowest, highest - _BOUNDS_MAX), highest + 1)
    before = np.searchsorted(index, edges << shift, "right")
    counts = under + np.concatenate(([0.0], run))[before]
    with np.errstate(over="ignore"):
        bounds = np.exp2(edges * 2.0**-coarse)
    finite = np.isfinite(bounds)
    return list(zip(bounds[finite].tolist(), counts[finite].tolist(), strict=True))


def _named(labels: Labels, suffix: str, cache: dict[tuple[Labels, str], Labels]) -> Labels:
    found = cache.get((labels, suffix))
    if found is None:
        told = dict(labels)
        if suffix in ("_sum", "_count"):
            told["__name__"] = told.get("__name__", "") + suffix
        else:
            told["__name__"] = told.get("__name__", "") + "_bucket"
            told["le"] = suffix
        found = cache[(labels, suffix)] = tuple(sorted(told.items()))
    return found
