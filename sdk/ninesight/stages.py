"""A part of a call, timed."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ninesight.lanes import record_stage

if TYPE_CHECKING:
    from ninesight.calls import Call
    from ninesight.series import ModelSeries

__all__ = ["Stage"]


class Stage:
    """Times a part of a call. Belongs to the call that runs when it is entered."""

    __slots__ = ("call", "duration_s", "name", "series", "started_at")

    def __init__(self, name: str, series: ModelSeries | None, call: Call | None = None) -> None:
        self.name = name
        self.duration_s: float | None = None
        """Seconds from entry to exit; None until then."""
        self.series = series
        self.call = call
        self.started_at = 0.0

    def __enter__(self) -> Self:
        self.started_at = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        duration_s = self.duration_s = perf_counter() - self.started_at
        series = self.series
        if series is not None:
            try:
                lane = series.local.lane
                values = lane.stages[self.name]
                if len(values) < lane.limit:
                    values.append(duration_s)
                elif lane.limit:
                    lane.dropped += 1
            except Exception:  # The first of its name on this thread, or a name that is none.
                record_stage(series, self.name, duration_s)
            if self.call is not None:
                self.call.note_stage(self.name, self.started_at, duration_s)
