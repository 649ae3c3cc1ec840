"""Per-thread buffers: what a request writes to, and where nothing is ever lost.

    thread A ─ ThreadBuffer ─┬─ events [...]          outcomes but ok, tokens, batches
                             ├─ Slot(point 1)         start, values [0.0021, 0.0019, ...]
                             └─ Slot(point 2)
    thread B ─ ThreadBuffer ─ ...
    all ────── Lane(series 1)    values, stages {"inference": [...]}: see `lanes`

Threads append; only the aggregator takes, by copying a slice and deleting the same slice. Both are
single operations of the list, so no lock is needed with or without the GIL. A slot is found by the
number of its thread (`threading.local` costs a request, whose caches are cold, three times as much);
a dying thread takes its slots out of the way, before its number can be another's. Its buffer stays
until it has been emptied. Buffers are bounded: what does not fit is counted.
"""

from __future__ import annotations

import threading
import weakref
from _thread import get_ident
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ninesight.lanes import NO_LANE, Lane
from ninesight.outcomes import Outcomes
from ninesight.pickled import point_of, shared
from ninesight.series import ModelSeries
from ninesight.started import Flights

if TYPE_CHECKING:
    from ninesight.calls import Call
    from ninesight.keeper import Keeper

__all__ = ["FAR", "Buffers", "Event", "Point", "Slot", "ThreadBuffer", "take"]

Relabel = Callable[[ModelSeries, Mapping[str, object], tuple[str, str] | None], ModelSeries]
"""(series, labels, (model, version) or None for the same) -> series."""

Event = tuple[Any, ...]
"""(what, ...): see `events`."""

T = TypeVar("T")

FAR = 1 << 62
"""Calls until the next random pick for a trace while none is drawn."""

_LIMIT_MIN = 1024

_IDLE_LIMIT = 4096
"""Records that a lane takes until the next pass finds it busy."""


class Slot:
    """One observation point on one thread."""

    __slots__ = ("call", "dropped", "limit", "moving", "pick", "point", "start", "taken", "until", "values")

    def __init__(self, point: Point, limit: int, gap: int) -> None:
        self.point = point
        self.limit = limit
        self.taken = 0
        """Values that the aggregator has taken so far: with the length of `values`, how many calls there were."""
        self.moving = False
        """True while the aggregator takes values: `taken` and the length of `values` do not fit each other then."""
        self.pick = gap
        """Number of the call that is the next random pick for a trace; FAR while none is drawn."""
        self.until = min(limit, gap)
        """Length of `values` up to which a call is nothing special."""
        self.start: float | None = None
        """Clock reading at which the call running now began; None between calls."""
        self.call: Call | None = None
        """The running call as an object, once somebody asked for it."""
        self.values: list[float] = []
        """Durations in seconds of calls that ended well and asked for nothing special."""
        self.dropped = 0

    def take(self) -> list[float]:
        """Remove and return the values. For the aggregator."""
        if self.pick >= FAR:
            return take(self.values)
        self.moving = True
        self.until = 0
        taken = take(self.values)
        self.taken += len(taken)
        self.moving = False
        self.aim()
        return taken

    def draw(self, gap: int) -> None:
        """Have the call after `gap` others be the next random pick."""
        # In this order: a drain in between makes the pick come early, never late.
        self.pick = FAR if gap >= FAR else self.taken + len(self.values) + gap
        self.aim()

    def aim(self) -> None:
        """Set `until` as the pick and the bound say. Any thread: what it gets wrong is put right at the next look."""
        self.until = min(self.limit, max(0, self.pick - self.taken))


class Point:
    """What observed functions share: their series, predictions per call, and a slot on each thread."""

    __slots__ = ("predictions", "series", "slots")

    def __init__(self, series: ModelSeries, predictions: int) -> None:
        self.series = series
        self.predictions = predictions
        self.slots: dict[int, Slot] = {}
        """By the number of their thread, of those that live."""

    def __reduce__(self) -> tuple[Any, ...]:
        return point_of, (self.series, self.predictions)


