"""Range functions over histograms: whole series at once where that is the same, else window by window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ninesight_store.contract import Float64

from ninesight_query import labels as label
from ninesight_query.block import Bool, Objects
from ninesight_query.context import Context
from ninesight_query.histogram_grid import Cell, HistogramGrid
from ninesight_query.histogram_grid_rate import rate_cell
from ninesight_query.range_histograms import Handler, apply, note_all
from ninesight_query.select import RangeVector

__all__ = ["apply_to_grid"]

_RATES = {"delta": (False, False), "increase": (True, False), "rate": (True, True)}
"""Functions that work on whole series: (is a counter, is a rate)."""


def apply_to_grid(
    name: str,
    handler: Handler,
    vector: RangeVector,
    params: Sequence[Float64],
    values: Float64,
    present: Bool,
    context: Context,
) -> Objects | HistogramGrid | None:
    """Return the histograms that a function gives; `values` and `present` are corrected in place."""
    samples = vector.samples
    table = samples.table
    if table is None or name not in _RATES:
        return apply(name, handler, vector, params, values, present, context)
    is_counter, is_rate = _RATES[name]
    pure = [row for row in samples.histograms if samples.offsets[row] == samples.offsets[row + 1]]
    if is_counter:
        # Those that say when they began are worked out window by window.
        pure = [row for row in pure if table.starts(row) is None]
    layouts, _ = table.layouts(pure)
    rest = [row for row in samples.histograms if row not in layouts]
    vector.check_points(name, rest)
    steps = values.shape[1]
    starts = np.broadcast_to(vector.starts_ms, (vector.grid.count,))[:steps]
    ends = np.broadcast_to(vector.ends_ms, (vector.grid.count,))[:steps]
    cells: dict[int, Cell] = {}
    for row, layout in layouts.items():
        context.check_deadline()
        cells[row], notes = rate_cell(
            table, row, layout, starts, ends, is_counter=is_counter, is_rate=is_rate
        )
        note_all(context.annotations, label.get(samples.labels[row], label.METRIC_NAME), notes)
    odd: dict[int, Objects] = {}
    if rest:
        found = apply(name, handler, vector, params, values, present, context, rest)
        if found is not None:
            odd = {row: found[row] for row in rest}
    return HistogramGrid((len(samples), steps), cells, odd)
