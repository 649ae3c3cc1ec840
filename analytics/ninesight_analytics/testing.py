"""Canonical series for tests, made from exact requests, so that figures can be checked against the log.

    traffic = ModelTraffic("ranker")
    traffic.observe(at_ms, [0.012, 0.015], predictions=2, accelerator_s=0.01)
    store.write(batch_of(traffic.samples(range(0, 60_001, 5_000), point=Point)))

`batch_of` and `Point` are those of the store's testing module; this part may not import it.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ninesight_query.contract import Labels, labels_of
from ninesight_query.histogram_bounds import upper_bounds

__all__ = ["ModelTraffic", "Samples", "bucket_index", "gpu_samples", "nearest_rank"]

_HISTOGRAM = "model_request_duration_seconds"

Samples = dict[Labels, list[tuple[int, Any]]]
"""Series -> (milliseconds, value or histogram point) pairs, as the store's `batch_of` takes them."""


def nearest_rank(values: Sequence[float], quantile: float) -> float:
    """Return the exact nearest-rank percentile: the ceil(quantile x n)-th smallest value, at least the first.

    The quantile is read as it is written: 0.07 x 100 is rank 7, whatever its float is.
    """
    rank = max(1, math.ceil(Fraction(str(quantile)) * len(values)))
    return sorted(values)[rank - 1]


@functools.lru_cache(maxsize=65_536)
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
        pending = sorted(self.calls, key=lambda call: call.at_ms, reverse=True)
        state = _Served(self.schema)
        kinds = sorted({(call.outcome, call.served_by) for call in self.calls})
        gpus = sorted({call.gpu for call in self.calls if call.accelerator_s})
        for at_ms in sorted(times):
            while pending and pending[-1].at_ms <= at_ms:
                state.add(pending.pop())
            rows: list[tuple[Labels, Any]] = [
                (
                    self._series("model_requests_total", outcome=outcome, served_by=by),
                    state.requests[outcome, by],
                )
                for outcome, by in kinds
            ]
            rows.append((self._series("model_predictions_total"), state.predictions))
            for gpu in gpus:
                series = self._series("model_accelerator_seconds_total", gpu=gpu)
                rows.append((series, state.accelerator_s[gpu]))
            if point is not None:
                rows.append((self._series(_HISTOGRAM), state.native(point)))
            rows += self._classic(state, bounds)
            for labels, value in rows:
                found.setdefault(labels, []).append((at_ms, value))
        return found

    def _series(self, metric: str, **more: str) -> Labels:
        own = {"job": "test", "model": self.model, "version": self.version, "instance": self.instance}
        return labels_of(metric, {**own, **self.labels, **more})

    def _classic(self, state: _Served, bounds: Sequence[float]) -> list[tuple[Labels, Any]]:
        if not bounds:
            return []
        rows: list[tuple[Labels, Any]] = [
            (self._series(f"{_HISTOGRAM}_bucket", le=repr(float(bound))), state.at_most(bound))
            for bound in sorted(bounds)
        ]
        rows.append((self._series(f"{_HISTOGRAM}_bucket", le="+Inf"), float(len(state.durations))))
        rows.append((self._series(f"{_HISTOGRAM}_sum"), state.sum))
        rows.append((self._series(f"{_HISTOGRAM}_count"), float(len(state.durations))))
        return rows


class _Served:
    """Running totals of the calls so far."""

    def __init__(self, schema: int) -> None:
        self._schema = schema
        self._buckets: dict[int, float] = {}
        self.durations: list[float] = []
        """Ascending."""
        self.requests: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.accelerator_s: defaultdict[str, float] = defaultdict(float)
        self.predictions = 0.0

    def add(self, call: _Call) -> None:
        """Count one call."""
        self.requests[call.outcome, call.served_by] += len(call.durations)
        self.accelerator_s[call.gpu] += call.accelerator_s
        self.predictions += call.predictions
        self.durations = sorted([*self.durations, *call.durations])
        for value in call.durations:
            if value > 0:
                index = bucket_index(value, self._schema)
                self._buckets[index] = self._buckets.get(index, 0.0) + 1.0

    @property
    def sum(self) -> float:
        """Of all durations."""
        return math.fsum(self.durations)

    def at_most(self, bound: float) -> float:
        """Requests that took at most the bound."""
        return float(bisect.bisect_right(self.durations, bound))

    def native(self, point: Callable[..., Any]) -> Any:
        """All durations as a native histogram point."""
        return point(
            count=float(len(self.durations)),
            sum=self.sum,
            positive=dict(self._buckets),
            zero_count=self.at_most(0.0),
            schema=self._schema,
        )


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
