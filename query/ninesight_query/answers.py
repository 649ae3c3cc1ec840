"""From blocks to the values of the contract: names removed, empty series left out, rows in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ninesight_store.contract import Labels

from ninesight_query import labels as label
from ninesight_query.block import Block, Grid, merge_same_labels
from ninesight_query.contract import Matrix, Ragged, Vector
from ninesight_query.histogram import Histogram
from ninesight_query.select import RangeVector

__all__ = ["finished", "to_matrix", "to_ragged", "to_vector"]


def finished(block: Block) -> Block:
    """Remove the names marked for it, merge what then is equal, leave out series without a point, sort.

    Raises ExecutionError where two series of equal labels have a point at one step.
    """
    exists = block.present if block.held is None else block.exists
    if np.count_nonzero(exists) < exists.size:
        rows = np.flatnonzero(exists.any(axis=1))
        if len(rows) < len(block):
            block = block.take(rows)
    if np.count_nonzero(block.drop_name):
        names: Sequence[Labels]
        if block.drop_name.all():
            names = label.without_metadata(block.labels)
        else:
            names = [
                label.drop_metadata(labels) if drop else labels
                for labels, drop in zip(block.labels, block.drop_name.tolist(), strict=True)
            ]
        block = merge_same_labels(
            Block(names, block.values, block.present, block.drop_name, block.held, block.ordered)
        )
    if block.ordered or label.in_ascending_order(block.labels):
        return block
    order = label.ascending(block.labels)
    return block.take(order, label.in_order(block.labels, order))


def to_vector(block: Block, at_ms: int) -> Vector:
    """Return the one column of a finished block."""
    histograms = {}
    has = None if block.held is None else block.has_histogram
    if has is not None and block.histograms is not None:
        histograms = {int(row): block.histograms[row, 0] for row in np.flatnonzero(has[:, 0])}
    return Vector(at_ms, label.as_tuple(block.labels), np.ascontiguousarray(block.values[:, 0]), histograms)


def to_matrix(block: Block, grid: Grid) -> Matrix:
    """Return a finished block."""
    histograms = {}
    has = block.has_histogram
    if has is not None and block.histograms is not None:
        histograms = {
            (row, step): block.histograms[row, step]
            for row, step in zip(*(index.tolist() for index in np.nonzero(has)), strict=True)
        }
    return Matrix(grid.times, label.as_tuple(block.labels), block.values, block.present, histograms)


def to_ragged(vector: RangeVector) -> Ragged:
    """Return the samples within the one window of an instant query."""
    samples = vector.samples
    start, end = int(vector.starts_ms[0]), int(vector.ends_ms[0])
    labels, times, values, histograms = [], [], [], []
    for row in range(len(samples)):
        own = slice(int(samples.offsets[row]), int(samples.offsets[row + 1]))
        inside = (samples.times[own] > start) & (samples.times[own] <= end)
        run = samples.histograms.get(row)
        points: tuple[tuple[int, Histogram], ...] = ()
        if run is not None:
            low, high = (int(each[0]) for each in vector.run_bounds(run))
            points = tuple(zip(run.times[low:high].tolist(), run.points[low:high], strict=True))
        if not inside.any() and not points:
            continue
        each = samples.labels[row]
        labels.append(label.drop_metadata(each) if samples.drop_name[row] else each)
        times.append(samples.times[own][inside])
        values.append(samples.values[own][inside])
        histograms.append(points)
    order = label.ascending(labels)
    any_histogram = any(histograms)
    return Ragged(
        tuple(labels[k] for k in order),
        tuple(times[k] for k in order),
        tuple(values[k] for k in order),
        tuple(histograms[k] for k in order) if any_histogram else (),
    )
