"""Runs scripts against an engine: every eval is asked, compared and counted.

What one eval must hold for, in all its forms, is in `check.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ninesight_store.contract import Sink, Source
from ninesight_store.testing import MemoryStore

from ninesight_query.contract import Engine
from ninesight_query.promqltest.check import check
from ninesight_query.promqltest.compare import format_labels, format_points
from ninesight_query.promqltest.errors import NotationError
from ninesight_query.promqltest.load import Loader
from ninesight_query.promqltest.script import Clear, Command, Eval, Load, parse_script

__all__ = [
    "EngineFactory",
    "Failure",
    "FileResult",
    "Store",
    "local_engine",
    "run_commands",
    "run_file",
    "run_text",
]


class Store(Sink, Source, Protocol):
    """What a script loads into and an engine reads from."""


EngineFactory = Callable[[Source], Engine]
"""Makes the engine under test over a store; called once for each fresh store."""


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
    """Return the LocalEngine as the upstream suite sets its own: names removed late, start timestamps used."""
    from ninesight_query.engine import LocalEngine
    from ninesight_query.settings import EngineSettings

    return LocalEngine(
        source, EngineSettings(delayed_name_removal=True, use_start_timestamps=True, lookback_ms=300_000)
    )


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
    return run_commands(parse_script(text), engine_factory, store_factory, path=path)


def run_commands(
    commands: Iterable[Command],
    engine_factory: EngineFactory = local_engine,
    store_factory: Callable[[], Store] = MemoryStore,
    *,
    path: str = "<commands>",
) -> FileResult:
    """Run commands in order."""
    failures: list[Failure] = []
    total = 0
    store = store_factory()
    loader, engine = Loader(store), engine_factory(store)
    for command in commands:
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
    outcome = check(command, engine)
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
