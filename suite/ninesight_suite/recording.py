"""Recording rules and ALERTS series on their way into the store: one batch per evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ninesight_alerts.contract import RecordedSample
from ninesight_query.histogram_columns import to_columns
from ninesight_store.contract import Batch, SeriesTable, Sink

__all__ = ["recorder_into"]

_TABLES_MAX = 256


def recorder_into(sink: Sink) -> Callable[[Sequence[RecordedSample]], None]:
    """Return the function the evaluator calls with the samples of one evaluation. Raises what the sink raises."""
    tables: dict[tuple[object, ...], SeriesTable] = {}

    def record(samples: Sequence[RecordedSample]) -> None:
        if not samples:
            return
        labels = tuple(sample.labels for sample in samples)
        table = tables.get(labels)
        if table is None:
            # A group usually records the same series each time; old shapes are dropped all at once.
            if len(tables) >= _TABLES_MAX:
                tables.clear()
            table = tables[labels] = SeriesTable(labels)
        sink.write(_batch(table, samples))

    return record


def _batch(table: SeriesTable, samples: Sequence[RecordedSample]) -> Batch:
    floats = [(row, one) for row, one in enumerate(samples) if one.histogram is None]
    points = [(row, one, one.histogram) for row, one in enumerate(samples) if one.histogram is not None]
    return Batch(
        series=table,
        series_index=np.array([row for row, _ in floats], np.int32),
        timestamps=np.array([one.timestamp_ms for _, one in floats], np.int64),
        values=np.array([one.value for _, one in floats], np.float64),
        histograms=to_columns(
            [histogram for _, _, histogram in points],
            [one.timestamp_ms for _, one, _ in points],
            [row for row, _, _ in points],
        ),
    )
