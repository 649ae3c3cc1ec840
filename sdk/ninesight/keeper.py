"""Decides, at the end of a call, whether it is worth a trace: slow, failed, or drawn by chance.

The slowest call of each window is known only when the window ends. So each record-breaking call is a
candidate; the aggregation thread closes windows and lets the others go. A request pays for one
comparison; nothing here locks. What waits for export is bounded, and what does not fit is counted.
"""

from __future__ import annotations

import random
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log
from time import perf_counter
from typing import TYPE_CHECKING

from ninesight.contract import Exemplar, Outcome
from ninesight.series import ModelSeries
from ninesight.slots import FAR
from ninesight.traces import Kept, Trace, new_id

if TYPE_CHECKING:
    from ninesight.calls import Call

__all__ = ["FAILURES", "Keeper", "TraceCounts", "begin_trace"]

FAILURES = frozenset((Outcome.ERROR, Outcome.TIMEOUT, Outcome.SHED))
"""Outcomes that are always worth a trace."""

_CANDIDATES_MAX = 10_000


@dataclass(slots=True)
class TraceCounts:
    """Totals since the process began; they outlive changes of settings."""

    kept: int = 0
    dropped: int = 0


class Keeper:
    """One while traces are on. Methods may be called from any thread; `settle` by the aggregator only."""

    def __init__(
        self,
        *,
        share: float,
        window_s: float,
        waiting_max: int,
        counts: TraceCounts,
        chance: random.Random | None = None,
        clock: Callable[[], float] = perf_counter,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._share = share
        self._window_s = window_s
        self._waiting_max = waiting_max
        self._chance = chance or random.Random()
        self._clock = clock
        self._now_ns = now_ns
        self._window_ends_s = clock() + window_s
        self._candidates: deque[tuple[ModelSeries, Kept]] = deque(maxlen=_CANDIDATES_MAX)
        self._settled: deque[tuple[ModelSeries, Kept]] = deque()
        self._waiting: deque[Kept] = deque()
        self.counts = counts

    def next_gap(self) -> int:
        """Draw how many calls pass before the next random pick (geometric distribution)."""
        if self._share <= 0.0:
            return FAR
        if self._share >= 1.0:
            return 0
        return int(log(1.0 - self._chance.random()) / log(1.0 - self._share))

    def draws(self) -> bool:
        """Draw for one call whether it is kept by chance."""
        return self._share > 0.0 and self._chance.random() < self._share

    def ended(self, call: Call, outcome: str, duration_s: float, error: BaseException | None) -> None:
        """Look at a call that ended, told as an object."""
        series = call.series
        noted = call.trace_if_any
        if outcome in FAILURES:
            why = "failed"
        elif noted is not None and noted.keep:
            why = "inner"
        elif self.draws():
            why = "random"
        elif duration_s >= series.slow_s:
            why = "slow"
        else:
            return
        self._keep(call, call.trace, outcome, duration_s, error, why)

    def plain(
        self, series: ModelSeries, outer: Call | None, duration_s: float, facts: tuple[str, str, str]
    ) -> None:
        """Keep a call that was never an object; facts are (outcome, why, class of its exception)."""
        outcome, why, error = facts
        trace = begin_trace(outer)
        if why != "slow" and outer is not None:
            outer.trace.keep = True
        start_ns = self._now_ns() - int(duration_s * 1e9)
        kept = Kept(
            series.labels, trace.trace_id, trace.span_id, trace.parent_id, start_ns, duration_s, outcome, "model",
            why, error, (0, 0, 0), {}, (),
        )  # fmt: skip
        self._put(series, kept)

    def end_window(self) -> None:
        """Have the next `settle` close the window, whatever the clock says: the process ends."""
        self._window_ends_s = -inf

    def settle(self) -> None:
        """Close the window if it is over, and give the kept calls' exemplars to their series. Hold the aggregation lock."""
        now_s = self._clock()
        if now_s >= self._window_ends_s:
            self._window_ends_s = now_s + self._window_s
            slowest: dict[ModelSeries, Kept] = {}
            while self._candidates:
                series, kept = self._candidates.popleft()
                if series not in slowest or kept.duration_s > slowest[series].duration_s:
                    slowest[series] = kept
            for series, kept in slowest.items():
                series.slow_s = 0.0
                self._settled.append((series, kept))
        while self._settled:
            series, kept = self._settled.popleft()
            if kept.outcome != Outcome.SHED:
                end_ns = kept.start_ns + int(kept.duration_s * 1e9)
                series.note_exemplar(Exemplar(kept.duration_s, end_ns, kept.trace_id, kept.span_id))
            if len(self._waiting) < self._waiting_max:
                self._waiting.append(kept)
                self.counts.kept += 1
            else:
                self.counts.dropped += 1

    def take(self, count: int) -> list[Kept]:
        """Return up to `count` kept calls that wait for export, oldest first."""
        return [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]

    def give_back(self, calls: list[Kept]) -> None:
        """Have calls wait again that were not taken; what does not fit any more is dropped and counted."""
        room = max(0, self._waiting_max - len(self._waiting))
        lost = calls[: max(0, len(calls) - room)]
        self.counts.dropped += len(lost)
        self._waiting.extendleft(reversed(calls[len(lost) :]))

    @property
    def waiting(self) -> int:
        """Calls that wait for export now."""
        return len(self._waiting)

    def _keep(
        self, call: Call, trace: Trace, outcome: str, duration_s: float, error: BaseException | None, why: str
    ) -> None:
        outer = call.outer
        if why != "slow" and outer is not None:
            # A candidate may yet be let go: it alone is no reason to keep what is around it.
            outer.trace.keep = True
        now_ns, now_s = self._now_ns(), self._clock()
        kept = Kept(
            call.series.labels,
            trace.trace_id,
            trace.span_id,
            trace.parent_id,
            now_ns - int(duration_s * 1e9),
            duration_s,
            outcome,
            call.answered_by,
            why,
            "" if error is None else type(error).__name__,
            call.told_tokens,
            trace.attributes,
            tuple(
                (name, now_ns - int((now_s - start_s) * 1e9), each_s)
                for name, start_s, each_s in trace.stages
            ),
        )
        self._put(call.series, kept)

    def _put(self, series: ModelSeries, kept: Kept) -> None:
        if kept.why == "slow":
            series.slow_s = kept.duration_s
            self._candidates.append((series, kept))
        elif len(self._settled) < self._waiting_max:
            self._settled.append((series, kept))
        else:
            self.counts.dropped += 1


def begin_trace(outer: Call | None) -> Trace:
    """Return the notes of a call: inside the outer call's trace, inside OpenTelemetry's span, or new."""
    if outer is not None:
        around = outer.trace
        return Trace(around.trace_id, around.span_id)
    api = sys.modules.get("opentelemetry.trace")
    if api is not None:
        context = api.get_current_span().get_span_context()
        if context.is_valid:
            return Trace(context.trace_id, context.span_id)
    return Trace(new_id(128), None)
