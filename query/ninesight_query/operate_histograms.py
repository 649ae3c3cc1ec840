"""Binary operators where at least one side is a histogram, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from ninesight_store.contract import Float64, ResetHint

from ninesight_query.annotations import Annotations
from ninesight_query.block import Bool, Objects, filled
from ninesight_query.context import Context
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_layout import compact
from ninesight_query.histogram_math import IncompatibleSchemasError, add, divide, equal, scale, subtract
from ninesight_query.histogram_trim import trim

__all__ = ["Cells", "operate_cells"]


@dataclass(frozen=True, slots=True)
class Cells:
    """What came out of the cells with a histogram."""

    floats: Float64
    is_float: Bool
    """Where a comparison with `bool` gave 0 or 1."""
    histograms: Objects | None


def operate_cells(
    op: str,
    floats: Float64,
    left: Objects | None,
    right: Objects | None,
    *,
    return_bool: bool,
    context: Context,
    there: Bool | None = None,
) -> Cells:
    """Evaluate cells with a histogram on a side; `floats` is the value of a side that has none.

    `there` limits the cells to those where both sides exist.
    """
    shape = floats.shape
    has = np.zeros(shape, np.bool_)
    for side in (left, right):
        if side is not None:
            has |= filled(side)
    if there is not None:
        has &= there
    out_floats, is_float = np.zeros(shape), np.zeros(shape, np.bool_)
    out: Objects = np.full(shape, None, object)
    notes = context.annotations
    for row, step in zip(*(index.tolist() for index in np.nonzero(has)), strict=True):
        a = None if left is None else left[row, step]
        b = None if right is None else right[row, step]
        kept, result = _operate(op, a, b, float(floats[row, step]), notes)
        if return_bool:
            if kept is not None:
                out_floats[row, step], is_float[row, step] = float(kept), True
        elif kept:
            out[row, step] = result
    context.check_deadline()
    return Cells(out_floats, is_float, out if filled(out).any() else None)


def _operate(
    op: str, left: Histogram | None, right: Histogram | None, number: float, notes: Annotations
) -> tuple[bool | None, Histogram | None]:
    """Return (whether the cell is kept, its histogram); None: the operator does not take these types."""
    if left is not None and right is not None:
        return _both(op, left, right, notes)
    if op == "*":
        return True, compact(scale(left or right or Histogram(), number))
    if left is not None:
        if op == "/":
            return True, compact(divide(left, number))
        if op in ("</", ">/"):
            return True, trim(left, number, upper=op == "</")
    kinds = ("histogram", "float") if left is not None else ("float", "histogram")
    notes.incompatible_types(kinds[0], op, kinds[1])
    return None, None


def _both(
    op: str, left: Histogram, right: Histogram, notes: Annotations
) -> tuple[bool | None, Histogram | None]:
    if op in ("==", "!="):
        return equal(left, right) == (op == "=="), left
    if op not in ("+", "-"):
        notes.incompatible_types("histogram", op, "histogram")
        return None, None
    try:
        joined = add(left, right) if op == "+" else subtract(left, right)
    except IncompatibleSchemasError:
        notes.incompatible_buckets(op)
        return None, None
    name = "addition" if op == "+" else "subtraction"
    if joined.hints_collided:
        notes.reset_collision(name)
    if joined.bounds_reconciled:
        notes.reconciled(name)
    result = joined.histogram if op == "+" else replace(joined.histogram, hint=ResetHint.GAUGE)
    return True, compact(result)
