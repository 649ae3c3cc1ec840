"""JSON lines: everything the store holds, one object a line; only NaN payloads are lost."""

from __future__ import annotations

import json
from typing import Any, TextIO

from ninesight_store.contract import Columns, Exemplar, HistogramColumns, Int64, Labels, ResetHint
from ninesight_store.export_text import Counted, json_number, plain

__all__ = ["JsonLines"]


class JsonLines:
    """A `SeriesWriter` of JSON lines."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.counted = Counted()

    def series(self, columns: Columns, row: int, exemplars: tuple[Exemplar, ...]) -> None:
        """Write a line for floats, one for histogram points and one for exemplars."""
        labels = dict(columns.labels[row])
        low, high = columns.offsets[row], columns.offsets[row + 1]
        if high > low:
            values = [json_number(value) for value in plain(columns.values[low:high])]
            times = columns.timestamps[low:high].tolist()
            begun = _starts(columns.start_timestamps, low, high)
            self._line({"labels": labels, "timestamps": times, "values": values} | begun)
            self.counted.samples += len(values)
        low, high = columns.histogram_offsets[row], columns.histogram_offsets[row + 1]
        if high > low:
            points = columns.histograms
            shown = [_point(points, at) for at in range(low, high)]
            times = points.timestamps[low:high].tolist()
            begun = _starts(points.start_timestamps, low, high)
            self._line({"labels": labels, "timestamps": times, "histograms": shown} | begun)
            self.counted.points += len(shown)
        if exemplars:
            self.lone(columns.labels[row], exemplars)

    def lone(self, labels: Labels, exemplars: tuple[Exemplar, ...]) -> None:
        """Write a line of exemplars."""
        shown = [
            {"labels": dict(one.labels), "value": json_number(one.value), "timestamp": one.timestamp_ms}
            for one in exemplars
        ]
        self._line({"labels": dict(labels), "exemplars": shown})
        self.counted.exemplars += len(shown)

    def end(self) -> None:
        """Nothing closes JSON lines."""

    def _line(self, entry: dict[str, Any]) -> None:
        self._out.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")


def _starts(starts: Int64 | None, low: int, high: int) -> dict[str, list[int]]:
    if starts is None or not starts[low:high].any():
        return {}
    return {"start_timestamps": starts[low:high].tolist()}


def _point(points: HistogramColumns, at: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "count": json_number(float(points.count[at])),
        "sum": json_number(float(points.sum[at])),
        "schema": int(points.schema[at]),
        "hint": ResetHint(int(points.hint[at])).name.lower(),
        "zero_threshold": float(points.zero_threshold[at]),
        "zero_count": json_number(float(points.zero_count[at])),
    }
    for side in ("positive", "negative"):
        offsets = getattr(points, f"{side}_offsets")
        cut = slice(int(offsets[at]), int(offsets[at + 1]))
        counts = [json_number(count) for count in plain(getattr(points, f"{side}_count")[cut])]
        if counts:
            index = getattr(points, f"{side}_index")[cut].tolist()
            shown[side] = {str(number): count for number, count in zip(index, counts, strict=True)}
    bounds = points.bounds[points.bounds_offsets[at] : points.bounds_offsets[at + 1]]
    if len(bounds):
        shown["bounds"] = [json_number(bound) for bound in plain(bounds)]
    return shown
