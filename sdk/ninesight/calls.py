"""The running call: what it says about itself, and how it is found from inside.

A call that is entered is in flight until it is left, exactly once. Nothing here raises: a wrong word
or number is counted, told once, and the call is recorded without it.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar, Token
from time import perf_counter
from types import TracebackType
from typing import Self

from ninesight.checks import amount, whole
from ninesight.contract import Outcome, ServedBy
from ninesight.series import ModelSeries
from ninesight.slots import Buffers, Slot

__all__ = ["CALL", "STAGE", "Call", "NoCall", "Stage", "outcome_of", "running_call", "running_series"]

CALL = 0
"""Event (CALL, series, outcome, served_by, duration_s, predictions)."""
STAGE = 1
"""Event (STAGE, series, stage, duration_s)."""

_OUTCOMES = frozenset(map(str, Outcome))
_SERVED_BY = frozenset(map(str, ServedBy))

_running: ContextVar[Call | None] = ContextVar("ninesight_call", default=None)


def outcome_of(error: BaseException | None) -> str:
    """Return the outcome an exception stands for: timeout, cancelled, else error; ok without one."""
    if error is None:
        return "ok"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, GeneratorExit):
        return "cancelled"
    # asyncio costs 50 ms to import; whoever raises its CancelledError has imported it.
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return "error"


class Call:
    """One request to one model version. Use it as a context manager; it may be entered once."""

    __slots__ = (
        "_outcome",
        "_predictions",
        "_served_by",
        "_start",
        "_token",
        "duration_s",
        "finished",
        "series",
    )

    def __init__(self, series: ModelSeries, predictions: int = 1) -> None:
        self.series = series
        self.duration_s: float | None = None
        """Seconds from entry to exit: exactly the value that was recorded. None until then."""
        self.finished = False
        self._outcome: str | None = None
        self._served_by = "model"
        self._predictions = predictions
        self._start = 0.0
        self._token: Token[Call | None] | None = None

    def set_outcome(self, outcome: str) -> None:
        """Say how the call ends; it wins over what an exception or a result would say."""
        if outcome in _OUTCOMES:
            self._outcome = str(outcome)
        else:
            self.series.faults.refuse("outcome must be one of " + ", ".join(Outcome), outcome, "ignored")

    def set_served_by(self, served_by: str) -> None:
        """Say who gave the answer: model, cache or fallback."""
        if served_by in _SERVED_BY:
            self._served_by = str(served_by)
        else:
            self.series.faults.refuse("served_by must be one of " + ", ".join(ServedBy), served_by, "ignored")

    def set_predictions(self, predictions: int) -> None:
        """Say how many predictions an ok answer holds (default 1). Other outcomes count none."""
        count = whole(predictions)
        if count is None:
            self.series.faults.refuse("predictions must be an int of at least 0", predictions, "ignored")
        else:
            self._predictions = count

    def add_stage(self, stage: str, duration_s: float) -> None:
        """Record a stage that was timed elsewhere, in seconds."""
        seconds = amount(duration_s)
        if seconds is None:
            self.series.faults.refuse(
                "a stage duration must be finite and at least 0 s", duration_s, "ignored"
            )
        else:
            self.series.buffers.here().put((STAGE, self.series, stage, seconds))

    def stage(self, name: str) -> Stage:
        """Return a context manager that times a stage of this call."""
        return Stage(name, self.series)

    def begin(self) -> None:
        """Start the clock and become the running call of this context. A second begin changes nothing."""
        if self._start or self.finished:
            self.series.faults.refuse("a call may be entered once", self.series.model, "take a new call")
            return
        self.series.buffers.here()
        self.series.running.add(self)
        self._token = _running.set(self)
        self._start = perf_counter()

    def end(self, error: BaseException | None = None) -> None:
        """Stop the clock and record. A second end changes nothing."""
        if self.finished:
            return
        duration_s = perf_counter() - self._start
        self.series.running.discard(self)
        token = self._token
        self._token = None
        if token is not None:
            _leave(token)
        self.close(duration_s, error)

    def close(self, duration_s: float, error: BaseException | None = None) -> None:
        """Record the call with a duration measured by somebody else, in seconds."""
        self.finished = True
        self.duration_s = duration_s
        outcome = self._outcome or outcome_of(error)
        predictions = self._predictions if outcome == "ok" else 0
        self.series.buffers.here().put((CALL, self.series, outcome, self._served_by, duration_s, predictions))

    def suspend(self) -> None:
        """Stop being the running call of this context, without ending (a generator between two items)."""
        if self._token is not None:
            _leave(self._token)
            self._token = None

    def resume(self) -> None:
        """Become the running call of this context again."""
        self._token = _running.set(self)

    @property
    def started_at(self) -> float:
        """Clock reading at entry, in seconds of `time.perf_counter`."""
        return self._start

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)


def _leave(token: Token[Call | None]) -> None:
    """Give the context back its outer call."""
    try:  # noqa: SIM105 - contextlib.suppress costs more than the reset itself.
        _running.reset(token)
    except ValueError:
        # Left in another context than entered; a finished call is not found there either.
        pass


class NoCall(Call):
    """What `current()` gives outside a call: everything may be said to it, nothing is recorded."""

    __slots__ = ()

    def __init__(self) -> None:
        self.duration_s = None
        self.finished = True
        self._start = 0.0

    def set_outcome(self, outcome: str) -> None:
        """Do nothing."""

    def set_served_by(self, served_by: str) -> None:
        """Do nothing."""

    def set_predictions(self, predictions: int) -> None:
        """Do nothing."""

    def add_stage(self, stage: str, duration_s: float) -> None:
        """Do nothing."""

    def stage(self, name: str) -> Stage:
        """Return a stage that is not recorded."""
        return Stage(name, None)

    def begin(self) -> None:
        """Do nothing."""

    def end(self, error: BaseException | None = None) -> None:
        """Do nothing."""


class Stage:
    """Times a part of a call. Belongs to the call that runs when it is entered."""

    __slots__ = ("_series", "_start", "duration_s", "name")

    def __init__(self, name: str, series: ModelSeries | None) -> None:
        self.name = name
        self.duration_s: float | None = None
        """Seconds from entry to exit; None until then."""
        self._series = series
        self._start = 0.0

    def __enter__(self) -> Self:
        self._start = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        duration_s = self.duration_s = perf_counter() - self._start
        series = self._series
        if series is not None:
            series.buffers.here().put((STAGE, series, self.name, duration_s))


def running_series(buffers: Buffers) -> ModelSeries | None:
    """Return the series of the innermost call running here; None outside a call."""
    call, slot = _innermost(buffers)
    if slot is not None:
        return slot.point.series
    return None if call is None else call.series


def running_call(buffers: Buffers) -> Call | None:
    """Return the innermost call running here, made an object if it was not one yet."""
    call, slot = _innermost(buffers)
    if slot is None:
        return call
    if slot.call is None:
        slot.call = Call(slot.point.series, slot.point.predictions)
    return slot.call


def _innermost(buffers: Buffers) -> tuple[Call | None, Slot | None]:
    """Find the running call: an object of this context, or a plain call on this thread, whichever began later."""
    call = _running.get()
    if call is not None and call.finished:
        call = None
    latest = -1.0 if call is None else call.started_at
    found = None
    for slot in buffers.slots_here():
        start = slot.start
        if start is not None and start >= latest:
            latest = start
            found = slot
    return call, found
