"""What is recorded of one series in the ordinary case: numbers in lists, and nothing else.

A call that ended ok, answered by the model, is one float here; a stage is one float in the list of its
name. Floats are not tracked by the garbage collector, so a full buffer does not make it work. What does
not fit this form (another outcome, tokens, a batch) is an event of the thread's buffer.

A lane is shared by all threads: to find a list of one's own costs a request more than the append, and an
append is one operation of the list. Plain calls, which keep a slot a thread anyway, append there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ninesight.events import STAGE

if TYPE_CHECKING:
    from ninesight.series import ModelSeries

__all__ = ["NO_LANE", "Lane", "record_ok", "record_stage"]

_STAGES_MAX = 32


class Lane:
    """Any thread appends; only the aggregator takes."""

    __slots__ = ("extra", "idle", "limit", "stages", "values")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.idle = False
        """True when the last pass found nothing here: of a thousand models few are busy, and share what there is."""
        self.values: list[float] = []
        """Durations in seconds of calls that ended ok, each with one prediction."""
        self.extra: list[int] = []
        """Predictions more (or less) than one, of those calls that had another number."""
        self.stages: dict[str, list[float]] = {}
        """Durations in seconds of each stage."""

    @property
    def longest(self) -> int:
        """Count what waits in its longest list. Any thread."""
        return max(len(self.values), *[len(values) for values in self.stages.copy().values()], 0)

    @property
    def buffered(self) -> int:
        """Count what waits. Any thread."""
        return len(self.values) + sum(len(values) for values in self.stages.copy().values())


NO_LANE = Lane(0)
"""Of a series that has recorded nothing yet; it takes nothing."""


def record_ok(series: ModelSeries, duration_s: float, predictions: int) -> None:
    """Record a call that ended ok and was answered by the model."""
    lane = series.lane
    if len(lane.values) >= lane.limit:
        lane = series.buffers.lane(series)
        if len(lane.values) >= lane.limit:
            series.buffers.drop(lane)
            return
    if predictions != 1:
        lane.extra.append(predictions - 1)
    lane.values.append(duration_s)


def record_stage(series: ModelSeries, stage: str, duration_s: float) -> None:
    """Record a stage: the first of its name, or one that has no list, or whose list is full."""
    lane = series.buffers.lane(series)
    values = None
    if type(stage) is str:
        values = lane.stages.get(stage)
        if values is None and len(lane.stages) < _STAGES_MAX:
            values = lane.stages.setdefault(stage, [])
    if values is None:
        series.buffers.here().put((STAGE, series, stage, duration_s))
    elif len(values) < lane.limit:
        values.append(duration_s)
    else:
        series.buffers.drop(lane)
