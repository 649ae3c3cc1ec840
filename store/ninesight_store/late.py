"""Samples that come too late: what is older than the window is left out of a batch, all else is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ninesight_store.contract import Batch, ExemplarColumns
from ninesight_store.errors import Amount
from ninesight_store.histograms import take_histograms

__all__ = ["amount_of", "without_late"]


def amount_of(batch: Batch) -> Amount:
    """Return how much a batch holds of each kind."""
    return Amount(len(batch.timestamps), len(batch.histograms), len(batch.exemplars))


def without_late(batch: Batch, oldest_ms: int) -> Batch:
    """Return the batch without what is older than `oldest_ms`: itself where nothing is."""
    points, exemplars = batch.histograms, batch.exemplars
    late = 0
    for times in (batch.timestamps, points.timestamps, exemplars.timestamps):
        late += len(times) and int(times.min()) < oldest_ms
    if not late:
        return batch
    kept = batch.timestamps >= oldest_ms
    kept_points = np.flatnonzero(points.timestamps >= oldest_ms)
    starts = batch.start_timestamps
    return replace(
        batch,
        series_index=batch.series_index[kept],
        timestamps=batch.timestamps[kept],
        values=batch.values[kept],
        start_timestamps=None if starts is None else starts[kept],
        histograms=take_histograms(points, kept_points),
        exemplars=_fresh(exemplars, oldest_ms),
    )


def _fresh(exemplars: ExemplarColumns, oldest_ms: int) -> ExemplarColumns:
    rows = np.flatnonzero(exemplars.timestamps >= oldest_ms)
    return ExemplarColumns(
        exemplars.series[rows],
        exemplars.timestamps[rows],
        exemplars.values[rows],
        tuple(exemplars.labels[row] for row in rows.tolist()),
    )
