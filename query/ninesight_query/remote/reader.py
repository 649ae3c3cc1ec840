"""An answer's body, decoded row by row while it arrives: only numbers of finished rows are kept.

    head  {"status":"success","data":{"resultType":"matrix","result":[
    row   {"metric":{...},"values":[[t,"v"],...]}        decoded and let go as soon as it is whole
    rest  the last row and what follows: with the head it is JSON again

Rows end where `},{"metric":` stands. Inside a JSON string a quote is escaped, so that text can stand
nowhere else. A server that writes spaces there is read too, only not while the body arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from ninesight_store.contract import Float64, Int64, Labels

from ninesight_query.errors import LimitError
from ninesight_query.histogram import Histogram
from ninesight_query.remote.histograms import histogram_of

__all__ = ["AnswerReader", "Row"]

_HEAD = b'"result":['
_START = b'{"metric":'
_BETWEEN = b"}," + _START


@dataclass(frozen=True, slots=True)
class Row:
    """One series of an answer."""

    labels: Labels
    timestamps: Int64
    """[N] milliseconds."""
    values: Float64
    """[N]"""
    histograms: tuple[tuple[int, Histogram], ...] = ()
    """(milliseconds, value)."""


class AnswerReader:
    """Reads one body. Raises ValueError, TypeError or KeyError for what is no answer, LimitError for too much."""

    def __init__(self, samples_max: int) -> None:
        self._samples_max = samples_max
        self._samples = 0
        self._head = b""
        self._held = bytearray()
        self.rows: list[Row] = []

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""
        seen = max(0, len(self._held) - len(_BETWEEN))
        self._held += chunk
        if not self._head:
            at = self._held.find(_HEAD, seen)
            if at < 0:
                return
            self._head = bytes(self._held[: at + len(_HEAD)])
            del self._held[: at + len(_HEAD)]
            seen = 0
        if self._held.find(_BETWEEN, seen) < 0:
            return
        first, *middle, last = bytes(self._held).split(_BETWEEN)
        self._held = bytearray(_START + last)
        self._add(orjson.loads(first + b"}"))
        for part in middle:
            self._add(orjson.loads(_START + part + b"}"))

    def end(self) -> Mapping[str, Any]:
        """Return the envelope; its result holds what is no row (a scalar, a string)."""
        envelope = orjson.loads(self._head + bytes(self._held))
        self._held.clear()
        if not isinstance(envelope, dict):
            raise TypeError(f"the answer must be an object, got {type(envelope).__name__}")
        data = envelope.get("data")
        if isinstance(data, dict) and data.get("resultType") in ("vector", "matrix"):
            for row in data.pop("result", None) or ():
                self._add(row)
        return envelope

    def _add(self, told: Mapping[str, Any]) -> None:
        row = _row(told)
        self._samples += len(row.timestamps) + len(row.histograms)
        if self._samples > self._samples_max:
            raise LimitError(
                f"an answer may hold at most {self._samples_max} samples, the server sends more; "
                "narrow the query, take a longer step, or raise query.samples_max"
            )
        self.rows.append(row)


def _row(told: Mapping[str, Any]) -> Row:
    labels = tuple(sorted((str(key), str(value)) for key, value in told["metric"].items() if value))
    points = [told["value"]] if "value" in told else told.get("values") or []
    grown = [told["histogram"]] if "histogram" in told else told.get("histograms") or []
    times = np.array([point[0] for point in points], np.float64)
    return Row(
        labels,
        np.rint(times * 1000.0).astype(np.int64),
        np.array([float(point[1]) for point in points], np.float64),
        tuple((round(float(point[0]) * 1000.0), histogram_of(point[1])) for point in grown),
    )
