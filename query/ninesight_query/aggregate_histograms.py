"""sum and avg over histogram samples: one exact sum per group and step."""

from __future__ import annotations

import numpy as np
from ninesight_store.contract import Int64, ResetHint

from ninesight_query import labels as label
from ninesight_query.block import Block, Bool, Objects
from ninesight_query.context import Context
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_layout import compact
from ninesight_query.histogram_math import IncompatibleSchemasError, divide, total

__all__ = ["aggregate_histograms", "annotate_ignored"]


def annotate_ignored(op: str, context: Context) -> None:
    """Say that an aggregation of floats left histograms out."""
    context.annotations.ignored_in_aggregation(op)


def aggregate_histograms(op: str, ids: Int64, block: Block, floats: Bool, context: Context) -> Objects | None:
    """Sum or average the histograms of each group: [G, T].

    `floats` [G, T] says where a group has floats too: there nothing is left, and it is cleared in place.
    """
    assert block.histograms is not None
    has = block.has_histogram
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
        out[group, step] = _joined(
            op, [block.histograms[row, step] for row in members], block, members, context
        )
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
