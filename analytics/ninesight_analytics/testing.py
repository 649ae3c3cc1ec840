"""Canonical series for tests, made from exact requests, so that figures can be checked against the log.

    traffic = ModelTraffic("ranker")
    traffic.observe(at_ms, [0.012, 0.015], predictions=2, accelerator_s=0.01)
    store.write(batch_of(traffic.samples(range(0, 60_001, 5_000), point=Point)))

`batch_of` and `Point` are those of the store's testing module; this part may not import it.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ninesight_query.contract import Labels, labels_of
from ninesight_query.histogram_bounds import upper_bounds

__all__ = ["ModelTraffic", "Samples", "bucket_index", "gpu_samples", "nearest_rank"]

Samples = dict[Labels, list[tuple[int, Any]]]
"""Series -> (milliseconds, value or histogram point) pairs, as the store's `batch_of` takes them."""


def nearest_rank(values: Sequence[float], quantile: float) -> float:
    """Return the exact nearest-rank percentile: the ceil(quantile x n)-th smallest value, at least the first.

    The quantile is read as it is written: 0.07 x 100 is rank 7, whatever its float is.
    """
    rank = max(1, math.ceil(Fraction(str(quantile)) * len(values)))
    return sorted(values)[rank - 1]


def bucket_index(value: float, schema: int) -> int:
    """Return the Prometheus index of the bucket (lower, upper] that holds a positive value."""
    guess = math.ceil(math.log2(value) * math.exp2(schema))
    edges = upper_bounds(schema, guess - 2, 4).tolist()
    return guess - 2 + bisect.bisect_left(edges, value)


@dataclass(frozen=True, slots=True)
class _Call:
    at_ms: int
    durations: tuple[float, ...]
    outcome: str
    served_by: str
    predictions: float
    accelerator_s: float
    gpu: str


@dataclass
class ModelTraffic:
    """Requests of one model version on one instance, as the series the SDK would expose."""

    model: str
    version: str = "1"
    instance: str = "node-1:8000"
    labels: Mapping[str, str] = field(default_factory=dict)
    """More labels, such as {"simulated": "true"}."""
    schema: int = 6
    calls: list[_Call] = field(default_factory=list)

    def observe(
        self,
        at_ms: int,
        durations: Iterable[float],
        *,
        outcome: str = "ok",
        served_by: str = "model",
        predictions: float | None = None,
        accelerator_s: float = 0.0,
        gpu: str = "0",
    ) -> None:
        """Add requests that ended at a time; predictions default to one a request."""
        taken = tuple(durations)
        count = float(len(taken)) if predictions is None else predictions
        self.calls.append(_Call(at_ms, taken, outcome, served_by, count, accelerator_s, gpu))

    @property
    def durations(self) -> list[float]:
        """The exact log."""
        return [duration for call in self.calls for duration in call.durations]

    def samples(
        self,
        times: Sequence[int],
        *,
        point: Callable[..., Any] | None = None,
        bounds: Sequence[float] = (),
    ) -> Samples:
        """Return every counter's value at each scrape time: all requests that ended at or before it.

        `point` (the store's `Point`) makes native histograms, `bounds` classic buckets; both may be given.
        Every series exists from the first scrape on.
        """
        found: Samples = {}
        for at_ms in times:
            done = [call for call in self.calls if call.at_ms <= at_ms]
            for labels, value in self._counters(done):
                found.setdefault(labels, []).append((at_ms, value))
            seconds = [duration for call in done for duration in call.durations]
            if point is not None:
                labels = self._series("model_request_duration_seconds")
                found.setdefault(labels, []).append((at_ms, self._native(seconds, point)))
            for labels, value in self._classic(seconds, bounds):
                found.setdefault(labels, []).append((at_ms, value))
        return found

    def _series(self, metric: str, **more: str) -> Labels:
        own = {"job": "test", "model": self.model, "version": self.version, "instance": self.instance}
        return labels_of(metric, {**own, **self.labels, **more})

    def _counters(self, done: Sequence[_Call]) -> Iterable[tuple[Labels, float]]:
        kinds = {(call.outcome, call.served_by) for call in self.calls}
        for outcome, served_by in sorted(kinds):
            requests = sum(
                len(call.durations) for call in done if (call.outcome, call.served_by) == (outcome, served_by)
            )
            series = self._series("model_requests_total", outcome=outcome, served_by=served_by)
            yield series, float(requests)
        yield self._series("model_predictions_total"), math.fsum(call.predictions for call in done)
        for gpu in sorted({call.gpu for call in self.calls if call.accelerator_s}):
            seconds = math.fsum(call.accelerator_s for call in done if call.gpu == gpu)
            yield self._series("model_accelerator_seconds_total", gpu=gpu), seconds

    def _native(self, seconds: Sequence[float], point: Callable[..., Any]) -> Any:
        positive: dict[int, float] = {}
        for value in seconds:
            if value > 0:
                index = bucket_index(value, self.schema)
                positive[index] = positive.get(index, 0.0) + 1.0
        zeros = float(sum(value <= 0 for value in seconds))
        return point(
            count=float(len(seconds)),
            sum=math.fsum(seconds),
            positive=positive,
            zero_count=zeros,
            schema=self.schema,
        )

    def _classic(self, seconds: Sequence[float], bounds: Sequence[float]) -> Iterable[tuple[Labels, float]]:
        if not bounds:
            return
        metric = "model_request_duration_seconds"
        for bound in (*sorted(bounds), math.inf):
            le = "+Inf" if math.isinf(bound) else repr(float(bound))
            yield self._series(f"{metric}_bucket", le=le), float(sum(value <= bound for value in seconds))
        yield self._series(f"{metric}_sum"), math.fsum(seconds)
        yield self._series(f"{metric}_count"), float(len(seconds))


def gpu_samples(
    times: Sequence[int],
    *,
    gpu: str = "0",
    instance: str = "node-1:9400",
    name: str = "NVIDIA H100 80GB HBM3",
    uuid: str = "",
    labels: Mapping[str, str] | None = None,
    utilization: float = 0.5,
) -> Samples:
    """Return gpu_info and gpu_utilization_ratio of one GPU, there at the given times."""
    own = {"gpu": gpu, "uuid": uuid or f"GPU-{instance}-{gpu}", "instance": instance, **(labels or {})}
    return {
        labels_of("gpu_info", {**own, "name": name}): [(at_ms, 1.0) for at_ms in times],
        labels_of("gpu_utilization_ratio", own): [(at_ms, utilization) for at_ms in times],
    }
