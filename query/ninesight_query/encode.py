"""Answers as the JSON that Prometheus' HTTP API gives: `encode_answer(answer) -> bytes`.

Values are strings in Go's shortest form, times are seconds with up to three decimals. Whole rows are
formatted at once by orjson; only odd values (NaN, infinities, very large or small ones) are written one
by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import orjson
from ninesight_store.contract import Float64, Int64, Labels

from ninesight_query.contract import Answer, Matrix, Ragged, Scalar, String, Value, Vector
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_stack import stack_of
from ninesight_query.label_memo import remembered

__all__ = [
    "encode_answer",
    "encode_error",
    "encode_histogram",
    "encode_labels",
    "encode_seconds",
    "encode_success",
    "encode_value",
    "format_float",
]

_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_FEW = 6
"""Numbers up to which one after another is faster than all at once."""


def format_float(value: float) -> str:
    """Return a float as Prometheus writes it: shortest exact digits, plain from 1e-6 up to 1e21."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(float(value))
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        plain = text.removesuffix(".0")
        size = abs(value)
        # Python goes over to exponents at 1e16 and 1e-4, Go at 1e21 and 1e-6: between them it stays plain.
        assert size == 0 or 1e-5 < size < 1e17
        return plain
    power = int(exponent)
    sign, digits = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    whole, _, rest = digits.partition(".")
    if power >= 21 or power < -6:
        return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{whole}{rest}"
    return f"{sign}{whole}{rest.ljust(power, '0')}"


def _dumps(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, UnicodeEncodeError):
        # Half a surrogate pair in a label: no UTF-8 exists for it.
        return orjson.dumps(_clean(value))


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value


def _tokens(values: Float64) -> list[bytes]:
    """Format many floats at once."""
    if len(values) <= _FEW:
        return [format_float(value).encode() for value in values.tolist()]
    values = np.ascontiguousarray(values)
    text = orjson.dumps(values, option=_NUMPY)[1:-1]
    tokens = (text + b",").replace(b".0,", b",")[:-1].split(b",")
    if b"e" not in text and b"n" not in text:
        # No exponent and no null: plain decimals are written alike.
        return tokens
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        plain = (size >= 1e-4) & (size < 1e15) | (values == 0)
    for k in np.flatnonzero(~plain).tolist():
        tokens[k] = format_float(float(values[k])).encode()
    return tokens


def encode_seconds(timestamps_ms: Int64) -> list[bytes]:
    """Format times as seconds: 1700000000 or 1700000000.123."""
    return [_seconds(time) for time in timestamps_ms.tolist()]


def _seconds(time_ms: int) -> bytes:
    whole, rest = divmod(abs(time_ms), 1000)
    sign = "-" if time_ms < 0 else ""
    return f"{sign}{whole}.{rest:03d}".encode() if rest else f"{sign}{whole}".encode()


def encode_labels(labels: Labels) -> bytes:
    """Return `{"__name__":"up","job":"a"}`."""
    return _dumps(dict(labels))


def _buckets(histogram: Histogram) -> list[list[int | str]]:
    """Return [boundary rule, lower, upper, count] of every filled bucket.

    Rule 0: (lower, upper]; 1: [lower, upper); 2: both open; 3: both closed.
    """
    stack = stack_of([histogram])
    lower, upper = stack.edges()
    counts = stack.counts()[0]
    zero = -1 if histogram.custom else stack.negative.shape[-1]
    out: list[list[int | str]] = []
    for k in np.flatnonzero(counts).tolist():
        low, high = float(lower[k]), float(upper[k])
        if histogram.custom:
            rule = 3 if k + histogram.positive_start == 0 else 0
        elif k == zero:
            rule = 3
        else:
            rule = 1 if low < 0 else 0
        out.append([rule, format_float(low), format_float(high), format_float(float(counts[k]))])
    return out


def encode_histogram(histogram: Histogram) -> bytes:
    """Return `{"count":"4","sum":"5","buckets":[[0,"1","2","4"]]}`."""
    body: dict[str, object] = {
        "count": format_float(histogram.count),
        "sum": format_float(histogram.sum),
    }
    if buckets := _buckets(histogram):
        body["buckets"] = buckets
    return orjson.dumps(body)


def _pair(seconds: bytes, token: bytes) -> bytes:
    return b"[" + seconds + b',"' + token + b'"]'


