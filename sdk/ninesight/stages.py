"""A part of a call, timed."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ninesight.lanes import record_stage

if TYPE_CHECKING:
    from ninesight.calls import Call
    from ninesight.series import ModelSeries

__all__ = ["Stage", "stage_of"]


class Stage:
    """Times a part of a call. Belongs to the call that runs when it is entered."""

    __slots__ = ("call", "duration_s", "name", "series", "started_at")

    # Made by `stage_of`: without a constructor of its own a class is twice as fast to call.
    name: str
    duration_s: float | None
    """Seconds from entry to exit; None until then."""
    series: ModelSeries | None
    call: Call | None
    started_at: float

    def __enter__(self) -> Self:
        self.started_at = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        duration_s = self.duration_s = perf_counter() - self.started_at
        series = self.series
        if series is not None:
            lane = series.lane
            try:
                values = lane.stages[self.name]
            except Exception:  # The first of its name, or a name that is none.
                record_stage(series, self.name, duration_s)
            else:
                if len(values) < lane.limit:
                    values.append(duration_s)
                else:
                    record_stage(series, self.name, duration_s)
            if self.call is not None:
                self.call.note_stage(self.name, self.started_at, duration_s)


def stage_of(name: str, series: ModelSeries | None, call: Call | None = None) -> Stage:
    """Return a stage of what is counted there, not entered; with a call, of its trace too."""
    stage = Stage()
    stage.name = name
    stage.duration_s = None
    stage.series = series
    stage.call = call
    return stage
