"""The running call: what it says about itself, and how it is found from inside.

A call that is entered is in flight until it is left, exactly once. Nothing here raises: a wrong word
or number is counted, told once, and the call is recorded without it.
"""

from __future__ import annotations

from contextvars import Token
from math import inf
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from ninesight.accelerator import Measured
from ninesight.checks import amount, whole
from ninesight.contract import Outcome, ServedBy
from ninesight.events import CALL, DEVICE, STAGE
from ninesight.keeper import begin_trace
from ninesight.lanes import record_ok
from ninesight.pace import Pace
from ninesight.series import ModelSeries
from ninesight.slots import Buffers, Slot
from ninesight.stages import Stage, stage_of
from ninesight.started import RUNNING, leave
from ninesight.traces import Trace, parse_traceparent

__all__ = ["Call", "NoCall", "asked", "running_call", "running_series"]

_OUTCOMES = frozenset(map(str, Outcome))
_SERVED_BY = frozenset(map(str, ServedBy))


class Call:
    """One request to one model version. Use it as a context manager; it may be entered once."""

    __slots__ = (
        "_outcome",
        "_pace",
        "_predictions",
        "_served_by",
        "_token",
        "_trace",
        "_waiting_since",
        "duration_s",
        "finished",
        "outer",
        "series",
        "started_at",
    )

    def __init__(self, series: ModelSeries, predictions: int = 1) -> None:
        self.series = series
        self.duration_s: float | None = None
        """Seconds from entry to exit: exactly the value that was recorded. None until then."""
        self.finished = False
        self._outcome: str | None = None
        self._served_by = "model"
        self._predictions = predictions
        self.started_at = 0.0
        """Clock reading at entry, in seconds of `time.perf_counter`."""
        self._token: Token[Any] | None = None
        self._pace: Pace | None = None
        self._waiting_since = 0.0
        self._trace: Trace | None = None
        self.outer: Call | None = None
        """The call that this one runs in, while traces are on."""

    def outcome(self, outcome: str) -> None:
        """Say how the call ends; it wins over what an exception or a result would say."""
        if outcome in _OUTCOMES:
            self._outcome = str(outcome)
        else:
            self.series.faults.refuse("outcome must be one of " + ", ".join(Outcome), outcome, "ignored")

    def served_by(self, served_by: str) -> None:
        """Say who gave the answer: model, cache or fallback."""
        if served_by in _SERVED_BY:
            self._served_by = str(served_by)
        else:
            self.series.faults.refuse("served_by must be one of " + ", ".join(ServedBy), served_by, "ignored")

    def predictions(self, predictions: int) -> None:
        """Say how many predictions an ok answer holds (default 1). Other outcomes count none."""
        count = whole(predictions)
        if count is None:
            self.series.faults.refuse("predictions must be an int of at least 0", predictions, "ignored")
        else:
            self._predictions = count

    def tokens(self, *, input: int = 0, output: int = 0, cached: int = 0) -> None:  # noqa: A002
        """Add tokens read (`input`), written (`output`) and read but not computed anew (`cached`)."""
        counts = (whole(input), whole(output), whole(cached))
        if None in counts:
            self.series.faults.refuse(
                "tokens must be ints of at least 0", (input, output, cached), "not counted"
            )
        else:
            self.pace.add(*counts)  # type: ignore[arg-type] # None was refused above.

    def token(self, count: int = 1) -> None:
        """Say that output tokens were given to the caller just now: the pace is measured from these moments."""
        self.pace.mark(perf_counter(), count)

    def accelerator_seconds(self, seconds: float, gpu: str = "0") -> None:
        """Add time an accelerator worked for this call, measured by you (`basis="reported"`)."""
        measured = amount(seconds)
        if measured is None:
            self.series.faults.refuse("accelerator seconds must be finite and at least 0", seconds, "ignored")
        else:
            event = (DEVICE, ((self.series, 1.0),), gpu, Measured(measured))
            self.series.buffers.here().put(event)

    def labels(self, **labels: object) -> None:
        """Say labels of your own (`tenant="a"`). Values beyond the budget become `__other__`.

        Say them before the first stage: what was recorded earlier keeps the labels it had.
        """
        self._move(self.series.buffers.relabel(self.series, labels, None))

    def model(self, model: str, version: str = "1") -> None:
        """Say which model answers, where that is known only inside (a router, a field of the request).

        As with labels: what was recorded earlier stays where it was.
        """
        self._move(self.series.buffers.relabel(self.series, {}, (model, version)))

    def _move(self, series: ModelSeries) -> None:
        was, self.series = self.series, series
        if self in was.running and series is not was:
            series.running.add(self)
            was.running.discard(self)

    def attribute(self, key: str, value: object) -> None:
        """Say something for the trace, should this call be worth one: a text, number or bool; the first 32 are kept."""
        if self.series.buffers.keeper is not None:
            self.trace.note(key, value)

    def continue_trace(self, traceparent: str) -> None:
        """Continue the trace of whoever asked: the W3C `traceparent` header of the request. A wrong one is passed over."""
        if self.series.buffers.keeper is not None and (found := parse_traceparent(traceparent)) is not None:
            self.trace.trace_id, self.trace.parent_id = found

    def enqueue(self) -> None:
        """Say that the call begins to wait for a batch; an `Execution` that takes it up records how long."""
        self._waiting_since = perf_counter()

    def add_stage(self, stage: str, duration_s: float) -> None:
        """Record a stage that was timed elsewhere, in seconds."""
        seconds = amount(duration_s)
        if seconds is None:
            self.series.faults.refuse(
                "a stage duration must be finite and at least 0 s", duration_s, "ignored"
            )
        else:
            self.series.buffers.here().put((STAGE, self.series, stage, seconds))
            self.note_stage(stage, perf_counter() - seconds, seconds)

    def note_stage(self, stage: str, start_s: float, duration_s: float) -> None:
        """Keep a stage for the trace, should there be one; it began at this clock reading."""
        if self.series.buffers.keeper is not None:
            self.trace.note_stage(stage, start_s, duration_s)

    def stage(self, name: str) -> Stage:
        """Return a context manager that times a stage of this call."""
        return stage_of(name, self.series, self)

    @property
    def judged(self) -> bool:
        """True once somebody said how the call ends."""
        return self._outcome is not None

    @property
    def trace(self) -> Trace:
        """Notes for the trace, made on first use."""
        if self._trace is None:
            self._trace = begin_trace(self.outer)
        return self._trace

    @property
    def trace_if_any(self) -> Trace | None:
        """Notes for the trace, if something was noted."""
        return self._trace

    @property
    def traceparent(self) -> str:
        """The W3C header for requests that this call makes itself; empty while traces are off."""
        return "" if self.series.buffers.keeper is None else self.trace.traceparent

    @property
    def answered_by(self) -> str:
        """Who gave the answer, as said so far."""
        return self._served_by

    @property
    def told_tokens(self) -> tuple[int, int, int]:
        """Tokens (input, output, cached) so far."""
        return (0, 0, 0) if self._pace is None else self._pace.told

    @property
    def pace(self) -> Pace:
        """Tokens and their moments, made on first use."""
        if self._pace is None:
            self._pace = Pace(self.started_at)
        return self._pace

    @property
    def waiting_since(self) -> float:
        """Clock reading at `enqueue`, else at entry."""
        return self._waiting_since or self.started_at

    def begin(self) -> None:
        """Start the clock and become the running call of this context. A second begin changes nothing."""
        self.__enter__()

    def __enter__(self) -> Self:
        if self.started_at or self.finished:
            self.series.faults.refuse("a call may be entered once", self.series.model, "take a new call")
            return self
        series = self.series
        buffers = series.buffers
        if not buffers.flights.swift:
            buffers.here()
            if buffers.keeper is not None:
                self.outer = running_call(buffers)
        series.running.add(self)
        self._token = RUNNING.set(self)
        self.started_at = perf_counter()
        return self

    def began(self, start_s: float | None) -> None:
        """Take over a call that began, as a plain one, at this clock reading."""
        self.started_at = start_s or perf_counter()
        buffers = self.series.buffers
        if buffers.keeper is not None:
            self.outer = running_call(buffers, self.started_at)

    def end(self, error: BaseException | None = None) -> None:
        """Stop the clock and record. A second end changes nothing."""
        if self.finished:
            return
        duration_s = perf_counter() - self.started_at
        self.series.running.discard(self)
        token = self._token
        self._token = None
        if token is not None:
            leave(token)
        self.close(duration_s, error)

    def close(self, duration_s: float, error: BaseException | None = None) -> None:
        """Record the call with a duration measured by somebody else, in seconds."""
        self.finished = True
        self.duration_s = duration_s
        series = self.series
        buffers = series.buffers
        outcome = self._outcome or ("ok" if error is None else buffers.outcomes.of(error))
        if outcome == "ok" and self._served_by == "model":
            record_ok(series, duration_s, self._predictions)
        else:
            predictions = self._predictions if outcome == "ok" else 0
            buffers.here().put((CALL, series, outcome, self._served_by, duration_s, predictions))
        if self._pace is not None:
            buffers.here().put(self._pace.event(series))
        if buffers.keeper is not None:
            buffers.keeper.ended(self, outcome, duration_s, error)

    def suspend(self) -> None:
        """Stop being the running call of this context, without ending (a generator between two items)."""
        if self._token is not None:
            leave(self._token)
            self._token = None

    def resume(self) -> None:
        """Become the running call of this context again."""
        self._token = RUNNING.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)


