"""Export: selected series over a span as text that other programs read.

    jsonl         one JSON object a line: {"labels": {...}, "timestamps": [ms], "values": [...]}, for native
                  histograms {"labels": {...}, "timestamps": [ms], "histograms": [{...}]}, both with
                  "start_timestamps": [ms] (0 unknown) where any is known, and for exemplars {"labels": {...},
                  "exemplars": [{"labels": {...}, "value": n, "timestamp": ms}]}. Nothing is lost but NaN
                  payloads. NaN, +Inf and -Inf are strings, the stale marker is "stale".
    openmetrics   OpenMetrics 1.0 text (promtool tsdb create-blocks-from openmetrics reads it); what it cannot
                  hold is left out and counted (export_openmetrics.py).

Series are read in groups of about a million samples, so memory is bounded whatever the span.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TextIO

from ninesight_store.contract import Columns, Labels, Matcher, Metadata, SeriesExemplars
from ninesight_store.export_jsonl import JsonLines
from ninesight_store.export_openmetrics import OpenMetrics
from ninesight_store.export_text import SeriesWriter, metric_name
from ninesight_store.progress import Progress, Told, unheard

__all__ = ["ExportFormat", "ExportReport", "Exportable", "export"]

_SAMPLES_AIM = 1_000_000
_SERIES_FIRST, _SERIES_MAX = 16, 2000


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

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Return the exemplars of the matching series."""


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    series: int = 0
    samples: int = 0
    points: int = 0
    """Native-histogram points written."""
    exemplars: int = 0
    points_left_out: int = 0
    stale_left_out: int = 0
    starts_left_out: int = 0
    """Samples whose start timestamp the format cannot hold."""
    exemplars_left_out: int = 0


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
    traces = {entry.series: entry.exemplars for entry in store.exemplars([list(matchers)], start_ms, end_ms)}
    every = {*store.series(matchers, start_ms, end_ms), *traces}
    names = sorted(every, key=lambda labels: (metric_name(labels), labels))
    writer: SeriesWriter = (
        OpenMetrics(out, store.metadata(), names) if form is ExportFormat.OPENMETRICS else JsonLines(out)
    )
    done, width, written = 0, _SERIES_FIRST, 0
    while done < len(names):
        part = names[done : done + width]
        columns = store.select_series(part, start_ms, end_ms)
        rows = {labels: row for row, labels in enumerate(columns.labels)}
        for labels in part:
            found = traces.get(labels, ())
            if labels in rows:
                writer.series(columns, rows[labels], found)
            elif found:
                writer.lone(labels, found)
            written += labels in rows or bool(found)
        done += len(part)
        read = len(columns.timestamps) + 16 * len(columns.histograms) + 1
        width = max(1, min(_SERIES_MAX, len(part) * _SAMPLES_AIM // read))
        told(Progress("export", done, len(names), "series"))
    writer.end()
    return ExportReport(written, **asdict(writer.counted))
