"""`/api/v1/query` and `/api/v1/query_range`."""

from __future__ import annotations

from dataclasses import replace

from ninesight_query.contract import Answer, Engine, Matrix, Vector
from ninesight_query.encode import encode_answer
from ninesight_query.errors import ParseError
from ninesight_query.http.params import Params
from ninesight_query.http.settings import HttpSettings
from ninesight_query.http.times import parse_step_ms

__all__ = ["query", "query_range"]

_TRUNCATED = "results truncated due to limit"


def query(engine: Engine, params: Params, settings: HttpSettings, now_ms: int) -> bytes:
    """Answer an instant query; `time` defaults to now."""
    del settings
    text, limit = params.required("query"), params.limit()
    answer = engine.instant(text, params.time_ms("time", now_ms))
    return encode_answer(_limited(answer, limit))


def query_range(engine: Engine, params: Params, settings: HttpSettings, now_ms: int) -> bytes:
    """Answer a range query; start, end and step must be given."""
    del now_ms
    text, limit = params.required("query"), params.limit()
    for name in ("start", "end", "step"):
        params.required(name)
    start_ms, end_ms = params.span_ms()
    step_ms = parse_step_ms(params.required("step"))
    points = (end_ms - start_ms) // step_ms + 1
    if points > settings.points_max:
        raise ParseError(
            f"exceeded maximum resolution of {settings.points_max:,} points per timeseries, got {points:,}. "
            "Try decreasing the query resolution (?step=XX)"
        )
    return encode_answer(_limited(engine.range(text, start_ms, end_ms, step_ms), limit))


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