class NoCall(Call):
    """What `current()` gives outside a call: everything may be said to it, nothing is recorded."""

    __slots__ = ()

    def __init__(self) -> None:
        self.duration_s = None
        self.finished = True
        self.started_at = 0.0

    def stage(self, name: str) -> Stage:
        """Return a stage that is not recorded."""
        return stage_of(name, None)

    @property
    def traceparent(self) -> str:
        """Empty: there is no call."""
        return ""


def _nothing(self: Call, *args: object, **kwargs: object) -> None:
    """Do nothing."""


def _silence(*names: str) -> None:
    for name in names:
        setattr(NoCall, name, _nothing)


_silence("outcome", "served_by", "predictions", "tokens", "token", "accelerator_seconds", "labels")
_silence("enqueue", "add_stage", "begin", "end", "attribute", "continue_trace", "model")


def running_series(buffers: Buffers) -> ModelSeries | None:
    """Return the series of the innermost call running here; None outside a call."""
    mark, slot = _innermost(buffers, inf)
    if slot is not None:
        return slot.point.series
    if mark is None:
        return None
    if isinstance(mark, Call):
        return mark.series
    # As an object it may have said another model.
    call = buffers.flights.asked.get(id(mark))
    entry = buffers.flights.started.get(id(mark))
    if call is not None:
        return call.series
    return None if entry is None else entry[0].series


