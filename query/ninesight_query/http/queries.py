"""`/api/v1/query` and `/api/v1/query_range`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import orjson

from ninesight_query.contract import Answer, AtOnce, Engine, Matrix, Vector
from ninesight_query.encode import encode_answer
from ninesight_query.errors import ParseError, QueryError
from ninesight_query.http.handler import Asked
from ninesight_query.http.pace import Pace
from ninesight_query.http.params import Params
from ninesight_query.http.settings import HttpSettings
from ninesight_query.http.times import parse_lookback_ms, parse_step_ms
from ninesight_query.lookback import looking_back

__all__ = ["Queries", "Question", "instant_question", "range_question"]

_TRUNCATED = "results truncated due to limit"


class Question(NamedTuple):
    """What is asked of an engine. An instant query has a step of 0."""

    text: str
    start_ms: int
    end_ms: int
    step_ms: int
    limit: int
    lookback_ms: int | None
    stats: bool

    @property
    def steps(self) -> int:
        """How many steps there are, the first left out."""
        return (self.end_ms - self.start_ms) // self.step_ms if self.step_ms else 0


def instant_question(params: Params, now_ms: int) -> Question:
    """Read an instant query; `time` defaults to now. Raises ParseError."""
    text, at_ms = params.required("query"), params.time_ms("time", now_ms)
    return _question(params, text, at_ms, at_ms, 0)


def range_question(params: Params, settings: HttpSettings) -> Question:
    """Read a range query; start, end and step must be given. Raises ParseError."""
    text = params.required("query")
    for name in ("start", "end", "step"):
        params.required(name)
    start_ms, end_ms = params.span_ms(ordered=True)
    step_ms = parse_step_ms(params.required("step"))
    points = (end_ms - start_ms) // step_ms
    # Prometheus counts the steps, not the points at their ends.
    if points > settings.points_max:
        raise ParseError(
            f"exceeded maximum resolution of {settings.points_max:,} points per timeseries, got {points:,}. "
            "Try decreasing the query resolution (?step=XX)"
        )
    return _question(params, text, start_ms, end_ms, step_ms)


def _question(params: Params, text: str, start_ms: int, end_ms: int, step_ms: int) -> Question:
    limit, lookback = params.limit(), params.first("lookback_delta")
    lookback_ms = parse_lookback_ms(lookback) if lookback else None
    return Question(text, start_ms, end_ms, step_ms, limit, lookback_ms, bool(params.first("stats")))


class Queries:
    """Answers one kind of query: by a worker's thread, or at once where the engine can and the text was fast before."""

    def __init__(self, engine: Engine, read: Callable[[Params], Question], pace: Pace | None = None) -> None:
        self._engine, self._read = engine, read
        self._prompt = engine if isinstance(engine, AtOnce) else None
        self._pace = pace or Pace()

    def __call__(self, asked: Asked) -> bytes:
        """Answer in a worker's thread. Raises QueryError."""
        question = self._read(asked.params)
        began_s = time.perf_counter()
        with looking_back(question.lookback_ms):
            answer = self._asked(question)
        return _encoded(question, answer, asked.queued_s, time.perf_counter() - began_s)

    def at_once(self, asked: Asked) -> bytes | None:
        """Answer what was fast before, if it is again; see `Prompt`."""
        steps_fast = -1 if self._prompt is None else self._pace.fast_up_to(asked.params.first("query"))
        if steps_fast < 0:
            return None
        try:
            question = self._read(asked.params)
            if question.steps > steps_fast:
                return None
            began_s = time.perf_counter()
            with looking_back(question.lookback_ms):
                answer = self._asked_at_once(question)
            if answer is None:
                self._pace.forget(question.text)
                return None
            return _encoded(question, answer, 0.0, time.perf_counter() - began_s)
        except QueryError:
            # Who has time for it says what is wrong.
            return None

    def took(self, asked: Asked, spent_s: float) -> None:
        """Learn how long a worker needed."""
        if self._prompt is not None:
            question = self._read(asked.params)
            self._pace.took(question.text, question.steps, spent_s)

    def _asked(self, question: Question) -> Answer:
        if not question.step_ms:
            return self._engine.instant(question.text, question.start_ms)
        return self._engine.range(question.text, question.start_ms, question.end_ms, question.step_ms)

    def _asked_at_once(self, question: Question) -> Answer | None:
        engine = self._prompt
        assert engine is not None
        if not question.step_ms:
            return engine.instant_at_once(question.text, question.start_ms)
        return engine.range_at_once(question.text, question.start_ms, question.end_ms, question.step_ms)


def _encoded(question: Question, answer: Answer, queued_s: float, spent_s: float) -> bytes:
    stats = _stats(answer, queued_s, spent_s) if question.stats else b""
    return encode_answer(_limited(answer, question.limit) if question.limit else answer, stats)


def _stats(answer: Answer, queued_s: float, spent_s: float) -> bytes:
    """Return what a query cost, under Prometheus' names, in seconds.

    Samples are those loaded, once each; Prometheus counts a sample again at each step that reads it.
    """
    known = answer.stats
    document: dict[str, object] = {
        "timings": {
            "evalTotalTime": spent_s,
            "resultSortTime": 0.0,
            "queryPreparationTime": known.read_s if known else 0.0,
            "innerEvalTime": known.evaluate_s if known else spent_s,
            "execQueueTime": queued_s,
            "execTotalTime": queued_s + spent_s,
        }
    }
    if known:
        document["samples"] = {"totalQueryableSamples": known.samples, "peakSamples": known.samples_peak}
    return orjson.dumps(document)


def _limited(answer: Answer, limit: int) -> Answer:
    """Keep the first `limit` series and say so."""
    value = answer.value
    if not isinstance(value, Vector | Matrix) or len(value.labels) <= limit:
        return answer
    if isinstance(value, Vector):
        cut: Vector | Matrix = replace(
            value,
            labels=value.labels[:limit],
            values=value.values[:limit],
            histograms={row: point for row, point in value.histograms.items() if row < limit},
            timestamps=None if value.timestamps is None else value.timestamps[:limit],
        )
    else:
        cut = replace(
            value,
            labels=value.labels[:limit],
            values=value.values[:limit],
            present=value.present[:limit],
            histograms={cell: point for cell, point in value.histograms.items() if cell[0] < limit},
        )
    return replace(answer, value=cut, warnings=(*answer.warnings, _TRUNCATED))
