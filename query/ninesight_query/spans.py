"""Which times a selector looks at, and whether bins of samples are enough to answer it.

A window is answered from bins (`ninesight_store.rollup`) where it ends on edges of bins. Multiples of ROLLUP_MS
are edges; any other has to be asked for, and for each the store reads a whole chunk of samples. So bins are asked
for where the span is long and such edges are few.
"""

from __future__ import annotations

import numpy as np
from ninesight_store import ROLLUP_MS
from ninesight_store.contract import Int64

from ninesight_query import ir
from ninesight_query.block import Grid
from ninesight_query.context import Context
from ninesight_query.fetch import BinWish
from ninesight_query.settings import Rollups

__all__ = ["bin_wish", "selector_span", "shifted"]

_SPAN_MS_MIN = 48 * 3_600_000
"""Below, the samples themselves are read about as fast, and the next query finds them in memory."""
_BINS_PER_EDGE_MIN = 48
"""An edge that is asked for costs a chunk of 2 to 6 hours: so half of the span at most is read in full."""


def shifted(grid: Grid, offset_ms: int, at: ir.At | None, context: Context) -> Int64:
    """Return the time each step looks at, offset and `@` applied: [T], or [1] where `@` pins it."""
    if at is not None:
        return np.array([at.resolve(context.start_ms, context.end_ms) - offset_ms], np.int64)
    return grid.times - offset_ms if offset_ms else grid.times


def selector_span(selector: ir.Selector, range_ms: int, grid: Grid, context: Context) -> tuple[int, int]:
    """Return the first and last time of the samples a selector may need."""
    if selector.at is not None:
        first_ms = last_ms = selector.at.resolve(context.start_ms, context.end_ms)
    else:
        first_ms, last_ms = grid.start_ms, grid.start_ms + grid.step_ms * (grid.count - 1)
    start_ms, end_ms = first_ms - selector.offset_ms - range_ms + 1, last_ms - selector.offset_ms
    if selector.extension:
        start_ms -= context.settings.lookback_ms
    if selector.extension is ir.Extension.SMOOTHED:
        end_ms += context.settings.lookback_ms
    return start_ms, end_ms


def bin_wish(
    selector: ir.Selector,
    range_ms: int,
    grid: Grid,
    context: Context,
    *,
    columns: frozenset[str] = frozenset(),
    newest: bool,
) -> BinWish | None:
    """Return what bins a selector needs, with some columns beside first and last; None: read all samples.

    `newest`: only the last sample before each step counts, so that windows need no edge at their start.
    """
    use = context.settings.rollups
    span_ms = range_ms + (0 if selector.at else grid.step_ms * (grid.count - 1))
    if span_ms < _SPAN_MS_MIN and use is Rollups.WORTHWHILE:
        return None
    if use is Rollups.NEVER or selector.extension or not context.fetcher.has_bins:
        return None
    ends = shifted(grid, selector.offset_ms, selector.at, context)
    edges = ends if newest else np.concatenate((ends - range_ms, ends))
    odd = np.unique(edges[edges % ROLLUP_MS != 0])
    if use is Rollups.WORTHWHILE and len(odd) * _BINS_PER_EDGE_MIN > span_ms // ROLLUP_MS:
        return None
    # From the beginning of a bin: a span that cuts it makes the store read its samples.
    start_ms = (int(ends[0]) - range_ms) // ROLLUP_MS * ROLLUP_MS + 1
    return BinWish(start_ms, int(ends[-1]), odd, columns)
