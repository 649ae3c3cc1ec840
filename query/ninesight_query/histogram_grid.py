"""Histograms over series x steps without one object per cell.

A grid is lazy: a series' matrices [T, W] are made when they are asked for and not kept, so that
`histogram_quantile(0.99, sum by (model) (rate(x[5m])))` over thousands of series needs the memory of one.
Whoever wants objects gets them from `objects()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Float64, Int32, Int64, ResetHint

from ninesight_query.histogram_columns import Objects
from ninesight_query.histogram_stack import Stack

__all__ = ["Cell", "HistogramGrid", "grouped"]

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cell:
    """One series over all steps."""

    present: Bool
    """[T]"""
    hint: Int32
    """[T] ResetHint; anything where absent."""
    key: tuple[int, float, tuple[float, ...], int, int]
    """Layout: schema, zero threshold, bounds, first positive and first negative bucket."""
    load: Callable[[], Stack]
    """Makes the stack [T]; its cells are anything where absent."""


@dataclass
class HistogramGrid:
    """[S, T] histograms. A row is dense, or made of objects, or empty."""

    shape: tuple[int, int]
    cells: Mapping[int, Cell]
    """Dense rows."""
    odd: Mapping[int, Objects]
    """Rows of objects, [T] each, None where absent."""
    _objects: Objects | None = field(default=None, repr=False)
    _present: Bool | None = field(default=None, repr=False)

    @property
    def present(self) -> Bool:
        """[S, T] where a histogram stands."""
        if self._present is None:
            out = np.zeros(self.shape, np.bool_)
            for row, cell in self.cells.items():
                out[row] = cell.present
            for row, points in self.odd.items():
                out[row] = [point is not None for point in points]
            self._present = out
        return self._present

    def row(self, row: int) -> Objects:
        """Return [T] one row as objects, None where absent."""
        if row in self.odd:
            return self.odd[row]
        out: Objects = np.full(self.shape[1], None, object)
        cell = self.cells.get(row)
        if cell is not None and cell.present.any():
            out[cell.present] = cell.load().objects()[cell.present]
        return out

    def objects(self) -> Objects:
        """Return [S, T] everything as objects; made once."""
        if self._objects is None:
            out: Objects = np.full(self.shape, None, object)
            for row in (*self.cells, *self.odd):
                out[row] = self.row(row)
            self._objects = out
        return self._objects

    def take(self, index: Sequence[int] | Int64) -> HistogramGrid:
        """Return some rows, in the order asked for."""
        wanted = [int(row) for row in index]
        return HistogramGrid(
            (len(wanted), self.shape[1]),
            {new: self.cells[old] for new, old in enumerate(wanted) if old in self.cells},
            {new: self.odd[old] for new, old in enumerate(wanted) if old in self.odd},
        )

    def stacks(self) -> Iterator[tuple[int, Bool, Stack]]:
        """Yield (row, present [T], stack [T]) of every dense row that has a point, one at a time."""
        for row, cell in self.cells.items():
            if cell.present.any():
                yield row, cell.present, cell.load()


def _combined(stacks: Iterator[tuple[Bool, Stack]], hint: Int32, divisor: Float64 | None) -> Stack:
    """Add stacks of one layout, each where it is present, one after the other."""
    total: list[Float64] = []
    first: Stack | None = None
    for present, stack in stacks:
        parts = [stack.count, stack.sum, stack.zero, stack.positive, stack.negative]
        if not present.all():
            parts = [np.where(present if p.ndim == 1 else present[:, None], p, 0.0) for p in parts]
        if first is None:
            first, total = stack, [part.copy() for part in parts]
        else:
            for sums, part in zip(total, parts, strict=True):
                np.add(sums, part, out=sums)
    assert first is not None
    if divisor is not None:
        total = [part / (divisor if part.ndim == 1 else divisor[:, None]) for part in total]
    count, sum_, zero, positive, negative = total
    return Stack(
        first.schema,
        first.zero_threshold,
        first.bounds,
        count,
        sum_,
        zero,
        first.positive_start,
        positive,
        first.negative_start,
        negative,
        hint,
    )


def _used(members: Sequence[Cell]) -> Iterator[tuple[Bool, Stack]]:
    return ((cell.present, cell.load()) for cell in members if cell.present.any())


def _divided(stack: Stack, divisor: Float64) -> Stack:
    return replace(
        stack,
        count=stack.count / divisor,
        sum=stack.sum / divisor,
        zero=stack.zero / divisor,
        positive=stack.positive / divisor[:, None],
        negative=stack.negative / divisor[:, None],
    )


def _merged_hints(members: Sequence[Cell]) -> tuple[Int32, bool]:
    """Return the hint of a sum at each step, and whether resets collide at any."""
    seen = np.zeros(len(members[0].present), np.int64)
    for cell in members:
        seen |= np.where(cell.present, 1 << cell.hint.astype(np.int64), 0)
    out = np.full(len(seen), int(ResetHint.UNKNOWN), np.int32)
    for hint in (ResetHint.RESET, ResetHint.NOT_RESET):
        out[seen == 1 << int(hint)] = int(hint)
    out[seen & (1 << int(ResetHint.GAUGE)) != 0] = int(ResetHint.GAUGE)
    clash = (1 << int(ResetHint.RESET)) | (1 << int(ResetHint.NOT_RESET))
    return out, bool((seen & clash == clash).any())


def grouped(members: Sequence[Cell], *, average: bool) -> tuple[Cell, bool] | None:
    """Return the sum or average of dense rows, and whether reset hints collided in it.

    None where layouts differ: those have to be added as objects.
    """
    if len({cell.key for cell in members}) > 1:
        return None
    present = np.logical_or.reduce([cell.present for cell in members])
    hint, collided = _merged_hints(members)
    count = np.add.reduce([cell.present.astype(np.float64) for cell in members])
    divisor = np.maximum(count, 1.0) if average else None

    def load() -> Stack:
        with np.errstate(over="ignore", invalid="ignore"):
            out = _combined(_used(members), hint, divisor)
            if divisor is None or all(np.isfinite(part).all() for part in (out.count, out.sum, out.positive)):
                return out
            # The sum is too large for a float, the mean is not: divide before adding.
            shares = ((present, _divided(stack, divisor)) for present, stack in _used(members))
            return _combined(shares, hint, None)

    return Cell(present, hint, members[0].key, load), collided
