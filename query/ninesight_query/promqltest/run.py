"""Runs scripts against an engine: every eval is asked, compared and counted.

An instant eval passes only if the instant query agrees and, where that is defined, the middle step
of a range query one minute around it agrees too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ninesight_store.contract import Sink, Source
from ninesight_store.testing import MemoryStore

from ninesight_query.contract import Answer, Engine, Matrix, Scalar, Value, Vector
from ninesight_query.errors import QueryError
from ninesight_query.promqltest.compare import describe, difference, format_labels, format_points
from ninesight_query.promqltest.errors import NotationError
from ninesight_query.promqltest.load import Loader
from ninesight_query.promqltest.says import annotations_differ, error_differs
from ninesight_query.promqltest.script import Clear, Eval, Load, parse_script

__all__ = ["EngineFactory", "Failure", "FileResult", "Store", "local_engine", "run_file", "run_text"]


class Store(Sink, Source, Protocol):
    """What a script loads into and an engine reads from."""


EngineFactory = Callable[[Source], Engine]
"""Makes the engine under test over a store; called once for each fresh store."""

_STEP_MS = 60_000
_GRID_FUNCTIONS = re.compile(r"\b(?:start|end|range|step)\s*\(\s*\)")


@dataclass(frozen=True)
class Failure:
    """One eval that did not hold."""

    path: str
    line: int
    query: str
    reason: str
    expected: str
    got: str

    def __str__(self) -> str:
        return (
            f"{self.path}:{self.line}: {self.query}\n  {self.reason}\n"
            f"  expected: {_indent(self.expected)}\n  got:      {_indent(self.got)}"
        )


def _indent(text: str) -> str:
    return text.replace("\n", "\n            ")


@dataclass(frozen=True)
class FileResult:
    """What became of one file."""

    path: str
    passed: int
    total: int
    failures: tuple[Failure, ...]


def local_engine(source: Source) -> Engine:
    """Return the LocalEngine as the upstream suite sets its own: names removed late, lookback 5 minutes."""
    from ninesight_query.engine import LocalEngine
    from ninesight_query.settings import EngineSettings

    return LocalEngine(source, EngineSettings(delayed_name_removal=True, lookback_ms=300_000))


def run_file(
    path: str | Path,
    engine_factory: EngineFactory = local_engine,
    store_factory: Callable[[], Store] = MemoryStore,
) -> FileResult:
    """Run one script file. Raises NotationError where it is ill-formed, OSError where it cannot be read."""
    return run_text(Path(path).read_text("utf-8"), engine_factory, store_factory, path=str(path))


def run_text(
    text: str,
    engine_factory: EngineFactory = local_engine,
    store_factory: Callable[[], Store] = MemoryStore,
    *,
    path: str = "<text>",
) -> FileResult:
    """Run a script; `path` only names it in the result."""
    failures: list[Failure] = []
    total = 0
    store = store_factory()
    loader, engine = Loader(store), engine_factory(store)
    for command in parse_script(text):
        if isinstance(command, Clear):
            store = store_factory()
            loader, engine = Loader(store), engine_factory(store)
        elif isinstance(command, Load):
            try:
                loader.load(command)
            except NotationError as error:
                raise NotationError(error.bare, error.line or command.line) from error
        else:
            total += 1
            if failure := _failure(path, command, engine):
                failures.append(failure)
    return FileResult(path, total - len(failures), total, tuple(failures))


def _failure(path: str, command: Eval, engine: Engine) -> Failure | None:
    outcome = _check(command, engine)
    if outcome is None:
        return None
    reason, got = outcome
    expected = "\n".join(_wanted(command)) or "(nothing)"
    return Failure(path, command.line, command.query, reason, expected, got)


def _wanted(command: Eval) -> list[str]:
    lines = [f"expect {e.kind} {e.text or ''}".rstrip() for e in command.says]
    if command.scalar is not None:
        lines.append(str(command.scalar))
    if command.string is not None:
        lines.append(repr(command.string))
    return lines + [f"{format_labels(s.labels)} {format_points(s.points)}" for s in command.series]


def _check(command: Eval, engine: Engine) -> tuple[str, str] | None:
    """Return None where the eval holds, else (reason, what came)."""
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
