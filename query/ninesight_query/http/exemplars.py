"""`/api/v1/query_exemplars`: single observations that lead to a trace, of the series a query reads."""

from __future__ import annotations

import numpy as np
import orjson
from ninesight_store.contract import Exemplar, SeriesExemplars

from ninesight_query import ir
from ninesight_query.contract import Engine
from ninesight_query.encode import encode_labels, encode_seconds, encode_success, format_float
from ninesight_query.errors import ParseError
from ninesight_query.http.params import Params
from ninesight_query.parse import parse

__all__ = ["query_exemplars"]


def query_exemplars(engine: Engine, params: Params) -> bytes:
    """Answer with the exemplars within start and end, by default of all time.

    Offsets and `@` of the query's selectors do not count. A query without a selector is answered 204, b"".
    """
    text = params.required("query")
    start_ms, end_ms = params.span_ms()
    if end_ms < start_ms:
        raise ParseError(
            "end timestamp must not be before start timestamp, "
            f"got start {params.first('start')} and end {params.first('end')}; swap them"
        )
    selectors = {node.matchers: None for node in ir.walk(parse(text)) if isinstance(node, ir.Selector)}
    if not selectors:
        return b""
    found = engine.exemplars(tuple(selectors), start_ms, end_ms)
    return encode_success(b"[" + b",".join(map(_series, found)) + b"]")


def _series(found: SeriesExemplars) -> bytes:
    exemplars = b",".join(map(_exemplar, found.exemplars))
    return b'{"seriesLabels":' + encode_labels(found.series) + b',"exemplars":[' + exemplars + b"]}"


def _exemplar(one: Exemplar) -> bytes:
    (seconds,) = encode_seconds(np.array([one.timestamp_ms], np.int64))
    value = orjson.dumps(format_float(one.value))
    return (
        b'{"labels":' + encode_labels(one.labels) + b',"value":' + value + b',"timestamp":' + seconds + b"}"
    )