class _Life:
    """Lives exactly as long as its thread."""

    __slots__ = ("__weakref__", "buffer")

    def __init__(self, buffer: ThreadBuffer) -> None:
        self.buffer = buffer


class ThreadBuffer:
    """Everything one thread has recorded and the aggregator has not taken yet."""

    __slots__ = ("_life", "dropped", "events", "limit", "slots")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.events: list[Event] = []
        self.slots: list[Slot] = []
        self.dropped = 0
        self._life: weakref.ref[_Life] | None = None

    def follow(self, life: _Life, ended: Callable[[Any], None]) -> None:
        """Tie the buffer to its thread; `ended` is called on the thread as it ends."""
        self._life = weakref.ref(life, ended)

    def alive(self) -> bool:
        """False once the thread is gone: it will not write again."""
        return self._life is not None and self._life() is not None

    def put(self, event: Event) -> None:
        """Keep an event, or count it as dropped."""
        if len(self.events) < self.limit:
            self.events.append(event)
        elif self.limit:
            self.dropped += 1

    def dropped_all(self) -> int:
        """Count what did not fit into any part. Any thread."""
        return self.dropped + sum(slot.dropped for slot in self.slots[:])


class Buffers:
    """The buffers of all threads. `records_max` bounds what waits in them together; 0 turns recording off.

    `on_use` is called when a thread records for the first time.
    """

    def __init__(self, records_max: int, *, on_use: Callable[[], None] = lambda: None) -> None:
        self._records_max = records_max
        self._on_use = on_use
        self.local = threading.local()
        """`life`: of the calling thread, once it has a buffer."""
        self.slots_of: dict[int, list[Slot]] = {}
        """By the number of their thread, of those that live; empty while nobody makes plain calls."""
        self.lanes: dict[ModelSeries, Lane] = {}
        self.flights = Flights()
        """Running calls that are no objects, and not plain ones."""
        self.recording = records_max > 0
        """False while recording is turned off."""
        self._points: dict[tuple[ModelSeries, int], Point] = {}
        self.keeper: Keeper | None = None
        """Keeps calls worth a trace; None while traces are off."""
        self.outcomes = Outcomes()
        """Judges the exceptions of all calls."""
        self.relabel: Relabel = lambda series, *_: series
        """Finds the series of a call that says more labels, or another model."""
        self.threads: list[ThreadBuffer] = []
        self.dropped_before = 0
        """Drops of threads that are gone."""

    def __reduce__(self) -> tuple[Any, ...]:
        return shared, ("buffers",)

    def resize(self, records_max: int) -> None:
        """Set the bound, and share it between the buffers there are."""
        self._records_max = records_max
        self.recording = records_max > 0
        self._settle()
        self.balance()

    def point(self, series: ModelSeries, predictions: int) -> Point:
        """Return the observation point of a series with so many predictions a call (one for all that share both)."""
        found = self._points.get((series, predictions))
        return found or self._points.setdefault((series, predictions), Point(series, predictions))

    def here(self) -> ThreadBuffer:
        """Return the calling thread's buffer, made on its first use."""
        try:
            buffer: ThreadBuffer = self.local.life.buffer
        except AttributeError:
            buffer = ThreadBuffer(self._share(len(self.threads) + 1))
            life = _Life(buffer)
            buffer.follow(life, self._ended(get_ident(), buffer.slots, self.slots_of))
            self.local.life = life
            self.threads.append(buffer)
            self._on_use()
            self._settle()
        return buffer

    def slots_here(self) -> Sequence[Slot]:
        """Return the calling thread's slots without making a buffer."""
        return self.slots_of.get(get_ident(), ())

    def slot(self, point: Point) -> Slot:
        """Return a new slot of the point on the calling thread."""
        buffer = self.here()
        slot = Slot(point, buffer.limit, FAR if self.keeper is None else self.keeper.next_gap())
        buffer.slots.append(slot)
        point.slots[get_ident()] = slot
        self.slots_of[get_ident()] = buffer.slots
        return slot

    def lane(self, series: ModelSeries) -> Lane:
        """Return the lane of a series, made on first use."""
        lane = self.lanes.get(series)
        if lane is None:
            lane = self.lanes.setdefault(series, Lane(self.here().limit))
            series.lane = lane
        return lane

    def drop(self, lane: Lane) -> None:
        """Count a record that a full lane did not take; one that records nothing drops nothing."""
        if lane.limit:
            self.here().dropped += 1

    @staticmethod
    def _ended(thread: int, slots: list[Slot], by_thread: dict[int, list[Slot]]) -> Callable[[Any], None]:
        def ended(_: Any) -> None:
            """On the dying thread: its number may be another's as soon as it is gone."""
            by_thread.pop(thread, None)
            for slot in slots:
                slot.point.slots.pop(thread, None)

        return ended

    def forget_dead(self, buffer: ThreadBuffer) -> None:
        """Let go of an emptied buffer whose thread is gone."""
        self.dropped_before += buffer.dropped_all()
        self.threads.remove(buffer)

    def dropped(self) -> int:
        """Count what did not fit, so far."""
        return self.dropped_before + sum(buffer.dropped_all() for buffer in self.threads[:])

    def buffered(self) -> int:
        """Count what waits now."""
        return sum(lane.buffered for lane in self.lanes.copy().values()) + sum(
            len(buffer.events) + sum(len(slot.values) for slot in buffer.slots[:])
            for buffer in self.threads[:]
        )

    def longest(self) -> int:
        """Return how many records wait in the longest list; or how many threads have a buffer, if that is more."""
        threads = self.threads[:]
        found = len(threads)  # Those of dead threads are let go of by aggregation.
        for buffer in threads:
            found = max(found, len(buffer.events), *[len(slot.values) for slot in buffer.slots[:]])
        for lane in self.lanes.copy().values():
            found = max(found, lane.longest)
        return found

    def forget_drops(self) -> None:
        """Count drops from zero."""
        self.dropped_before = 0
        for buffer in self.threads[:]:
            buffer.dropped = 0
            for slot in buffer.slots[:]:
                slot.dropped = 0

    def limit_least(self) -> int:
        """Return the bound of one buffer now."""
        return min((buffer.limit for buffer in self.threads[:]), default=self._records_max)

    def balance(self) -> None:
        """Share the bound between the buffers there are, so that memory stays bounded as threads come."""
        threads = self.threads[:]
        lanes = self.lanes.copy().values()
        limit = self._share(
            sum(not lane.idle for lane in lanes) + sum(1 + len(buffer.slots) for buffer in threads)
        )
        for lane in lanes:
            lane.limit = min(limit, _IDLE_LIMIT) if lane.idle else limit
        for buffer in threads:
            buffer.limit = limit
            for slot in buffer.slots[:]:
                slot.limit = limit
                slot.aim()

    def keep(self, keeper: Keeper | None) -> None:
        """Have calls worth a trace kept from now on, or none with None."""
        self.keeper = keeper
        self._settle()
        for buffer in self.threads[:]:
            for slot in buffer.slots[:]:
                slot.draw(FAR if keeper is None else keeper.next_gap())

    def clear(self) -> None:
        """Forget everything, other threads' buffers too. For the child after a fork."""
        for series in self.lanes:
            series.lane = NO_LANE
        self.lanes.clear()
        self.flights.clear()
        self.slots_of.clear()
        self.threads.clear()
        self.dropped_before = 0
        self.local.__dict__.clear()
        for point in self._points.values():
            point.slots.clear()

    def _settle(self) -> None:
        self.flights.swift = self.recording and self.keeper is None and bool(self.threads)

    def _share(self, count: int) -> int:
        if not self._records_max:
            return 0
        return max(_LIMIT_MIN, self._records_max // max(1, count))


def take(items: list[T]) -> list[T]:
    """Remove and return what is in a list another thread appends to."""
    taken = items[:]
    del items[: len(taken)]
    return taken
