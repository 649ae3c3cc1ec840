"""Export: selected series over a span as text that other programs read.

    jsonl         one JSON object a line: {"labels": {...}, "timestamps": [ms], "values": [...]} and, for native
                  histograms, {"labels": {...}, "timestamps": [ms], "histograms": [{...}]}; nothing is lost but
                  NaN payloads. NaN, +Inf and -Inf are strings, the stale marker is "stale".
    openmetrics   OpenMetrics 1.0 text (promtool tsdb create-blocks-from openmetrics reads it). It has no native
                  histograms and no stale markers: both are left out and counted.

Series are read in groups of about a million samples, so memory is bounded whatever the span.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

import numpy as np

from ninesight_store.contract import (
    STALE_BITS,
    Columns,
    Float64,
    HistogramColumns,
    Labels,
    Matcher,
    Metadata,
    ResetHint,
)
from ninesight_store.progress import Progress, Told, unheard

__all__ = ["ExportFormat", "ExportReport", "Exportable", "export"]

_SAMPLES_AIM = 1_000_000
_SERIES_FIRST, _SERIES_MAX = 16, 2000
_TEXT_LINES = 10_000


class ExportFormat(enum.StrEnum):
    """How samples are written."""

    JSONL = "jsonl"
    """One JSON object a line; everything."""
    OPENMETRICS = "openmetrics"
    """OpenMetrics text; float samples only."""


class Exportable(Protocol):
    """What export reads: a `LocalStore`."""

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> tuple[Labels, ...]:
        """Return the matching series."""

    def select_series(self, series: Sequence[Labels], start_ms: int, end_ms: int) -> Columns:
        """Return the samples of exactly these series."""

    def metadata(self) -> Iterable[Metadata]:
        """Return what is known of each metric."""


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    series: int = 0
    samples: int = 0
    points: int = 0
    """Native-histogram points written."""
    points_left_out: int = 0
    stale_left_out: int = 0


def export(
    store: Exportable,
    out: TextIO,
    matchers: Sequence[Matcher],
    start_ms: int,
    end_ms: int,
    *,
    form: ExportFormat = ExportFormat.JSONL,
    told: Told = unheard,
) -> ExportReport:
    """Write the matching samples with start_ms <= timestamp <= end_ms to `out`.

    Series are grouped by metric and sorted by labels. Raises MatcherError, RetryableError, and what `out` raises.
    """
    names = sorted(store.series(matchers, start_ms, end_ms), key=lambda labels: (_name(labels), labels))
    writer: _Writer = (
        _OpenMetrics(out, store.metadata(), names) if form is ExportFormat.OPENMETRICS else _Jsonl(out)
    )
    done, width, written = 0, _SERIES_FIRST, 0
    while done < len(names):
        part = names[done : done + width]
        columns = store.select_series(part, start_ms, end_ms)
        rows = {labels: row for row, labels in enumerate(columns.labels)}
        for labels in part:
            if labels in rows:
                writer.series(columns, rows[labels])
                written += 1
        done += len(part)
        read = len(columns.timestamps) + 16 * len(columns.histograms) + 1
        width = max(1, min(_SERIES_MAX, len(part) * _SAMPLES_AIM // read))
        told(Progress("export", done, len(names), "series"))
    writer.end()
    return ExportReport(written, writer.samples, writer.points, writer.points_left_out, writer.stale_left_out)


class _Writer(Protocol):
    samples: int
    points: int
    points_left_out: int
    stale_left_out: int

    def series(self, columns: Columns, row: int) -> None: ...

    def end(self) -> None: ...


class _Jsonl:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.samples = self.points = self.points_left_out = self.stale_left_out = 0

    def series(self, columns: Columns, row: int) -> None:
        labels = dict(columns.labels[row])
        low, high = columns.offsets[row], columns.offsets[row + 1]
        if high > low:
            values = [_json_number(value) for value in _plain(columns.values[low:high])]
            self._line(
                {"labels": labels, "timestamps": columns.timestamps[low:high].tolist(), "values": values}
            )
            self.samples += len(values)
        low, high = columns.histogram_offsets[row], columns.histogram_offsets[row + 1]
        if high > low:
            points = columns.histograms
            shown = [_point(points, at) for at in range(low, high)]
            times = points.timestamps[low:high].tolist()
            self._line({"labels": labels, "timestamps": times, "histograms": shown})
            self.points += len(shown)

    def end(self) -> None:
        """Nothing closes JSON lines."""

    def _line(self, entry: dict[str, Any]) -> None:
        self._out.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")


class _OpenMetrics:
    def __init__(self, out: TextIO, known: Iterable[Metadata], series: Sequence[Labels]) -> None:
        self._out = out
        self._known = {entry.metric: entry for entry in known}
        self._names = {_name(labels) for labels in series}
        self._current: str | None = None
        self.samples = self.points = self.points_left_out = self.stale_left_out = 0

    def series(self, columns: Columns, row: int) -> None:
        labels = columns.labels[row]
        self.points_left_out += int(columns.histogram_offsets[row + 1] - columns.histogram_offsets[row])
        low, high = columns.offsets[row], columns.offsets[row + 1]
        values, times = columns.values[low:high], columns.timestamps[low:high]
        kept = np.ascontiguousarray(values).view(np.uint64) != STALE_BITS
        self.stale_left_out += int(len(kept) - kept.sum())
        if not kept.any():
            return
        self._head(_name(labels))
        text = _exposed(labels)
        pairs = zip(_plain(values[kept]), times[kept].tolist(), strict=True)
        lines = (f"{text} {_number(value)} {_seconds(time)}\n" for value, time in pairs)
        for block in _blocks(lines):
            self._out.write("".join(block))
        self.samples += int(kept.sum())

    def end(self) -> None:
        self._out.write("# EOF\n")

    def _head(self, name: str) -> None:
        if name == self._current:
            return
        self._current = name
        entry = self._known.get(name)
        family, kind = name, "unknown"
        if entry is not None and entry.kind == "gauge":
            kind = "gauge"
        elif entry is not None and entry.kind == "counter" and name.endswith("_total"):
            # OpenMetrics names a counter's family without _total; not where that is a metric of its own.
            short = name.removesuffix("_total")
            family, kind = (short, "counter") if short not in self._names else (name, "unknown")
        self._out.write(f"# TYPE {family} {kind}\n")
        if entry is not None and entry.help:
            self._out.write(f"# HELP {family} {_escaped(entry.help)}\n")


def _name(labels: Labels) -> str:
    return next((value for name, value in labels if name == "__name__"), "")


def _plain(values: Float64) -> list[float]:
    return [float(value) for value in values.tolist()]


def _json_number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "stale" if int(np.float64(value).view(np.uint64)) == STALE_BITS else "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else str(_json_number(value))


def _seconds(time_ms: int) -> str:
    sign, size = "-" if time_ms < 0 else "", abs(time_ms)
    return f"{sign}{size // 1000}.{size % 1000:03d}" if size % 1000 else f"{sign}{size // 1000}"


def _exposed(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels if name != "__name__")
    return f"{_name(labels)}{{{pairs}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _blocks(lines: Iterator[str]) -> Iterator[list[str]]:
    block: list[str] = []
    for line in lines:
        block.append(line)
        if len(block) == _TEXT_LINES:
            yield block
            block = []
    yield block


def _point(points: HistogramColumns, at: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "count": _json_number(float(points.count[at])),
        "sum": _json_number(float(points.sum[at])),
        "schema": int(points.schema[at]),
        "hint": ResetHint(int(points.hint[at])).name.lower(),
        "zero_threshold": float(points.zero_threshold[at]),
        "zero_count": _json_number(float(points.zero_count[at])),
    }
    for side in ("positive", "negative"):
        offsets = getattr(points, f"{side}_offsets")
        cut = slice(int(offsets[at]), int(offsets[at + 1]))
        counts = [_json_number(count) for count in _plain(getattr(points, f"{side}_count")[cut])]
        if counts:
            index = getattr(points, f"{side}_index")[cut].tolist()
            shown[side] = {str(number): count for number, count in zip(index, counts, strict=True)}
    bounds = points.bounds[points.bounds_offsets[at] : points.bounds_offsets[at + 1]]
    if len(bounds):
        shown["bounds"] = [_json_number(bound) for bound in _plain(bounds)]
    return shown
