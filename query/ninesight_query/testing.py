"""For the tests of others: an engine that answers from a script, and a real one over a few written series.

engine = engine_over('''
    load 1m
      requests_total{model="a"} 0+60x10
''')
engine.instant("rate(requests_total[5m])", 600_000)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import Labels, Matcher, Metadata, SeriesExemplars, Source, labels_of
from ninesight_store.matchers import compile_matchers, labels_match
from ninesight_store.memory import MemoryStore

from ninesight_query import labels as label
from ninesight_query.contract import Answer, Capabilities, Engine, Matrix, Value, Vector
from ninesight_query.engine import LocalEngine
from ninesight_query.errors import ExecutionError, QueryError
from ninesight_query.promqltest.load import Loader
from ninesight_query.promqltest.script import Load, parse_script
from ninesight_query.settings import EngineSettings
from ninesight_query.slow import SlowEngine

__all__ = ["Asked", "ScriptedEngine", "SlowEngine", "engine_over", "matrix_of", "store_over", "vector_of"]

Reply = Answer | Value | QueryError | float
"""What a script may give for a query: an answer, a value, a plain number, or the error to raise."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One query that a `ScriptedEngine` was asked; an instant one has start = end and step 0."""

    query: str
    start_ms: int
    end_ms: int
    step_ms: int


class ScriptedEngine:
    """Answers each query text from a mapping, or from a function, and records what it was asked.

    A query that the script does not hold raises ExecutionError that names it. A plain number answers an
    instant query as one series without labels, and a range query as that number at every step.
    """

    def __init__(
        self,
        script: Mapping[str, Reply] | Callable[[str], Reply],
        *,
        series: Sequence[Labels] = (),
        metadata: Sequence[Metadata] = (),
        exemplars: Sequence[SeriesExemplars] = (),
    ) -> None:
        self._reply = script.__getitem__ if isinstance(script, Mapping) else script
        self._series = tuple(sorted(series))
        self._metadata = tuple(metadata)
        self._exemplars = tuple(exemplars)
        self._lock = threading.Lock()
        self.asked: list[Asked] = []

    @property
    def capabilities(self) -> Capabilities:
        """Say that this is a script."""
        return Capabilities("scripted")

    def instant(self, query: str, at_ms: int) -> Answer:
        """Answer from the script."""
        reply = self._look_up(Asked(query, at_ms, at_ms, 0))
        if isinstance(reply, float | int):
            return Answer(vector_of(at_ms, {(): float(reply)}))
        return reply if isinstance(reply, Answer) else Answer(reply)

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """Answer from the script."""
        reply = self._look_up(Asked(query, start_ms, end_ms, step_ms))
        if isinstance(reply, float | int):
            steps = (end_ms - start_ms) // step_ms + 1
            return Answer(matrix_of(start_ms, step_ms, {(): [float(reply)] * steps}))
        return reply if isinstance(reply, Answer) else Answer(reply)

    def _look_up(self, asked: Asked) -> Answer | Value | float:
        with self._lock:
            self.asked.append(asked)
        try:
            reply = self._reply(asked.query)
        except KeyError:
            raise ExecutionError(f"the script holds no answer for {asked.query!r}; add one") from None
        if isinstance(reply, QueryError):
            raise reply
        return reply

    def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[Labels, ...]:
        """Return those given at construction that match; the span is not looked at."""
        del start_ms, end_ms
        if not selectors:
            return self._series
        compiled = [compile_matchers(each) for each in selectors]
        return tuple(
            labels for labels in self._series if any(labels_match(each, labels) for each in compiled)
        )

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Return the names of those series' labels."""
        found = self.series(selectors, start_ms, end_ms)
        return tuple(sorted({name for labels in found for name, _ in labels}))

    def label_values(
        self, name: str, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Return one label's values over those series."""
        found = self.series(selectors, start_ms, end_ms)
        return tuple(sorted({label.get(labels, name) for labels in found} - {""}))

    def metadata(self) -> tuple[Metadata, ...]:
        """Return what was given at construction."""
        return self._metadata

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return those given at construction whose series match; the span is not looked at."""
        del start_ms, end_ms
        compiled = [compile_matchers(each) for each in selectors]
        return tuple(
            found for found in self._exemplars if any(labels_match(each, found.series) for each in compiled)
        )


def vector_of(at_ms: int, values: Mapping[Labels, float]) -> Vector:
    """Return a vector of floats, sorted by labels."""
    rows = sorted(values)
    return Vector(at_ms, tuple(rows), np.array([values[row] for row in rows], np.float64))


def matrix_of(start_ms: int, step_ms: int, values: Mapping[Labels, Sequence[float | None]]) -> Matrix:
    """Return a matrix of floats, sorted by labels; None is no point."""
    rows = sorted(values)
    steps = max((len(points) for points in values.values()), default=0)
    numbers, present = np.zeros((len(rows), steps)), np.zeros((len(rows), steps), np.bool_)
    for row, labels in enumerate(rows):
        for step, point in enumerate(values[labels]):
            if point is not None:
                numbers[row, step], present[row, step] = point, True
    times = start_ms + step_ms * np.arange(steps, dtype=np.int64)
    return Matrix(times, tuple(rows), numbers, present)


def store_over(script: str, store: MemoryStore | None = None) -> MemoryStore:
    """Return a store with the `load` blocks of a script in promqltest notation; time 0 is 1970."""
    target = store or MemoryStore()
    loader = Loader(target)
    for command in parse_script("\n".join(line.strip() for line in script.splitlines())):
        if isinstance(command, Load):
            loader.load(command)
    return target


def engine_over(script: str, settings: EngineSettings | None = None) -> LocalEngine:
    """Return a LocalEngine over the `load` blocks of a script in promqltest notation; time 0 is 1970."""
    return LocalEngine(store_over(script), settings)


def _typed(source: Source) -> tuple[Engine, Engine]:
    """Never called: a type checker proves here that both engines keep the contract."""
    return LocalEngine(source), ScriptedEngine({"up": Vector(0, (labels_of("up"),), np.ones(1))})
