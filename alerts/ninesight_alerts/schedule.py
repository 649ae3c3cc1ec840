"""When groups are due: a fixed beat on the monotonic clock, each group on its own.

A beat that comes while the group is still busy is skipped and counted, never queued: an overloaded
evaluator falls behind in resolution, not in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Beat", "Schedule"]


@dataclass(slots=True)
class Beat:
    """One group's beat. Times are seconds of the monotonic clock."""

    interval_s: float
    due: float
    missed: int = 0
    """Beats skipped because an evaluation took too long."""

    def done(self, now: float) -> None:
        """Move on to the first beat after `now`."""
        late = max(0, int((now - self.due) // self.interval_s))
        self.missed += late
        self.due += (late + 1) * self.interval_s


class Schedule:
    """Finds the group to evaluate next. All are due at once when it begins."""

    def __init__(self, intervals_ms: Sequence[int], now: float) -> None:
        self.beats = [Beat(interval_ms / 1000, now) for interval_ms in intervals_ms]

    def next(self) -> int | None:
        """Return the group that is due first, the earlier one of two; None if there is none."""
        order = range(len(self.beats))
        return min(order, key=lambda at: (self.beats[at].due, at), default=None)
