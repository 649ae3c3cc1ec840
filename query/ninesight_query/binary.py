"""Binary operators: scalars, a vector and a scalar, and vectors joined by match groups.

Labels do not change with the step, so series are paired once; what may differ from step to step
(which of several candidates is there) is settled by masks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ninesight_store.contract import Float64

from ninesight_query.block import Block, Bool, Scalars, without_name
from ninesight_query.context import Context
from ninesight_query.operate_histograms import operate_cells

__all__ = ["ARITHMETIC", "COMPARISONS", "TRIMS", "scalar_scalar", "vector_scalar"]

ARITHMETIC: dict[str, Callable[[Float64, Float64], Float64]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
"""Division by zero gives Inf or NaN."""
COMPARISONS: dict[str, Callable[[Float64, Float64], Bool]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
}
"""NaN equals nothing."""
TRIMS = frozenset({"</", ">/"})


def scalar_scalar(op: str, left: Scalars, right: Scalars) -> Scalars:
    """Two scalars; a comparison gives 0 or 1."""
    if op in COMPARISONS:
        return Scalars(COMPARISONS[op](left.values, right.values).astype(np.float64))
    return Scalars(ARITHMETIC[op](left.values, right.values))


def vector_scalar(
    op: str, block: Block, scalar: Scalars, *, swapped: bool, return_bool: bool, context: Context
) -> Block:
    """A vector and a scalar; `swapped` if the scalar stands on the left."""
    values = scalar.values
    left, right = (values, block.values) if swapped else (block.values, values)
    present, out, histograms = block.present, block.values, None
    if op in COMPARISONS:
        holds = COMPARISONS[op](left, right)
        if return_bool:
            out = holds.astype(np.float64)
        else:
            present = present & holds
    elif op in TRIMS:
        if present.any():
            context.annotations.incompatible_types("float", op, "float")
        present = np.zeros_like(present)
    else:
        out = ARITHMETIC[op](left, right)
    if block.held is not None and block.histograms is not None:
        floats = np.where(block.present | ~np.asarray(block.has_histogram), 0.0, values[None, :])
        pair = (None, block.histograms) if swapped else (block.histograms, None)
        cells = operate_cells(op, floats, *pair, return_bool=return_bool, context=context)
        out = np.where(cells.is_float, cells.floats, out)
        present, histograms = present | cells.is_float, cells.histograms
    result = Block(block.labels, out, present, block.drop_name, histograms)
    if op in ARITHMETIC or return_bool or (op in TRIMS):
        return result if op in TRIMS else without_name(result, delayed=context.settings.delayed_name_removal)
    return result
