"""sum and avg over histogram samples: one exact sum per group and step."""

from __future__ import annotations

import numpy as np
from ninesight_store.contract import Int64, ResetHint

from ninesight_query import labels as label
from ninesight_query.block import Block, Bool, Objects
from ninesight_query.context import Context
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_grid import Cell, HistogramGrid, grouped
from ninesight_query.histogram_layout import compact
from ninesight_query.histogram_math import IncompatibleSchemasError, divide, total

__all__ = ["aggregate_grid", "aggregate_histograms", "annotate_ignored"]


def annotate_ignored(op: str, context: Context) -> None:
    """Say that an aggregation of floats left histograms out."""
    context.annotations.ignored_in_aggregation(op)


def aggregate_grid(
    op: str, ids: Int64, block: Block, floats: Bool, context: Context
) -> Objects | HistogramGrid | None:
    """Sum or average the histograms of each group: [G, T], lazily where all of a group have one layout."""
    grid = block.held
    if not isinstance(grid, HistogramGrid):
        return aggregate_histograms(op, ids, block, floats, context)
    members: dict[int, list[int]] = {}
    for row in sorted((*grid.cells, *grid.odd)):
        members.setdefault(int(ids[row]), []).append(row)
    cells: dict[int, Cell] = {}
    odd: dict[int, Objects] = {}
    for group, rows in members.items():
        joined = None
        if not floats[group].any() and all(row in grid.cells for row in rows):
            joined = grouped([grid.cells[row] for row in rows], average=op == "avg")
        if joined is None:
            part = block.take(rows)
            there = floats[group : group + 1]
            found = aggregate_histograms(op, np.zeros(len(rows), np.int64), part, there, context)
            if found is not None:
                odd[group] = found[0]
            continue
        cells[group], collided = joined
        if collided:
            context.annotations.reset_collision("aggregation")
    return HistogramGrid((floats.shape[0], floats.shape[1]), cells, odd)


def aggregate_histograms(op: str, ids: Int64, block: Block, floats: Bool, context: Context) -> Objects | None:
    """Sum or average the histograms of each group: [G, T].

    `floats` [G, T] says where a group has floats too: there nothing is left, and it is cleared in place.
    """
    histograms, has = block.histograms, block.has_histogram
    assert histograms is not None
    assert has is not None
    out: Objects = np.full(floats.shape, None, object)
    cells: dict[tuple[int, int], list[int]] = {}
    rows, steps = np.nonzero(has)
    for row, step in zip(rows.tolist(), steps.tolist(), strict=True):
        cells.setdefault((int(ids[row]), step), []).append(row)
    for (group, step), members in cells.items():
        if floats[group, step]:
            context.annotations.mixed_aggregation()
            floats[group, step] = False
            continue
        out[group, step] = _joined(op, [histograms[row, step] for row in members], block, members, context)
    context.check_deadline()
    return out


def _joined(
    op: str, points: list[Histogram], block: Block, members: list[int], context: Context
) -> Histogram | None:
    try:
        summed = total(points)
    except IncompatibleSchemasError:
        odd = next(k for k, point in enumerate(points) if point.custom != points[0].custom)
        context.annotations.mixed_schemas(label.get(block.labels[members[odd]], label.METRIC_NAME))
        return None
    hints = {point.hint for point in points}
    if ResetHint.RESET in hints and ResetHint.NOT_RESET in hints:
        context.annotations.reset_collision("aggregation")
    if summed.bounds_reconciled:
        context.annotations.reconciled("aggregation")
    if op == "sum":
        return compact(summed.histogram)
    if np.isfinite(summed.histogram.count) and np.isfinite(summed.histogram.sum):
        return compact(divide(summed.histogram, float(len(points))))
    return compact(total([divide(point, float(len(points))) for point in points]).histogram)
