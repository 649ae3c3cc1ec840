"""The totals of one model version. Touched only by whoever holds the aggregation lock.

Gauges (ready, queue depth, load duration, info) and the set of running calls are the exception:
each is one atomic assignment or set operation, done by any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ninesight.checks import clean
from ninesight.contract import OTHER, STAGES, Outcome, ServedBy
from ninesight.faults import Faults
from ninesight.histogram import Histogram

if TYPE_CHECKING:
    from ninesight.calls import Call
    from ninesight.slots import Buffers

__all__ = ["BATCH_BOUNDS", "ModelSeries"]

BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Classic bounds of batch sizes."""

_GPUS_MAX = 64


class ModelSeries:
    """Everything counted for one (model, version)."""

    __slots__ = (
        "_bounds",
        "_buckets_max",
        "_stages_max",
        "accelerator_s",
        "batch_size",
        "buffers",
        "duration",
        "faults",
        "info",
        "load_duration_s",
        "model",
        "predictions",
        "queue_depth",
        "ready",
        "requests",
        "running",
        "stages",
        "version",
    )

    def __init__(
        self,
        model: str,
        version: str,
        *,
        bounds: Sequence[float],
        buckets_max: int,
        stages_max: int,
        buffers: Buffers,
        faults: Faults,
    ) -> None:
        self.model = model
        self.version = version
        self._bounds = tuple(bounds)
        self._buckets_max = buckets_max
        self._stages_max = stages_max
        self.buffers = buffers
        self.faults = faults
        self.running: set[Call] = set()
        self.info: dict[str, str] | None
        self.ready: bool | None
        self.load_duration_s: float | None
        self.queue_depth: float | Callable[[], float] | None
        self.forget_gauges()
        self.clear()

    def clear(self) -> None:
        """Set every count to zero; gauges stay (a forked worker serves the same loaded model)."""
        # Every outcome is there from the start at 0: a counter that appears at 1 shows no increase.
        self.requests: dict[tuple[str, str], int] = {
            (str(outcome), str(ServedBy.MODEL)): 0 for outcome in Outcome
        }
        self.predictions = 0
        self.duration = self._histogram(self._bounds)
        self.stages: dict[str, Histogram] = {}
        self.batch_size = self._histogram(BATCH_BOUNDS)
        self.accelerator_s: dict[str, float] = {}
        self.running.clear()

    def forget_gauges(self) -> None:
        """Know nothing of readiness, loading, queue and kind any more."""
        self.info = None
        self.ready = None
        self.load_duration_s = None
        self.queue_depth = None

    @property
    def counted(self) -> int:
        """Durations counted so far; from then on the classic bounds are fixed."""
        return self.duration.count + sum(item.count for item in self.stages.values())

    def adjust(self, *, bounds: Sequence[float], buckets_max: int, stages_max: int) -> None:
        """Follow changed settings. The bounds must be the old ones once something was counted."""
        self._buckets_max = buckets_max
        self._stages_max = stages_max
        for histogram in (self.duration, self.batch_size, *self.stages.values()):
            histogram.buckets_max = buckets_max
        if self._bounds != tuple(bounds):
            assert not self.counted, "classic bounds cannot change under counts"
            self._bounds = tuple(bounds)
            self.duration = self._histogram(self._bounds)

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

    def record_batch(self, size: int, accelerator_s: float | None, gpu: str) -> None:
        """Count one executed batch and the accelerator time it took."""
        if size > 0:
            self.batch_size.add((float(size),))
        if accelerator_s is not None:
            gpu = clean(gpu)
            if gpu not in self.accelerator_s and len(self.accelerator_s) >= _GPUS_MAX:
                self.faults.exceed("accelerators of a model", _GPUS_MAX)
                gpu = OTHER
            self.accelerator_s[gpu] = self.accelerator_s.get(gpu, 0.0) + accelerator_s

    def _own_stages(self) -> int:
        return sum(stage not in STAGES and stage != OTHER for stage in self.stages)

    def _histogram(self, bounds: Sequence[float]) -> Histogram:
        return Histogram(buckets_max=self._buckets_max, bounds=bounds)