def running_call(buffers: Buffers, before_s: float = inf) -> Call | None:
    """Return the innermost call running here that began before a moment, made an object if it was not one yet."""
    mark, slot = _innermost(buffers, before_s)
    if slot is None:
        return mark if mark is None or isinstance(mark, Call) else asked(buffers, mark)
    if slot.call is None:
        slot.call = Call(slot.point.series, slot.point.predictions)
        slot.call.began(slot.start)
    return slot.call


def asked(buffers: Buffers, mark: object) -> Call | None:
    """Return the call of a mark as an object; None if it has ended. Any thread, and more than one at once."""
    key = id(mark)
    call = buffers.flights.asked.get(key)
    entry = buffers.flights.started.get(key)
    if call is not None or entry is None:
        return call
    point, start = entry
    fresh = Call(point.series, point.predictions)
    fresh.started_at = start
    # First: whoever is given it may say another model, and it moves to where that is counted.
    point.series.running.add(fresh)
    call = buffers.flights.asked.setdefault(key, fresh)
    if call is not fresh:
        point.series.running.discard(fresh)
    elif key not in buffers.flights.started:
        # It ended meanwhile. Whoever ended it has found the object and records it, or it is nobody's.
        if buffers.flights.asked.pop(key, None) is call:
            call.finished = True
        call.series.running.discard(call)
    return call


def _innermost(buffers: Buffers, before_s: float) -> tuple[Any, Slot | None]:
    """Find the running call: that of this context (a call or a mark), or a plain one on this thread, whichever began later."""
    mark = RUNNING.get()
    latest = -1.0
    if mark is not None:
        start = _start_of(buffers, mark)
        if start is None or start >= before_s:
            mark = None
        else:
            latest = start
    found = None
    for slot in buffers.slots_here():
        start = slot.start
        if start is not None and latest <= start < before_s:
            latest = start
            found = slot
    return mark, found


def _start_of(buffers: Buffers, mark: Any) -> float | None:
    """Return the clock reading at entry of what a context holds; None if it has ended."""
    if isinstance(mark, Call):
        return None if mark.finished else mark.started_at
    entry = buffers.flights.started.get(id(mark))
    return None if entry is None else entry[1]
