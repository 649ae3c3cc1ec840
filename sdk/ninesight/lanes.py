"""What one thread records of one series in the ordinary case: numbers in lists, and nothing else.

A call that ended ok, answered by the model, is one float here; a stage is one float in the list of its
name. Floats are not tracked by the garbage collector, so a full buffer does not make it work. What does
not fit this form (another outcome, tokens, a batch) is an event of the thread's buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ninesight.events import CALL, STAGE

if TYPE_CHECKING:
    from ninesight.series import ModelSeries

__all__ = ["LANES_MAX", "Lane", "record_ok", "record_stage"]

LANES_MAX = 64
"""Series of which one thread keeps a lane; calls of further ones are events."""

_STAGES_MAX = 32


class Lane:
    """Only the owning thread appends; only the aggregator takes."""

    __slots__ = ("dropped", "extra", "limit", "series", "stages", "values")

    def __init__(self, series: ModelSeries, limit: int) -> None:
        self.series = series
        self.limit = limit
        self.values: list[float] = []
        """Durations in seconds of calls that ended ok, each with one prediction."""
        self.extra: list[int] = []
        """Predictions more (or less) than one, of those calls that had another number."""
        self.stages: dict[str, list[float]] = {}
        """Durations in seconds of each stage."""
        self.dropped = 0

    @property
    def buffered(self) -> int:
        """Count what waits. Any thread."""
        return len(self.values) + sum(len(values) for values in list(self.stages.values()))


def record_ok(series: ModelSeries, duration_s: float, predictions: int) -> None:
    """Record a call that ended ok and was answered by the model, on the calling thread."""
    try:
        lane: Lane | None = series.local.lane
    except AttributeError:
        lane = series.buffers.lane(series)
    if lane is None:
        series.buffers.here().put((CALL, series, "ok", "model", duration_s, predictions))
    elif len(lane.values) < lane.limit:
        if predictions != 1:
            lane.extra.append(predictions - 1)
        lane.values.append(duration_s)
    elif lane.limit:
        lane.dropped += 1


def record_stage(series: ModelSeries, stage: str, duration_s: float) -> None:
    """Record a stage on the calling thread, the first of its name there or one that has no list."""
    try:
        lane: Lane | None = series.local.lane
    except AttributeError:
        lane = series.buffers.lane(series)
    values = None
    if lane is not None and type(stage) is str:
        values = lane.stages.get(stage)
        if values is None and len(lane.stages) < _STAGES_MAX:
            values = lane.stages[stage] = []
    if lane is None or values is None:
        series.buffers.here().put((STAGE, series, stage, duration_s))
    elif len(values) < lane.limit:
        values.append(duration_s)
    elif lane.limit:
        lane.dropped += 1
