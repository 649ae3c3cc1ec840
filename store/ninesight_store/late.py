"""Samples that come too late: what is older than the window is left out of a batch, all else is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ninesight_store.contract import Batch, ExemplarColumns
from ninesight_store.histograms import take_histograms

__all__ = ["without_late"]


def without_late(batch: Batch, oldest_ms: int) -> tuple[Batch, int]:
    """Return the batch without what is older than `oldest_ms`, and how many samples and points that were.

    Late exemplars go too; they are not counted here, as they never are a reason to refuse.
    """
    points, exemplars = batch.histograms, batch.exemplars
    late = 0
    for times in (batch.timestamps, points.timestamps, exemplars.timestamps):
        late += len(times) and int(times.min()) < oldest_ms
    if not late:
        return batch, 0
    kept = batch.timestamps >= oldest_ms
    kept_points = np.flatnonzero(points.timestamps >= oldest_ms)
    starts = batch.start_timestamps
    fresh = replace(
        batch,
        series_index=batch.series_index[kept],
        timestamps=batch.timestamps[kept],
        values=batch.values[kept],
        start_timestamps=None if starts is None else starts[kept],
        histograms=take_histograms(points, kept_points),
        exemplars=_fresh(exemplars, oldest_ms),
    )
    return fresh, len(batch) - len(fresh)


def _fresh(exemplars: ExemplarColumns, oldest_ms: int) -> ExemplarColumns:
    rows = np.flatnonzero(exemplars.timestamps >= oldest_ms)
    return ExemplarColumns(
        exemplars.series[rows],
        exemplars.timestamps[rows],
        exemplars.values[rows],
        tuple(exemplars.labels[row] for row in rows.tolist()),
    )
