"""Whether an engine gives what an eval expects, in every form in which that can be asked.

An instant eval passes only if it holds
- as it is written;
- with every selector pinned to its time (`@ t`), asked at other times: a tenfold one, 0, a fifth, and mirrored;
- each of these also as a range query one minute around, whose middle step counts.

Left out: pinning where a function reads the evaluation time itself (time(), hour(), timestamp() ...); ranges
where start(), end(), range() or step() would see another grid, and where the result is ordered, a string or
raw points. An engine without `pinned` is asked only as written.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Protocol, runtime_checkable

from ninesight_query import ir
from ninesight_query.contract import Answer, Engine, Matrix, Scalar, Value, Vector
from ninesight_query.errors import QueryError
from ninesight_query.parse import parse
from ninesight_query.pin import time_dependent
from ninesight_query.promqltest.compare import describe, difference
from ninesight_query.promqltest.says import annotations_differ, error_differs
from ninesight_query.promqltest.script import Eval

__all__ = ["Pinnable", "check"]

_STEP_MS = 60_000
_GRID_FUNCTIONS = re.compile(r"\b(?:start|end|range|step)\s*\(\s*\)")
"""In the text, because `@ start()` and `[step()]` are no calls."""

Outcome = tuple[str, str] | None
"""Why an eval does not hold, and what came; None where it holds."""


@runtime_checkable
class Pinnable(Protocol):
    """An engine that can read every selector as if `@ at_ms` stood on it."""

    def pinned(self, at_ms: int) -> Engine:
        """Return the engine that does so."""


def check(command: Eval, engine: Engine) -> Outcome:
    """Return None where the eval holds in all its forms, else (reason, what came)."""
    outcome = _check_once(command, engine)
    if outcome is not None or command.at_ms is None or not isinstance(engine, Pinnable):
        return outcome
    expr = _parsed(command.query)
    if expr is None or time_dependent(expr):
        return None
    pinned = engine.pinned(command.at_ms)
    for at_ms in _other_times(command.at_ms):
        if outcome := _check_once(replace(command, at_ms=at_ms), pinned):
            reason, got = outcome
            return f"pinned to {command.at_ms} ms, asked at {at_ms} ms: {reason}", got
    return None


def _other_times(at_ms: int) -> tuple[int, ...]:
    return (-10 * at_ms, 0, at_ms // 5, at_ms, 10 * at_ms) if at_ms else (-1_000, 0, 1_000)


def _parsed(query: str) -> ir.Expr | None:
    try:
        return parse(query)
    except QueryError:
        return None


def _check_once(command: Eval, engine: Engine) -> Outcome:
    try:
        answer = _ask(command, engine)
    except QueryError as error:
        text = str(error)
        if not command.fails:
            return f"the query raised {type(error).__name__}", text
        reason = error_differs(command.says, text)
        return (reason, text) if reason else None
    except Exception as error:
        return "the engine raised what it must not raise", f"{type(error).__name__}: {error}"
    if command.fails:
        return "the query was expected to fail", describe(answer.value)
    reason = annotations_differ(command.says, answer.warnings, answer.infos)
    reason = reason or difference(command, answer.value)
    if reason:
        return reason, describe(answer.value)
    return _check_middle(command, answer.value, engine)


def _ask(command: Eval, engine: Engine) -> Answer:
    if command.grid:
        return engine.range(command.query, command.grid.start_ms, command.grid.end_ms, command.grid.step_ms)
    assert command.at_ms is not None
    return engine.instant(command.query, command.at_ms)


def _check_middle(command: Eval, value: Value, engine: Engine) -> tuple[str, str] | None:
    """Ask an instant eval again as a range query and compare the step in the middle."""
    if (
        command.at_ms is None
        or command.ordered
        or command.matrix
        or command.string is not None
        or _GRID_FUNCTIONS.search(command.query)
    ):
        return None
    at_ms = command.at_ms
    try:
        matrix = engine.range(command.query, at_ms - _STEP_MS, at_ms + _STEP_MS, _STEP_MS).value
    except Exception as error:
        return "the query failed as a range query", f"{type(error).__name__}: {error}"
    if not isinstance(matrix, Matrix):
        return "a range query must give a matrix", describe(matrix)
    middle = _middle(matrix, scalar=isinstance(value, Scalar))
    reason = difference(replace(command, ordered=False), middle)
    return (f"as a range query, middle step: {reason}", describe(matrix)) if reason else None


def _middle(matrix: Matrix, *, scalar: bool) -> Vector | Scalar:
    """Return the second of three steps as an instant result."""
    time = int(matrix.timestamps[1])
    rows = [
        row for row in range(len(matrix.labels)) if matrix.present[row, 1] or (row, 1) in matrix.histograms
    ]
    if scalar and rows:
        return Scalar(time, float(matrix.values[rows[0], 1]))
    return Vector(
        time,
        tuple(matrix.labels[row] for row in rows),
        matrix.values[rows, 1],
        {k: matrix.histograms[row, 1] for k, row in enumerate(rows) if (row, 1) in matrix.histograms},
    )
