"""`/api/v1/query` and `/api/v1/query_range`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import orjson

from ninesight_query.contract import Answer, Engine, Matrix, Vector
from ninesight_query.encode import encode_answer
from ninesight_query.errors import ParseError
from ninesight_query.http.handler import Asked
from ninesight_query.http.params import Params
from ninesight_query.http.settings import HttpSettings
from ninesight_query.http.times import parse_lookback_ms, parse_step_ms
from ninesight_query.lookback import looking_back

__all__ = ["query", "query_range"]

_TRUNCATED = "results truncated due to limit"


def query(engine: Engine, asked: Asked, now_ms: int) -> bytes:
    """Answer an instant query; `time` defaults to now."""
    params = asked.params
    text, at_ms = params.required("query"), params.time_ms("time", now_ms)
    return _answered(asked, lambda: engine.instant(text, at_ms))


def query_range(engine: Engine, asked: Asked, settings: HttpSettings) -> bytes:
    """Answer a range query; start, end and step must be given."""
    params = asked.params
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
    return _answered(asked, lambda: engine.range(text, start_ms, end_ms, step_ms))


def _answered(asked: Asked, ask: Callable[[], Answer]) -> bytes:
    limit = asked.params.limit()
    began_s = time.perf_counter()
    with looking_back(_lookback_ms(asked.params)):
        answer = ask()
    ended_s = time.perf_counter()
    stats = _stats(answer, asked.queued_s, ended_s - began_s) if asked.params.first("stats") else b""
    return encode_answer(_limited(answer, limit), stats)


def _lookback_ms(params: Params) -> int | None:
    text = params.first("lookback_delta")
    return parse_lookback_ms(text) if text else None


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
    """Keep the first `limit` series and say so; 0 keeps all."""
    value = answer.value
    if not limit or not isinstance(value, Vector | Matrix) or len(value.labels) <= limit:
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
