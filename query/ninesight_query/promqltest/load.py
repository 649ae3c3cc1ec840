"""From a `load` command to samples in a store."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ninesight_store.contract import Batch, HistogramColumns, Labels, SeriesTable, Sink

from ninesight_query.histogram import Histogram
from ninesight_query.histogram_columns import to_columns
from ninesight_query.promqltest.hints import HintMemory
from ninesight_query.promqltest.nhcb import native_families
from ninesight_query.promqltest.script import Load
from ninesight_query.promqltest.series import SeriesLine

__all__ = ["Loader"]


class Loader:
    """Writes loads into one sink. Keeps what hints depend on, so one loader belongs to one store."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hints = HintMemory({})

    def load(self, command: Load) -> None:
        """Write all series of a load; point k at k times the step. Raises NotationError, or what the sink raises."""
        lines = [each.line for each in command.series]
        if command.with_nhcb:
            lines += native_families(lines)
        # The same series twice in one load: the last line wins.
        last: dict[Labels, SeriesLine] = {line.labels: line for line in lines}
        self._sink.write(self._batch(last.values(), command))

    def _batch(self, lines: Iterable[SeriesLine], command: Load) -> Batch:
        labels: list[Labels] = []
        floats: list[tuple[int, int, float]] = []
        histograms: list[tuple[int, int, Histogram]] = []
        for row, line in enumerate(lines):
            labels.append(line.labels)
            for step, point in enumerate(line.points):
                at_ms = command.origin_ms + step * command.step_ms
                if isinstance(point, Histogram):
                    histograms.append((row, at_ms, self._hints.stored(line.labels, point)))
                elif point is not None:
                    self._hints.forget(line.labels)
                    floats.append((row, at_ms, point))
        return Batch(
            series=SeriesTable(tuple(labels)),
            series_index=np.array([row for row, _, _ in floats], np.int32),
            timestamps=np.array([time for _, time, _ in floats], np.int64),
            values=np.array([value for _, _, value in floats], np.float64),
            histograms=to_columns(
                [h for _, _, h in histograms],
                [time for _, time, _ in histograms],
                [row for row, _, _ in histograms],
            )
            if histograms
            else HistogramColumns(),
        )
