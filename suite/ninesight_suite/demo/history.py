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
    Labels,
    ResetHint,
    SeriesTable,
    Sink,
    labels_of,
)

from ninesight_suite.demo.traffic_model import PROFILES, SCHEMA, DurationModel, ModelProfile

__all__ = ["HistorySettings", "write_history"]

_COMMON = {"job": "demo-history", "instance": "simulated-0", "simulated": "true"}
_GPU = {
    **_COMMON,
    "gpu": "0",
    "uuid": "GPU-simulated-history",
    "name": "Simulated H100 80GB",
}
_GPU_BYTES = 80.0 * 2**30


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


class _Model:
    """Running totals of one model."""

    def __init__(self, profile: ModelProfile) -> None:
        self.profile = profile
        self.durations = DurationModel(profile.median_s, profile.sigma)
        self.buckets: Float64 = np.zeros(len(self.durations.index))
        self.sum_s = 0.0
        self.ok = 0.0
        self.errors = 0.0
        self.accelerator_s = 0.0

    def labels(self) -> list[Labels]:
        """The float series, in the order of `floats`."""
        named = {"model": self.profile.model, "version": self.profile.version, **_COMMON}
        requests = {**named, "served_by": "model"}
        return [
            labels_of("model_requests_total", {**requests, "outcome": "ok"}),
            labels_of("model_requests_total", {**requests, "outcome": "error"}),
            labels_of("model_predictions_total", named),
            labels_of("model_accelerator_seconds_total", {**named, "gpu": "0"}),
            labels_of("model_queue_depth", named),
        ]

    def histogram_labels(self) -> Labels:
        named = {"model": self.profile.model, "version": self.profile.version, **_COMMON}
        return labels_of("model_request_duration_seconds", named)

    def advance(self, rng: np.random.Generator, at_ms: int, step_s: float, *, incident: bool) -> Float64:
        """Live one step; return the values of the float series."""
        requests = int(rng.poisson(self.profile.rate_at((at_ms / 1000.0) % 86400.0) * step_s))
        # An incident trebles durations: 64 buckets double, so 101 treble.
        counts = self.durations.draw(rng, requests, 101 if incident else 0)
        errors = float(rng.binomial(requests, 0.03 if incident else self.profile.error_ratio))
        self.buckets = self.buckets + counts
        self.sum_s += float(counts @ self.durations.middle_s)
        self.ok += requests - errors
        self.errors += errors
        self.accelerator_s += requests * self.profile.accelerator_s
        waiting = float(rng.poisson(6.0 if incident else 0.4))
        return np.array([self.ok, self.errors, self.ok, self.accelerator_s, waiting])


class _Past:
    """Draws tick after tick; a batch holds `ticks_per_batch` of them."""

    def __init__(self, settings: HistorySettings) -> None:
        self._settings = settings
        self._rng = np.random.default_rng(settings.seed)
        self._models = [_Model(profile) for profile in PROFILES]
        gpu = [
            labels_of("gpu_utilization_ratio", _GPU),
            labels_of("gpu_memory_used_bytes", _GPU),
            labels_of("gpu_memory_total_bytes", _GPU),
            labels_of("gpu_power_watts", _GPU),
            labels_of("gpu_info", _GPU),
        ]
        floats = [labels for model in self._models for labels in model.labels()] + gpu
        histograms = [model.histogram_labels() for model in self._models]
        self._floats = len(floats)
        self._table = SeriesTable((*floats, *histograms))
        # One incident of ten minutes, two thirds into the past.
        span = settings.end_ms - settings.start_ms
        self._incident = (settings.start_ms + span * 2 // 3, settings.start_ms + span * 2 // 3 + 600_000)

    def batch(self, first: int, count: int) -> Batch:
        step_ms = self._settings.step_ms
        times: Int64 = self._settings.start_ms + step_ms * np.arange(first, first + count, dtype=np.int64)
        values = np.empty((count, self._floats))
        buckets = [np.empty((count, len(model.buckets))) for model in self._models]
        sums = np.empty((count, len(self._models)))
        for row, at_ms in enumerate(times.tolist()):
            incident = self._incident[0] <= at_ms < self._incident[1]
            parts = []
            for column, model in enumerate(self._models):
                parts.append(model.advance(self._rng, at_ms, step_ms / 1000.0, incident=incident))
                buckets[column][row] = model.buckets
                sums[row, column] = model.sum_s
            busy = min(1.0, sum(m.profile.accelerator_s * m.profile.requests_per_s for m in self._models))
            gpu = np.array([busy, 0.4 * _GPU_BYTES, _GPU_BYTES, 90.0 + 500.0 * busy, 1.0])
            values[row] = np.concatenate([*parts, gpu])
        return Batch(
            series=self._table,
            series_index=np.tile(np.arange(self._floats, dtype=np.int32), count),
            timestamps=np.repeat(times, self._floats),
            values=values.ravel(),
            histograms=self._histograms(times, buckets, sums),
        )

    def _histograms(self, times: Int64, buckets: list[Float64], sums: Float64) -> HistogramColumns:
        """All points of the batch, model after model; empty buckets are left out."""
        columns: dict[str, list[np.ndarray]] = {name: [] for name in ("series", "count", "index", "n")}
        widths: list[np.ndarray] = []
        for column, model in enumerate(self._models):
            used = buckets[column] > 0
            widths.append(used.sum(axis=1))
            columns["series"].append(np.full(len(times), self._floats + column))
            columns["count"].append(buckets[column].sum(axis=1))
            columns["index"].append(np.broadcast_to(model.durations.index, used.shape)[used])
            columns["n"].append(buckets[column][used])
        points = len(times) * len(self._models)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(widths))]).astype(np.int64)
        return HistogramColumns(
            series=np.concatenate(columns["series"]).astype(np.int32),
            timestamps=np.tile(times, len(self._models)),
            schema=np.full(points, SCHEMA, np.int32),
            hint=np.full(points, ResetHint.UNKNOWN, np.int32),
            count=np.concatenate(columns["count"]),
            sum=sums.T.ravel().copy(),
            zero_threshold=np.zeros(points),
            zero_count=np.zeros(points),
            positive_offsets=offsets,
            positive_index=np.concatenate(columns["index"]).astype(np.int32),
            positive_count=np.concatenate(columns["n"]),
            negative_offsets=np.zeros(points + 1, np.int64),
            bounds_offsets=np.zeros(points + 1, np.int64),
        )
