"""When an answer equals what a script expects, and what to say when it does not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from ninesight_store.contract import Float64, Labels

from ninesight_query.contract import Matrix, Ragged, Scalar, String, Value, Vector
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_layout import compact
from ninesight_query.promqltest.histogram_text import format_histogram
from ninesight_query.promqltest.numbers import format_number, is_stale_value
from ninesight_query.promqltest.script import Eval, Grid
from ninesight_query.promqltest.series import Point, SeriesLine

__all__ = [
    "almost_equal",
    "describe",
    "difference",
    "format_labels",
    "format_points",
    "histograms_match",
    "points_match",
]

_EPSILON = 1e-6
_SMALLEST_NORMAL = 2.2250738585072014e-308
_LARGEST = float(np.finfo(np.float64).max)


def almost_equal(a: float, b: float) -> bool:
    """Whether two floats agree to 1e-6 of their size; NaN equals NaN, a stale marker only itself."""
    if is_stale_value(a) or is_stale_value(b):
        return is_stale_value(a) and is_stale_value(b)
    if a == b or (math.isnan(a) and math.isnan(b)):
        return True
    apart = abs(a - b)
    size = abs(a) + abs(b)
    if a == 0 or b == 0 or size < _SMALLEST_NORMAL:
        return apart < _EPSILON * _SMALLEST_NORMAL
    return apart / min(size, _LARGEST) < _EPSILON


def _runs_match(start_a: int, a: Float64, start_b: int, b: Float64) -> bool:
    return (
        start_a == start_b
        and len(a) == len(b)
        and all(almost_equal(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True))
    )


def histograms_match(expected: Histogram, got: Histogram, *, with_hint: bool) -> bool:
    """Whether two histograms agree: layout exactly, counts almost, hints only where asked."""
    a, b = compact(expected), compact(got)
    return (
        a.schema == b.schema
        and a.zero_threshold == b.zero_threshold
        and (not with_hint or a.hint == b.hint)
        and len(a.bounds) == len(b.bounds)
        and all(almost_equal(x, y) for x, y in zip(a.bounds, b.bounds, strict=True))
        and almost_equal(a.count, b.count)
        and almost_equal(a.sum, b.sum)
        and almost_equal(a.zero_count, b.zero_count)
        and _runs_match(a.positive_start, a.positive, b.positive_start, b.positive)
        and _runs_match(a.negative_start, a.negative, b.negative_start, b.negative)
    )


def points_match(expected: Point, got: Point, *, with_hint: bool = False) -> bool:
    """Whether one point is as expected; None stands for no point."""
    if expected is None or got is None:
        return expected is None and got is None
    if isinstance(expected, Histogram) or isinstance(got, Histogram):
        return (
            isinstance(expected, Histogram)
            and isinstance(got, Histogram)
            and histograms_match(expected, got, with_hint=with_hint)
        )
    return almost_equal(expected, got)


def _vector_points(value: Vector) -> Iterator[Point]:
    for row, number in enumerate(value.values.tolist()):
        yield value.histograms.get(row, number)


def _matrix_points(value: Matrix, row: int) -> list[Point]:
    return [
        value.histograms.get((row, column), number if present else None)
        for column, (number, present) in enumerate(
            zip(value.values[row].tolist(), value.present[row].tolist(), strict=True)
        )
    ]


def _ragged_points(value: Ragged, row: int, grid: Grid) -> list[Point] | None:
    """Align raw points to a grid; None where a point lies beside it."""
    size = (grid.end_ms - grid.start_ms) // grid.step_ms + 1
    out: list[Point] = [None] * size
    pairs: list[tuple[int, float | Histogram]] = list(
        zip(value.timestamps[row].tolist(), value.values[row].tolist(), strict=True)
    )
    pairs += value.histograms[row] if value.histograms else ()
    for time, point in pairs:
        step, rest = divmod(time - grid.start_ms, grid.step_ms)
        if rest or not 0 <= step < size:
            return None
        out[step] = point
    return out


def difference(expected: Eval, value: Value) -> str | None:
    """Return None where the answer is as expected, else one sentence on the first difference."""
    if expected.string is not None:
        same = isinstance(value, String) and value.value == expected.string
        return None if same else f"expected the string {expected.string!r}"
    if expected.scalar is not None and expected.grid is None:
        if not isinstance(value, Scalar):
            return f"expected a scalar, got a {type(value).__name__.lower()}"
        same = almost_equal(expected.scalar, value.value)
        return (
            None if same else f"expected {format_number(expected.scalar)}, got {format_number(value.value)}"
        )
    if isinstance(value, Vector):
        rows = [[point] for point in _vector_points(value)]
        return _rows_differ(expected, value.labels, rows, ordered=expected.ordered)
    if isinstance(value, Matrix):
        return _matrix_differs(expected, value)
    if isinstance(value, Ragged) and expected.matrix:
        ragged = [_ragged_points(value, row, expected.matrix) for row in range(len(value.labels))]
        if any(row is None for row in ragged):
            return "a point lies outside the expected grid"
        return _rows_differ(expected, value.labels, [row for row in ragged if row is not None])
    return f"expected series, got a {type(value).__name__.lower()}"


def _matrix_differs(expected: Eval, value: Matrix) -> str | None:
    if list(value.labels) != sorted(value.labels):
        return "the series of a range result must be sorted by labels"
    rows = [_matrix_points(value, row) for row in range(len(value.labels))]
    if expected.scalar is not None:
        wanted = [[expected.scalar] * len(value.timestamps)]
        same = all(almost_equal(expected.scalar, p) for row in rows for p in row if isinstance(p, float))
        return None if same and len(rows) == 1 else f"expected {wanted}"
    return _rows_differ(expected, value.labels, rows)


def _rows_differ(
    expected: Eval, labels: Sequence[Labels], rows: Sequence[list[Point]], *, ordered: bool = False
) -> str | None:
    wanted: dict[Labels, SeriesLine] = {line.labels: line for line in expected.series}
    seen: set[Labels] = set()
    for position, (name, row) in enumerate(zip(labels, rows, strict=True)):
        if name in seen:
            return f"{format_labels(name)} came twice"
        seen.add(name)
        if name not in wanted:
            return f"{format_labels(name)} was not expected"
        line = wanted[name]
        if ordered and list(wanted)[position] != name:
            return f"{format_labels(name)} came at place {position + 1}"
        if len(line.points) > len(row):
            return (
                f"{len(line.points)} points expected of {format_labels(name)}, the query has {len(row)} steps"
            )
        points = (*line.points, *[None] * (len(row) - len(line.points)))
        for step, (want, got) in enumerate(zip(points, row, strict=True)):
            if not points_match(want, got, with_hint=line.named_hints):
                return (
                    f"{format_labels(name)} at step {step}: expected {_text(want, line.named_hints)}, "
                    f"got {_text(got, line.named_hints)}"
                )
    for name, line in wanted.items():
        if name not in seen and any(point is not None for point in line.points):
            return f"{format_labels(name)} is missing"
    return None


def _text(point: Point, with_hint: bool) -> str:
    if point is None:
        return "_"
    if isinstance(point, Histogram):
        text = format_histogram(point)
        return f"{text} ({point.hint.name.lower()})" if with_hint else text
    return format_number(point)


def format_labels(labels: Labels) -> str:
    """Return `name{label="value"}`."""
    pairs = dict(labels)
    name = pairs.pop("__name__", "")
    inner = ", ".join(f'{key}="{value}"' for key, value in pairs.items())
    return f"{name}{{{inner}}}" if inner or not name else name


def format_points(points: Sequence[Point]) -> str:
    """Return points in the notation, one item each."""
    return " ".join(_text(point, False) for point in points)


def describe(value: Value) -> str:
    """Return an answer in the notation, one line per series."""
    if isinstance(value, Scalar):
        return format_number(value.value)
    if isinstance(value, String):
        return repr(value.value)
    if isinstance(value, Vector):
        rows: list[list[Point]] = [[point] for point in _vector_points(value)]
    elif isinstance(value, Matrix):
        rows = [_matrix_points(value, row) for row in range(len(value.labels))]
    else:
        rows = [
            [*row.tolist(), *(h for _, h in (value.histograms[k] if value.histograms else ()))]
            for k, row in enumerate(value.values)
        ]
    lines = [
        f"{format_labels(name)} {' '.join(_text(point, False) for point in row)}"
        for name, row in zip(value.labels, rows, strict=True)
    ]
    return "\n".join(lines) or "(nothing)"
