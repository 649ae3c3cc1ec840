"""histogram_quantile on classic buckets: one group of `le` counts at one time."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["bucket_quantile"]

SAME_WITHIN = 1e-12
"""Counts this close (relatively) are one count with rounding noise."""


def bucket_quantile(ratio: float, buckets: Sequence[tuple[float, float]]) -> float:
    """Return the quantile of (upper bound, cumulative count) pairs: linear inside the bucket it falls in."""
    if math.isnan(ratio):
        return math.nan
    if ratio < 0:
        return -math.inf
    if ratio > 1:
        return math.inf
    joined: dict[float, float] = {}
    for bound, count in sorted(buckets, key=lambda bucket: bucket[0]):
        joined[bound] = joined.get(bound, 0.0) + count
    bounds = list(joined)
    if not bounds or bounds[-1] != math.inf or len(bounds) < 2:
        return math.nan
    counts = _rising(list(joined.values()))
    total = counts[-1]
    if total == 0:
        return math.nan
    rank = ratio * total
    place = 0
    while place < len(bounds) - 1 and not counts[place] >= rank:
        place += 1
    if place == len(bounds) - 1:
        return bounds[-2]
    if place == 0 and bounds[0] <= 0:
        return bounds[0]
    low, below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    inside = counts[place] - below
    share = (rank - below) / inside if inside else math.nan
    return low + (bounds[place] - low) * share


def _rising(counts: list[float]) -> list[float]:
    """Lift counts that fell below the one before them, and level those that differ by noise only."""
    out = counts[:1]
    for count in counts[1:]:
        before = out[-1]
        noise = count != before and abs(count - before) <= SAME_WITHIN * min(abs(count) + abs(before), 1e308)
        out.append(before if noise or count < before else count)
    return out
