"""`/api/v1/series`, `labels`, `label/<name>/values` and `metadata`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson

from ninesight_query.contract import Engine
from ninesight_query.encode import encode_labels, encode_success
from ninesight_query.errors import ParseError
from ninesight_query.http.params import Params

__all__ = ["label_names", "label_values", "metadata", "series", "unescape_label"]

_TRUNCATED = "results truncated due to limit"
_ESCAPED = re.compile(r"__|_([0-9a-fA-F]{1,6})_|_")


def _encoded(items: Sequence[str], limit: int) -> bytes:
    cut = items[:limit]
    return encode_success(orjson.dumps(list(cut)), (_TRUNCATED,) if len(cut) < len(items) else ())


def series(engine: Engine, params: Params, items_max: int) -> bytes:
    """List the series that match any `match[]`."""
    limit, selectors = params.limit(items_max), params.selectors(required=True)
    start_ms, end_ms = params.span_ms()
    found = engine.series(selectors, start_ms, end_ms) if start_ms <= end_ms else ()
    cut = found[:limit]
    body = b"[" + b",".join(map(encode_labels, cut)) + b"]"
    return encode_success(body, (_TRUNCATED,) if len(cut) < len(found) else ())


def label_names(engine: Engine, params: Params, items_max: int) -> bytes:
    """List label names, of all series or of those that match."""
    limit, selectors = params.limit(items_max), params.selectors()
    start_ms, end_ms = params.span_ms()
    return _encoded(engine.label_names(selectors, start_ms, end_ms) if start_ms <= end_ms else (), limit)


def unescape_label(name: str) -> str:
    """Return the label name of a path: `U__a_2e_b` stands for `a.b`, other names for themselves.

    Raises ParseError for an ill-formed escape.
    """
    if not name.startswith("U__"):
        return name

    def character(match: re.Match[str]) -> str:
        if match.group() == "__":
            return "_"
        if match.group(1) is None or int(match.group(1), 16) > 0x10FFFF:
            raise ParseError(
                f"an escaped label name must be U__ with _hex_ for each odd character, got {name!r}; "
                "write U__http_2e_status for http.status"
            )
        return chr(int(match.group(1), 16))

    return _ESCAPED.sub(character, name[3:])


def label_values(engine: Engine, params: Params, name: str, items_max: int) -> bytes:
    """List the values of one label, over all series or those that match."""
    label, limit, selectors = unescape_label(name), params.limit(items_max), params.selectors()
    start_ms, end_ms = params.span_ms()
    if not label:
        raise ParseError("a label name must not be empty; ask /api/v1/label/<name>/values")
    found = engine.label_values(label, selectors, start_ms, end_ms) if start_ms <= end_ms else ()
    return _encoded(found, limit)


def metadata(engine: Engine, params: Params) -> bytes:
    """Tell type, unit and help of metrics; `metric` asks for one.

    As in Prometheus `limit=0` is no metric at all, a negative one every metric. There is one entry a metric,
    so any `limit_per_metric` holds.
    """
    limit, wanted = params.whole("limit", -1), params.first("metric")
    params.whole("limit_per_metric", -1)
    found = [entry for entry in engine.metadata() if not wanted or entry.metric == wanted]
    cut = found[:limit] if limit >= 0 else found
    body = {entry.metric: [{"type": entry.kind, "help": entry.help, "unit": entry.unit}] for entry in cut}
    return encode_success(orjson.dumps(body))
