"""A labelled past for the demo: every series carries simulated="true".

It is written into the store before live data begins, ends where the live data starts, and makes
long ranges show something. Nothing here is measured; the pages say so by the label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import (
    Batch,
    Float64,
    HistogramColumns,
    Int64,
    ResetHint,
    SeriesTable,
    Sink,
    labels_of,
)

from ninesight_suite.demo.past_model import COMMON, PastHistogram, PastModel
from ninesight_suite.demo.traffic_model import PROFILES, SCHEMA

__all__ = ["HistorySettings", "write_history"]

_GPU = {**COMMON, "gpu": "0", "uuid": "GPU-simulated-history", "name": "Simulated H100 80GB"}
_GPU_BYTES = 80.0 * 2**30
_INCIDENT_MS = 600_000


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """What to write."""

    start_ms: int
    end_ms: int
    """Exclusive: live data begins here."""
    step_ms: int = 15_000
    ticks_per_batch: int = 40
    seed: int = 9

    @property
    def ticks(self) -> int:
        """Points of every series."""
        return max(0, (self.end_ms - self.start_ms) // self.step_ms)


def write_history(
    sink: Sink, settings: HistorySettings, *, progress: Callable[[int, int], None] = lambda done, of: None
) -> int:
    """Write the past and return the number of samples; `progress(ticks done, ticks in all)` after each batch."""
    past = _Past(settings)
    written = 0
    for first in range(0, settings.ticks, settings.ticks_per_batch):
        count = min(settings.ticks_per_batch, settings.ticks - first)
        batch = past.batch(first, count)
        sink.write(batch)
        written += len(batch)
        progress(first + count, settings.ticks)
    return written


class _Past:
    """Draws tick after tick; a batch holds `ticks_per_batch` of them."""

    def __init__(self, settings: HistorySettings) -> None:
        self._settings = settings
        self._rng = np.random.default_rng(settings.seed)
        self._models = [PastModel(profile) for profile in PROFILES]
        self._histograms = [histogram for model in self._models for histogram in model.histograms]
        gpu = ("utilization_ratio", "memory_used_bytes", "memory_total_bytes", "power_watts", "info")
        floats = [labels for model in self._models for labels in model.labels]
        floats += [labels_of(f"gpu_{name}", _GPU) for name in gpu]
        self._floats = len(floats)
        self._table = SeriesTable((*floats, *(histogram.labels for histogram in self._histograms)))
        # One incident of ten minutes, two thirds into the past.
        begin = settings.start_ms + (settings.end_ms - settings.start_ms) * 2 // 3
        self._incident = (begin, begin + _INCIDENT_MS)

    def batch(self, first: int, count: int) -> Batch:
        step_ms = self._settings.step_ms
        times: Int64 = self._settings.start_ms + step_ms * np.arange(first, first + count, dtype=np.int64)
        values = np.empty((count, self._floats))
        buckets = [np.empty((count, len(histogram.buckets))) for histogram in self._histograms]
        sums = np.empty((len(self._histograms), count))
        for row, at_ms in enumerate(times.tolist()):
            incident = self._incident[0] <= at_ms < self._incident[1]
            parts = [m.advance(self._rng, at_ms, step_ms / 1000.0, incident=incident) for m in self._models]
            values[row] = np.concatenate([*parts, self._gpu()])
            for number, histogram in enumerate(self._histograms):
                buckets[number][row] = histogram.buckets
                sums[number, row] = histogram.sum
        return Batch(
            series=self._table,
            series_index=np.tile(np.arange(self._floats, dtype=np.int32), count),
            timestamps=np.repeat(times, self._floats),
            values=values.ravel(),
            histograms=_columns(self._histograms, self._floats, times, buckets, sums),
        )

    def _gpu(self) -> Float64:
        mean = sum(model.profile.accelerator_s * model.profile.requests_per_s for model in self._models)
        busy = min(1.0, mean * float(self._rng.uniform(0.9, 1.1)))
        return np.array([busy, 0.12 * _GPU_BYTES, _GPU_BYTES, 90.0 + 500.0 * busy, 1.0])


def _columns(
    histograms: list[PastHistogram], first_series: int, times: Int64, buckets: list[Float64], sums: Float64
) -> HistogramColumns:
    """All points of a batch, histogram after histogram; empty buckets are left out."""
    used = [counts > 0 for counts in buckets]
    points = len(times) * len(histograms)
    widths = np.concatenate([mask.sum(axis=1) for mask in used])
    index = [
        np.broadcast_to(histogram.distribution.index, mask.shape)[mask]
        for histogram, mask in zip(histograms, used, strict=True)
    ]
    return HistogramColumns(
        series=np.repeat(np.arange(len(histograms), dtype=np.int32) + first_series, len(times)).astype(
            np.int32
        ),
        timestamps=np.tile(times, len(histograms)),
        schema=np.full(points, SCHEMA, np.int32),
        hint=np.full(points, ResetHint.UNKNOWN, np.int32),
        count=np.concatenate([counts.sum(axis=1) for counts in buckets]),
        sum=sums.ravel(),
        zero_threshold=np.zeros(points),
        zero_count=np.zeros(points),
        positive_offsets=np.concatenate([[0], np.cumsum(widths)]).astype(np.int64),
        positive_index=np.concatenate(index).astype(np.int32),
        positive_count=np.concatenate([counts[mask] for counts, mask in zip(buckets, used, strict=True)]),
        negative_offsets=np.zeros(points + 1, np.int64),
        bounds_offsets=np.zeros(points + 1, np.int64),
    )
