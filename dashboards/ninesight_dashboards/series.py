"""Rows over a grid of steps: the only shape charts and sparklines are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ninesight_query.contract import Labels, Matrix

from ninesight_dashboards.timerange import Grid

__all__ = ["Optionals", "Rows", "joined", "rows_of"]

Optionals = tuple[float | None, ...]
"""One series; None where nothing was measured."""


@dataclass(frozen=True)
class Rows:
    """S series over the T steps of a grid; NaN where nothing was measured."""

    grid: Grid
    labels: tuple[Labels, ...]
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    """[S, T]"""

    def names(self) -> tuple[Mapping[str, str], ...]:
        """Return each row's labels as a mapping."""
        return tuple(dict(labels) for labels in self.labels)

    def line(self, row: int) -> Optionals:
        """Return one row with None for gaps."""
        return tuple(None if math.isnan(value) else value for value in self.values[row].tolist())

    def total(self) -> Optionals:
        """Return the sum of all rows at each step; None where no row has a value."""
        sums = np.where(np.isnan(self.values).all(axis=0), np.nan, np.nansum(self.values, axis=0))
        return tuple(None if math.isnan(value) else value for value in sums.tolist())

    def cut(self, grid: Grid) -> Rows:
        """Return the rows over another grid of the same step; NaN where this one has nothing."""
        values = np.full((len(self.labels), grid.points), np.nan)
        shift = (grid.start_ms - self.grid.start_ms) // grid.step_ms
        first, last = max(0, shift), min(self.grid.points, shift + grid.points)
        if last > first:
            values[:, first - shift : last - shift] = self.values[:, first:last]
        kept = [row for row in range(len(self.labels)) if not np.isnan(values[row]).all()]
        return Rows(grid, tuple(self.labels[row] for row in kept), values[kept])


def rows_of(matrix: Matrix, grid: Grid) -> Rows:
    """Return an engine's answer on the grid that was asked for; infinities and absent points become NaN."""
    values = np.full((len(matrix.labels), grid.points), np.nan)
    columns = (matrix.timestamps - grid.start_ms) // grid.step_ms
    inside = (columns >= 0) & (columns < grid.points)
    floats = np.where(matrix.present & np.isfinite(matrix.values), matrix.values, np.nan)
    values[:, columns[inside]] = floats[:, inside]
    return Rows(grid, matrix.labels, values)


def joined(old: Rows, new: Rows, grid: Grid) -> Rows:
    """Return both on one grid; where they overlap the newer reading stands."""
    labels: Sequence[Labels] = sorted({*old.labels, *new.labels})
    place = {known: row for row, known in enumerate(labels)}
    values = np.full((len(labels), grid.points), np.nan)
    fresh = (new.grid.start_ms - grid.start_ms) // grid.step_ms
    for rows, until in ((old, fresh), (new, grid.points)):
        shift = (rows.grid.start_ms - grid.start_ms) // grid.step_ms
        first, last = max(0, shift), min(until, shift + rows.grid.points)
        for row, known in enumerate(rows.labels):
            if last > first:
                values[place[known], first:last] = rows.values[row, first - shift : last - shift]
    return Rows(grid, tuple(labels), values)
