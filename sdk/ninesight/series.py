"""The totals of one model version. Touched only by whoever holds the aggregation lock.

Gauges, info and the set of running calls are the exception: each change is one atomic assignment or
set operation, done by any thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from ninesight.checks import clean
from ninesight.contract import OTHER, STAGES, Exemplar, Labels, Outcome, ServedBy
from ninesight.faults import Faults
from ninesight.histogram import Histogram
from ninesight.lanes import NO_LANE
from ninesight.pickled import series_of

if TYPE_CHECKING:
    from ninesight.calls import Call
    from ninesight.slots import Buffers

__all__ = ["BATCH_BOUNDS", "DIRECTIONS", "ModelSeries"]

BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Classic bounds of batch sizes."""

DIRECTIONS = ("input", "output", "cached")
"""Directions of tokens: read, written, read but not computed anew."""

_GPUS_MAX = 64
_CACHES_MAX = 32


class ModelSeries:
    """Everything counted for one (model, version) and one set of own labels."""

    __slots__ = (
        "_bounds",
        "_buckets_max",
        "_stages_max",
        "accelerator_s",
        "batch_size",
        "buffers",
        "cache_lookups",
        "duration",
        "exemplars",
        "faults",
        "gauges",
        "info",
        "labels",
        "lane",
        "model",
        "predictions",
        "requests",
        "running",
        "slow_s",
        "stages",
        "time_per_output_token",
        "time_to_first_token",
        "tokens",
        "version",
    )

    def __init__(
        self,
        model: str,
        version: str,
        labels: Labels = (),
        *,
        bounds: Sequence[float],
        buckets_max: int,
        stages_max: int,
        buffers: Buffers,
        faults: Faults,
    ) -> None:
        self.model = model
        self.version = version
        self.labels: Labels = (("model", model), ("version", version), *labels)
        self._bounds = tuple(bounds)
        self._buckets_max = buckets_max
        self._stages_max = stages_max
        self.buffers = buffers
        self.faults = faults
        self.lane = NO_LANE
        """What is recorded of this series in the ordinary case."""
        self.running: set[Call] = set()
        """Calls in flight that are objects."""
        self.slow_s = inf
        """A call at least so long is a candidate for a trace; infinity while traces are off."""
        self.info: dict[str, str] | None
        self.gauges: dict[str, float | Callable[[], float]]
        self.forget_gauges()
        self.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return series_of, (self.model, self.version, self.labels[2:])

    def clear(self) -> None:
        """Set every count to zero; gauges stay (a forked worker serves the same loaded model)."""
        # Every outcome is there from the start at 0: a counter that appears at 1 shows no increase.
        self.requests: dict[tuple[str, str], int] = {
            (str(outcome), str(ServedBy.MODEL)): 0 for outcome in Outcome
        }
        self.predictions = 0
        self.duration = self._histogram(self._bounds)
        self.time_to_first_token = self._histogram(self._bounds)
        self.time_per_output_token = self._histogram(self._bounds)
        self.stages: dict[str, Histogram] = {}
        self.batch_size = self._histogram(BATCH_BOUNDS)
        self.accelerator_s: dict[tuple[str, str], float] = {}
        self.tokens: dict[str, int] = {}
        self.cache_lookups: dict[tuple[str, str], int] = {}
        self.exemplars: dict[int, Exemplar] = {}
        self.running.clear()

    def forget_gauges(self) -> None:
        """Know nothing of readiness, loading, queue and kind any more."""
        self.info = None
        self.gauges = {}

    @property
    def counted(self) -> int:
        """Durations counted so far; from then on the classic bounds are fixed."""
        return sum(item.count for item in (*self._timed(), *self.stages.values()))

    def adjust(self, *, bounds: Sequence[float], buckets_max: int, stages_max: int) -> None:
        """Follow changed settings. The bounds must be the old ones once something was counted."""
        self._buckets_max = buckets_max
        self._stages_max = stages_max
        for histogram in (*self._timed(), self.batch_size, *self.stages.values()):
            histogram.buckets_max = buckets_max
        if self._bounds != tuple(bounds):
            assert not self.counted, "classic bounds cannot change under counts"
            self._bounds = tuple(bounds)
            self.duration = self._histogram(self._bounds)
            self.time_to_first_token = self._histogram(self._bounds)
            self.time_per_output_token = self._histogram(self._bounds)

    def record(self, outcome: str, served_by: str, durations: list[float], predictions: int) -> None:
        """Count requests of one outcome with their durations in seconds, and their predictions together."""
        key = (outcome, served_by)
        self.requests[key] = self.requests.get(key, 0) + len(durations)
        self.predictions += predictions
        if outcome != Outcome.SHED:
            self.duration.add(durations)

    def record_stage(self, stage: str, durations: list[float]) -> None:
        """Count durations of a stage in seconds; stages beyond the budget become `__other__`."""
        stage = clean(stage)
        found = self.stages.get(stage)
        if found is None:
            if stage not in STAGES and self._own_stages() >= self._stages_max and stage != OTHER:
                self.faults.exceed("stages of a model", self._stages_max)
                self.record_stage(OTHER, durations)
                return
            found = self.stages[stage] = self._histogram(self._bounds)
        found.add(durations)

    def record_tokens(
        self, told: tuple[int, int, int], to_first_s: float | None, per_token_s: float | None
    ) -> None:
        """Count (input, output, cached) tokens of one request, and how fast they came, in seconds."""
        for direction, count in zip(DIRECTIONS, told, strict=True):
            if count:
                self.tokens[direction] = self.tokens.get(direction, 0) + count
        if to_first_s is not None:
            self.time_to_first_token.add((to_first_s,))
        if per_token_s is not None:
            self.time_per_output_token.add((per_token_s,))

    def record_batch(self, size: int) -> None:
        """Count one executed batch."""
        if size > 0:
            self.batch_size.add((float(size),))

    def record_device(self, gpu: str, basis: str, seconds: float) -> None:
        """Count time an accelerator worked, and how that was measured."""
        key = (clean(gpu), basis)
        if key not in self.accelerator_s and len(self.accelerator_s) >= _GPUS_MAX:
            self.faults.exceed("accelerators of a model", _GPUS_MAX)
            key = (OTHER, basis)
        self.accelerator_s[key] = self.accelerator_s.get(key, 0.0) + seconds

    def record_lookup(self, cache: str, result: str) -> None:
        """Count one look-up in a cache."""
        key = (clean(cache), result)
        if key not in self.cache_lookups and len(self.cache_lookups) >= _CACHES_MAX:
            self.faults.exceed("caches of a model", _CACHES_MAX)
            key = (OTHER, result)
        self.cache_lookups[key] = self.cache_lookups.get(key, 0) + 1

    def note_exemplar(self, exemplar: Exemplar) -> None:
        """Keep an exemplar of the duration: the latest of each classic bucket."""
        self.exemplars[bisect_left(self._bounds, exemplar.value)] = exemplar

    def _timed(self) -> tuple[Histogram, ...]:
        return (self.duration, self.time_to_first_token, self.time_per_output_token)

    def _own_stages(self) -> int:
        return sum(stage not in STAGES and stage != OTHER for stage in self.stages)

    def _histogram(self, bounds: Sequence[float]) -> Histogram:
        return Histogram(buckets_max=self._buckets_max, bounds=bounds)
