"""A fleet whose canonical series are exact functions of time, written to a store as a collector would."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ninesight_store.contract import Batch, HistogramColumns, Labels, SeriesTable, labels_of

SCHEMA = 3
STAGES = {"preprocess": 0.08, "queue": 0.2, "batch": 0.05, "inference": 0.6, "postprocess": 0.07}
OUTCOMES = {"ok": 0.985, "error": 0.008, "timeout": 0.003, "shed": 0.004}


@dataclass
class Fleet:
    """Models on instances with GPUs. `labels` goes on every series."""

    models: Sequence[str] = ("ranker", "sentiment")
    instances: Sequence[str] = ("node-a:8000", "node-b:8000")
    start_ms: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    slow: float = 1.0
    """Factor on the latency of the first model, from now on."""
    classic: bool = False
    """Classic buckets beside nothing, instead of native histograms."""
    _tables: dict[str, SeriesTable] = field(default_factory=dict)

    def batch(self, times_ms: Sequence[int]) -> Batch:
        """Return every series' samples at these times."""
        rows: dict[Labels, np.ndarray] = {}
        points: dict[Labels, tuple[np.ndarray, float]] = {}
        times = np.asarray(times_ms, np.int64)
        seconds = (times - self.start_ms) / 1000.0
        for place, model in enumerate(self.models):
            for host in self.instances:
                self._model(rows, points, place, model, host, seconds)
        for host in self.instances:
            for gpu in ("0", "1"):
                own = {"instance": host, "gpu": gpu, **self.labels}
                rows[labels_of("gpu_utilization_ratio", own)] = 0.6 + 0.3 * np.sin(seconds / 60 + int(gpu))
                rows[labels_of("gpu_memory_used_bytes", own)] = np.full(len(times), 5e10 + 1e10 * int(gpu))
                rows[labels_of("gpu_memory_total_bytes", own)] = np.full(len(times), 8e10)
                name = {"name": "NVIDIA H100 80GB HBM3", "uuid": f"GPU-{host}-{gpu}", **own}
                rows[labels_of("gpu_info", name)] = np.ones(len(times))
        return self._batch(times, rows, points)

    def _model(self, rows, points, place, model, host, seconds) -> None:
        own = {"model": model, "version": "1", "instance": host, "job": "demo", **self.labels}
        rate = 10.0 + 5 * place + (5 if host == self.instances[0] else 0)
        requests = rate * (seconds + 40 * (1 - np.cos(seconds / 300)))
        for outcome, share in OUTCOMES.items():
            named = {**own, "outcome": outcome, "served_by": "model"}
            rows[labels_of("model_requests_total", named)] = np.floor(requests * share)
        rows[labels_of("model_predictions_total", own)] = np.floor(requests * 4)
        rows[labels_of("model_requests_in_flight", own)] = np.round(4 + 3 * np.sin(seconds / 40))
        rows[labels_of("model_queue_depth", own)] = np.round(2 + 2 * np.sin(seconds / 50))
        for gpu in ("0", "1"):
            rows[labels_of("model_accelerator_seconds_total", {**own, "gpu": gpu})] = (
                0.1 * seconds / (1 + place)
            )
        middle = (0.02 + 0.004 * place) * (self.slow if place == 0 else 1.0)
        count = np.floor(requests)
        self._histogram(rows, points, labels_of("model_request_duration_seconds", own), count, middle)
        for stage, share in STAGES.items():
            named = labels_of("model_stage_duration_seconds", {**own, "stage": stage})
            self._histogram(rows, points, named, count, middle * share)
        self._histogram(rows, points, labels_of("model_batch_size", own), np.floor(count / 4), 4.0)

    def _histogram(self, rows, points, labels: Labels, count: np.ndarray, middle: float) -> None:
        if not self.classic:
            points[labels] = (count, middle)
            return
        named = dict(labels)
        metric = named.pop("__name__")
        for bound in (0.25, 0.5, 1.0, 2.0, 4.0):
            share = _normal(math.log2(bound))
            rows[labels_of(f"{metric}_bucket", {**named, "le": repr(bound * middle)})] = np.floor(
                count * share
            )
        rows[labels_of(f"{metric}_bucket", {**named, "le": "+Inf"})] = count
        rows[labels_of(f"{metric}_sum", named)] = count * middle
        rows[labels_of(f"{metric}_count", named)] = count

    def _batch(self, times: np.ndarray, rows, points) -> Batch:
        labels = (*rows, *points)
        table = self._tables.setdefault(str(hash(labels)), SeriesTable(labels))
        steps, floats = len(times), len(rows)
        histograms = _columns(points, floats, times)
        return Batch(
            table,
            np.repeat(np.arange(floats, dtype=np.int32), steps),
            np.tile(times, floats),
            np.concatenate([np.zeros(0), *rows.values()]).astype(np.float64),
            histograms,
        )


def _normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def _columns(points, first: int, times: np.ndarray) -> HistogramColumns:
    """Log-normal observations of width one octave around each middle."""
    spread = np.arange(-2 * 2**SCHEMA, 2 * 2**SCHEMA + 1)
    edges = np.array([_normal(place / 2**SCHEMA) for place in range(spread[0] - 1, spread[-1] + 1)])
    share = np.diff(edges) / (edges[-1] - edges[0])
    steps, width, made = len(times), len(spread), len(points)
    counts = np.concatenate([np.zeros(0), *(count for count, _ in points.values())])
    middles = np.repeat([middle for _, middle in points.values()], steps) if made else np.zeros(0)
    buckets = np.floor(counts[:, None] * share[None, :])
    totals = buckets.sum(axis=1)
    indexes = (
        np.round(np.log2(middles) * 2**SCHEMA).astype(np.int32)[:, None] + spread[None, :] if made else None
    )
    zeros = np.zeros(made * steps)
    return HistogramColumns(
        series=np.repeat(np.arange(first, first + made, dtype=np.int32), steps),
        timestamps=np.tile(times, made),
        schema=np.full(made * steps, SCHEMA, np.int32),
        hint=np.zeros(made * steps, np.int32),
        count=totals,
        sum=totals * middles,
        zero_threshold=zeros,
        zero_count=zeros,
        positive_offsets=np.arange(made * steps + 1, dtype=np.int64) * width,
        positive_index=indexes.reshape(-1).astype(np.int32) if made else np.zeros(0, np.int32),
        positive_count=buckets.reshape(-1),
        negative_offsets=np.zeros(made * steps + 1, np.int64),
        bounds_offsets=np.zeros(made * steps + 1, np.int64),
    )
