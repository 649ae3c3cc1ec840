"""Takes what the threads have buffered and adds it to the totals. Never on the request path.

`drain` may be called from any thread; one runs at a time. When it returns, every record that was
buffered before it began is in the totals.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

from ninesight.accelerator import Timer
from ninesight.events import BATCH, CALL, DEVICE, LOOKUP, OWN, STAGE, TOKENS
from ninesight.faults import Faults
from ninesight.lanes import Lane
from ninesight.series import ModelSeries
from ninesight.slots import Buffers, Event, Point, take

__all__ = ["Aggregator"]

_PENDING_MAX = 10_000
"""Accelerator times that may wait for their device."""


class Aggregator:
    """Owns the totals: hold `lock` to read a series."""

    def __init__(self, buffers: Buffers, faults: Faults) -> None:
        self._buffers = buffers
        self._faults = faults
        self.lock = threading.Lock()
        self.recorded = 0
        """Calls in the totals."""
        self.taken = 0
        """Records of any kind in the totals."""
        self._device: list[tuple[tuple[tuple[ModelSeries, float], ...], object, Timer]] = []

    def drain(self) -> int:
        """Add everything buffered to the totals; return the length of the longest buffer seen."""
        with self.lock:
            calls: dict[Point, list[float]] = defaultdict(list)
            lanes: list[tuple[ModelSeries, list[float], list[int]]] = []
            stages: dict[tuple[ModelSeries, str], list[float]] = defaultdict(list)
            events: list[Event] = []
            longest = 0
            for buffer in self._buffers.threads[:]:
                # Asked before taking: what a live thread writes later is taken next time.
                dead = not buffer.alive()
                for slot in buffer.slots[:]:
                    taken = slot.take()
                    calls[slot.point] += taken
                    self.taken += len(taken)
                    longest = max(longest, len(taken))
                more = take(buffer.events)
                events += more
                self.taken += len(more)
                longest = max(longest, len(more))
                if dead:
                    self._buffers.forget_dead(buffer)
            for series, lane in self._buffers.lanes.copy().items():
                longest = max(longest, self._take_lane(series, lane, lanes, stages))
            self._buffers.balance()
            self._count_calls(calls)
            self._count_lanes(lanes)
            self._count_events(events, stages)
            self._count_device()
            if self._buffers.keeper is not None:
                self._buffers.keeper.settle()
        return longest

    def _count_calls(self, calls: dict[Point, list[float]]) -> None:
        for point, durations in calls.items():
            if durations:
                self.recorded += len(durations)
                self._guard(point.series.record, "ok", "model", durations, point.predictions * len(durations))

    def _take_lane(
        self,
        series: ModelSeries,
        lane: Lane,
        lanes: list[tuple[ModelSeries, list[float], list[int]]],
        stages: dict[tuple[ModelSeries, str], list[float]],
    ) -> int:
        """Take what waits in a lane; return the length of its longest list."""
        values = take(lane.values)
        lanes.append((series, values, take(lane.extra)))
        self.taken += len(values)
        longest = len(values)
        for stage, waiting in lane.stages.copy().items():
            taken = take(waiting)
            stages[series, stage] += taken
            self.taken += len(taken)
            longest = max(longest, len(taken))
        lane.idle = not longest
        return longest

    def _count_lanes(self, lanes: list[tuple[ModelSeries, list[float], list[int]]]) -> None:
        for series, durations, extra in lanes:
            if durations or extra:
                self.recorded += len(durations)
                self._guard(series.record, "ok", "model", durations, len(durations) + sum(extra))

    def _count_events(self, events: list[Event], stages: dict[tuple[ModelSeries, str], list[float]]) -> None:
        requests: dict[tuple[ModelSeries, str, str], list[float]] = defaultdict(list)
        predictions: dict[tuple[ModelSeries, str, str], int] = defaultdict(int)
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
                self._guard(self._count_rare, event)
        for key, durations in requests.items():
            self.recorded += len(durations)
            self._guard(key[0].record, key[1], key[2], durations, predictions[key])
        for (series, stage), durations in stages.items():
            if durations:
                self._guard(series.record_stage, stage, durations)

    def _count_rare(self, event: Event) -> None:
        what, subject, *facts = event
        if what == TOKENS:
            subject.record_tokens(*facts)
        elif what == BATCH:
            subject.record_batch(*facts)
        elif what == DEVICE:
            self._device.append((subject, *facts))
            if len(self._device) > _PENDING_MAX:
                self._device.pop(0)
                self._faults.internal(
                    "accelerator timing", RuntimeError("too many events wait for the device")
                )
        elif what == LOOKUP:
            subject.record_lookup(*facts)
        else:
            assert what == OWN, f"unknown event {what!r}"
            subject.take(*facts)

    def _count_device(self) -> None:
        """Count the accelerator times that are known by now; a device still at work is asked next time."""
        waiting, self._device = self._device, []
        for shares, gpu, timer in waiting:
            try:
                seconds = timer.seconds()
            except Exception as error:
                self._faults.internal("reading an accelerator's time", error)
                continue
            if seconds is None:
                self._device.append((shares, gpu, timer))
                continue
            for series, share in shares:
                self._guard(series.record_device, gpu, timer.basis, seconds * share)

    def _guard(self, record: Callable[..., None], *facts: object) -> None:
        """Count; one bad record must not cost the others."""
        try:
            record(*facts)
        except Exception as error:
            self._faults.internal("aggregating", error)
