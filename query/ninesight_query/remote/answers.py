"""From rows of an answer to the values of the contract: sorted, on the asked grid, of the query's own type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ninesight_store.contract import Int64

from ninesight_query import ir
from ninesight_query import labels as label
from ninesight_query.contract import Matrix, Ragged, Scalar, String, Value, Vector
from ninesight_query.errors import ExecutionError, LimitError
from ninesight_query.histogram import Histogram
from ninesight_query.remote.reader import Row

__all__ = ["instant_value", "matrix_value", "orders_result"]

_SORTED = frozenset({"sort", "sort_desc", "sort_by_label", "sort_by_label_desc"})


def orders_result(expr: ir.Expr | None) -> bool:
    """Say whether the order of an instant query's rows means something; unknown text keeps its order."""
    match expr:
        case None:
            return True
        case ir.Call():
            if expr.name in ("label_replace", "label_join"):
                return orders_result(expr.args[0])
            return expr.name in _SORTED
        case ir.Aggregate():
            return expr.op in ("topk", "bottomk")
        case _:
            return False


def instant_value(data: Mapping[str, Any], rows: Sequence[Row], expr: ir.Expr | None, at_ms: int) -> Value:
    """Return the value of an instant query. Raises ValueError, TypeError, KeyError for what is none.

    A server that answers every scalar as a vector, and no string at all, is put right by `expr`.
    """
    kind = data["resultType"]
    if isinstance(expr, ir.StringLiteral):
        return String(at_ms, expr.value)
    if kind == "string":
        time, text = data["result"]
        return String(round(float(time) * 1000.0), str(text))
    if kind == "scalar":
        time, number = data["result"]
        return Scalar(round(float(time) * 1000.0), float(number))
    if kind == "matrix":
        return _ragged(rows)
    if kind != "vector":
        raise ValueError(f"resultType must be vector, matrix, scalar or string, got {kind!r}")
    if expr is not None and expr.type is ir.ValueType.SCALAR and all(not row.labels for row in rows):
        return Scalar(at_ms, float(rows[0].values[0]) if rows else float("nan"))
    return _vector(rows, at_ms, keep=orders_result(expr))


def _ascending(rows: Sequence[Row]) -> list[Row]:
    return [rows[k] for k in label.ascending([row.labels for row in rows])]


def _vector(rows: Sequence[Row], at_ms: int, *, keep: bool) -> Vector:
    if not keep:
        rows = _ascending(rows)
    values = np.zeros(len(rows))
    times = np.full(len(rows), at_ms, np.int64)
    histograms: dict[int, Histogram] = {}
    for k, row in enumerate(rows):
        if row.histograms:
            times[k], histograms[k] = row.histograms[0]
        else:
            times[k], values[k] = row.timestamps[0], row.values[0]
    own = times if (times != at_ms).any() else None
    return Vector(at_ms, tuple(row.labels for row in rows), values, histograms, own)


def _ragged(rows: Sequence[Row]) -> Ragged:
    rows = _ascending(rows)
    any_histogram = any(row.histograms for row in rows)
    return Ragged(
        tuple(row.labels for row in rows),
        tuple(row.timestamps for row in rows),
        tuple(row.values for row in rows),
        tuple(row.histograms for row in rows) if any_histogram else (),
    )


def matrix_value(rows: Sequence[Row], start_ms: int, end_ms: int, step_ms: int, *, cells_max: int) -> Matrix:
    """Return the rows on start, start+step, ... <= end. Raises LimitError, ExecutionError for a point beside it."""
    rows = _ascending([row for row in rows if len(row.timestamps) or row.histograms])
    steps = (end_ms - start_ms) // step_ms + 1
    if len(rows) * steps > cells_max:
        raise LimitError(
            f"an answer may hold at most {cells_max} series x steps, got {len(rows)} x {steps}; "
            "narrow the query, take a longer step, or raise query.samples_max"
        )
    values, present = np.zeros((len(rows), steps)), np.zeros((len(rows), steps), np.bool_)
    histograms: dict[tuple[int, int], Histogram] = {}
    for k, row in enumerate(rows):
        columns = _columns(row.timestamps, start_ms, steps, step_ms)
        values[k, columns] = row.values
        present[k, columns] = True
        times = np.array([time for time, _ in row.histograms], np.int64)
        for column, (_, point) in zip(
            _columns(times, start_ms, steps, step_ms).tolist(), row.histograms, strict=True
        ):
            histograms[k, column] = point
    grid: Int64 = start_ms + step_ms * np.arange(steps, dtype=np.int64)
    return Matrix(grid, tuple(row.labels for row in rows), values, present, histograms)


def _columns(times: Int64, start_ms: int, steps: int, step_ms: int) -> Int64:
    column, beside = np.divmod(times - start_ms, step_ms)
    if beside.any() or (column < 0).any() or (column >= steps).any():
        wrong = int(times[(beside != 0) | (column < 0) | (column >= steps)][0])
        raise ExecutionError(
            f"the server must answer at {start_ms} ms and every {step_ms} ms after, it has a point at {wrong} ms"
        )
    return column
