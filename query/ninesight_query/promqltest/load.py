"""From a `load` command to samples in a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from ninesight_store.contract import Batch, HistogramColumns, Int64, Labels, SeriesTable, Sink

from ninesight_query.histogram import Histogram
from ninesight_query.histogram_columns import to_columns
from ninesight_query.promqltest.hints import HintMemory
from ninesight_query.promqltest.nhcb import native_families
from ninesight_query.promqltest.script import Load, LoadSeries

__all__ = ["Loader"]


class Loader:
    """Writes loads into one sink. Keeps what hints depend on, so one loader belongs to one store."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hints = HintMemory({})

    def load(self, command: Load) -> None:
        """Write all series of a load; point k at k times the step. Raises NotationError, or what the sink raises."""
        series = list(command.series)
        if command.with_nhcb:
            series += [LoadSeries(line) for line in native_families([each.line for each in command.series])]
        # The same series twice in one load: the last line wins.
        last: dict[Labels, LoadSeries] = {each.line.labels: each for each in series}
        self._sink.write(self._batch(last.values(), command))

    def _batch(self, series: Iterable[LoadSeries], command: Load) -> Batch:
        labels: list[Labels] = []
        floats: list[tuple[int, int, float, int]] = []
        histograms: list[tuple[int, int, Histogram, int]] = []
        for row, each in enumerate(series):
            line = each.line
            labels.append(line.labels)
            for step, point in enumerate(line.points):
                at_ms = command.origin_ms + step * command.step_ms
                offset_ms = each.starts[step] if step < len(each.starts) else None
                start_ms = 0 if offset_ms is None else at_ms + offset_ms
                if isinstance(point, Histogram):
                    stored = self._hints.stored(line.labels, point)
                    histograms.append((row, at_ms, stored, start_ms))
                elif point is not None:
                    self._hints.forget(line.labels)
                    floats.append((row, at_ms, point, start_ms))
        return Batch(
            series=SeriesTable(tuple(labels)),
            series_index=np.array([row for row, *_ in floats], np.int32),
            timestamps=np.array([time for _, time, *_ in floats], np.int64),
            values=np.array([value for *_, value, _ in floats], np.float64),
            histograms=_columns(histograms),
            start_timestamps=_starts([start for *_, start in floats]),
        )


def _starts(starts: Sequence[int]) -> Int64 | None:
    """Return start timestamps, None where none is known."""
    return np.array(starts, np.int64) if any(starts) else None


def _columns(points: Sequence[tuple[int, int, Histogram, int]]) -> HistogramColumns:
    if not points:
        return HistogramColumns()
    columns = to_columns(
        [histogram for _, _, histogram, _ in points],
        [time for _, time, _, _ in points],
        [row for row, _, _, _ in points],
    )
    return replace(columns, start_timestamps=_starts([start for *_, start in points]))