def _openings(timestamps_ms: Int64) -> list[bytes]:
    """Return what stands between the value of one point and that of the next."""
    if len(timestamps_ms) and timestamps_ms[0] >= 0 and not (timestamps_ms % 1000).any():
        text = orjson.dumps(timestamps_ms // 1000, option=_NUMPY)[1:-1]
        return (b'"],[' + text.replace(b",", b',"|"],[') + b',"').split(b"|")
    return [b'"],[' + each + b',"' for each in encode_seconds(timestamps_ms)]


@lru_cache(maxsize=16)
def _grid_openings(timestamps_ms: bytes) -> list[bytes]:
    """Return the same of the steps of a range: the panels of one page ask for the same ones. Nobody changes the list."""
    return _openings(np.frombuffer(timestamps_ms, np.int64))


def _pairs(openings: Sequence[bytes], values: Float64) -> bytes:
    """Return `[t,"v"],[t,"v"]`."""
    if not len(values):
        return b""
    parts = [b""] * (2 * len(values))
    parts[0::2] = openings
    parts[1::2] = _tokens(values)
    return b"".join(parts)[3:] + b'"]'


def _histogram_pairs(points: Iterable[tuple[bytes, Histogram]]) -> bytes:
    return b",".join(b"[" + time + b"," + encode_histogram(point) + b"]" for time, point in points)


def _head(labels: Labels) -> bytes:
    return b'{"metric":' + encode_labels(labels)


def _heads(labels: Sequence[Labels]) -> list[bytes]:
    """Return how each series' row begins; written once as long as the same labels are asked for."""
    return remembered(labels, "json", lambda: [_head(each) for each in labels])


def _row(head: bytes, floats: bytes, histograms: bytes) -> bytes:
    parts = [head]
    if floats:
        parts.append(b'"values":[' + floats + b"]")
    if histograms:
        parts.append(b'"histograms":[' + histograms + b"]")
    return b",".join(parts) + b"}"


def _matrix_rows(value: Matrix) -> Iterator[bytes]:
    heads = _heads(value.labels)
    openings = _grid_openings(value.timestamps.tobytes())
    if not value.histograms and np.count_nonzero(value.present) == value.present.size > 0:
        # Every point of every series: as most are.
        for head, values in zip(heads, value.values, strict=True):
            yield head + b',"values":[' + _pairs(openings, values) + b"]}"
        return
    seconds = encode_seconds(value.timestamps) if value.histograms else []
    spread: dict[int, list[tuple[int, Histogram]]] = {}
    for (row, column), histogram in value.histograms.items():
        spread.setdefault(row, []).append((column, histogram))
    for row in range(len(value.labels)):
        columns = np.flatnonzero(value.present[row])
        floats = _pairs([openings[k] for k in columns.tolist()], value.values[row][columns])
        points = [
            (seconds[column], point) for column, point in sorted(spread.get(row, ()), key=lambda p: p[0])
        ]
        if floats or points:
            yield _row(heads[row], floats, _histogram_pairs(points))


def _ragged_rows(value: Ragged) -> Iterator[bytes]:
    for row, labels in enumerate(value.labels):
        floats = _pairs(_openings(value.timestamps[row]), value.values[row])
        points = value.histograms[row] if value.histograms else ()
        times = encode_seconds(np.array([time for time, _ in points], np.int64))
        yield _row(_head(labels), floats, _histogram_pairs(zip(times, (h for _, h in points), strict=True)))


def _vector_rows(value: Vector) -> Iterator[bytes]:
    if value.timestamps is None:
        seconds = [_seconds(value.timestamp_ms)] * len(value.labels)
    else:
        seconds = encode_seconds(value.timestamps)
    tokens = _tokens(value.values)
    for row, head in enumerate(_heads(value.labels)):
        histogram = value.histograms.get(row)
        if histogram is None:
            yield head + b',"value":' + _pair(seconds[row], tokens[row]) + b"}"
        else:
            yield head + b',"histogram":[' + seconds[row] + b"," + encode_histogram(histogram) + b"]}"


def encode_value(value: Value) -> bytes:
    """Return `{"resultType":...,"result":...}` of any value."""
    if isinstance(value, Scalar | String):
        time = _seconds(value.timestamp_ms)
        text = format_float(value.value) if isinstance(value, Scalar) else value.value
        kind = b"scalar" if isinstance(value, Scalar) else b"string"
        return b'{"resultType":"' + kind + b'","result":[' + time + b"," + _dumps(text) + b"]}"
    if isinstance(value, Vector):
        kind, rows = b"vector", _vector_rows(value)
    elif isinstance(value, Matrix):
        kind, rows = b"matrix", _matrix_rows(value)
    else:
        kind, rows = b"matrix", _ragged_rows(value)
    return b'{"resultType":"' + kind + b'","result":[' + b",".join(rows) + b"]}"


def encode_success(data: bytes, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> bytes:
    """Wrap encoded data into the envelope of the HTTP API."""
    parts = [b'{"status":"success","data":' + data]
    if warnings:
        parts.append(b'"warnings":' + _dumps(list(warnings)))
    if infos:
        parts.append(b'"infos":' + _dumps(list(infos)))
    return b",".join(parts) + b"}"


def encode_answer(answer: Answer, stats: bytes = b"") -> bytes:
    """Return the whole reply to a successful query; `stats` is JSON that says what it cost."""
    data = encode_value(answer.value)
    if stats:
        data = data[:-1] + b',"stats":' + stats + b"}"
    return encode_success(data, answer.warnings, answer.infos)


def encode_error(kind: str, message: str) -> bytes:
    """Return the whole reply to a failed request; `kind` is Prometheus' errorType."""
    return _dumps({"status": "error", "errorType": kind, "error": message})
