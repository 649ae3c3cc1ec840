"""Takes what the threads have buffered and adds it to the totals. Never on the request path.

`drain` may be called from any thread; one runs at a time. When it returns, every record that was
buffered before it began is in the totals.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

from ninesight.calls import CALL, STAGE
from ninesight.faults import Faults
from ninesight.series import ModelSeries
from ninesight.slots import Buffers, Event, Point, take

__all__ = ["BATCH", "Aggregator"]

BATCH = 2
"""Event (BATCH, series, size, accelerator_s or None, gpu)."""


class Aggregator:
    """Owns the totals: hold `lock` to read a series."""

    def __init__(self, buffers: Buffers, faults: Faults) -> None:
        self._buffers = buffers
        self._faults = faults
        self.lock = threading.Lock()
        self.recorded = 0

    def drain(self) -> int:
        """Add everything buffered to the totals; return the length of the longest buffer seen."""
        with self.lock:
            calls: dict[Point, list[float]] = defaultdict(list)
            events: list[Event] = []
            longest = 0
            for buffer in self._buffers.threads[:]:
                # Asked before taking: what a live thread writes later is taken next time.
                dead = not buffer.alive()
                for slot in buffer.slots[:]:
                    taken = take(slot.values)
                    calls[slot.point] += taken
                    longest = max(longest, len(taken))
                more = take(buffer.events)
                events += more
                longest = max(longest, len(more))
                if dead:
                    self._buffers.forget_dead(buffer)
            self._buffers.balance()
            self._count_calls(calls)
            self._count_events(events)
        return longest

    def _count_calls(self, calls: dict[Point, list[float]]) -> None:
        for point, durations in calls.items():
            if durations:
                self.recorded += len(durations)
                self._guard(point.series.record, "ok", "model", durations, point.predictions * len(durations))

    def _count_events(self, events: list[Event]) -> None:
        requests: dict[tuple[ModelSeries, str, str], list[float]] = defaultdict(list)
        predictions: dict[tuple[ModelSeries, str, str], int] = defaultdict(int)
        stages: dict[tuple[ModelSeries, str], list[float]] = defaultdict(list)
        for event in events:
            what = event[0]
            if what == CALL:
                _, series, outcome, served_by, duration_s, count = event
                key = (series, outcome, served_by)
                requests[key].append(duration_s)
                predictions[key] += count
            elif what == STAGE:
                try:
                    stages[event[1], event[2]].append(event[3])
                except TypeError as error:
                    self._faults.internal("a stage name that cannot be a label", error)
            else:
                assert what == BATCH, f"unknown event {what!r}"
                self._guard(event[1].record_batch, *event[2:])
        for key, durations in requests.items():
            self.recorded += len(durations)
            self._guard(key[0].record, key[1], key[2], durations, predictions[key])
        for (series, stage), durations in stages.items():
            self._guard(series.record_stage, stage, durations)

    def _guard(self, record: Callable[..., None], *facts: object) -> None:
        """Count; one bad record must not cost the others."""
        try:
            record(*facts)
        except Exception as error:
            self._faults.internal("aggregating", error)
