"""Subqueries: a block on an inner grid becomes samples to look at through windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ninesight_store.contract import ResetHint

from ninesight_query import ir
from ninesight_query.block import Block, Grid
from ninesight_query.context import Context
from ninesight_query.histogram import Histogram
from ninesight_query.samples import HistogramRun, Samples
from ninesight_query.select import RangeVector
from ninesight_query.spans import shifted
from ninesight_query.tiles import Flat

__all__ = ["subquery_vector"]


def subquery_vector(
    node: ir.Subquery, block: Block, inner: Grid, grid: Grid, context: Context
) -> RangeVector:
    """Return the windows of a subquery whose expression gave `block` on the grid `inner`."""
    ends = shifted(grid, node.offset_ms, node.at, context)
    return RangeVector(_samples(block, inner), ends - node.range_ms, ends, grid, node.range_ms)


def _samples(block: Block, inner: Grid) -> Samples:
    times = np.broadcast_to(inner.times, block.present.shape)
    offsets = np.concatenate(([0], np.cumsum(block.present.sum(axis=1)))).astype(np.int64)
    runs: dict[int, HistogramRun] = {}
    has = block.has_histogram
    if has is not None and block.histograms is not None:
        for row in np.flatnonzero(has.any(axis=1)):
            points = np.array([*map(_unhinted, block.histograms[row][has[row]]), None], object)[:-1]
            at = inner.times[has[row]]
            runs[int(row)] = HistogramRun(at, points, np.zeros(len(at), np.bool_))
    flat = Flat(offsets, times[block.present], np.ascontiguousarray(block.values[block.present]))
    samples = Samples.of_flat(block.labels, flat, runs, block.drop_name)
    samples._clean = samples
    return samples


def _unhinted(point: Histogram) -> Histogram:
    """A reset hint tells of the stored neighbour, which a subquery may have skipped."""
    if point.hint in (ResetHint.RESET, ResetHint.NOT_RESET):
        return replace(point, hint=ResetHint.UNKNOWN)
    return point
