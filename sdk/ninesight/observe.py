"""The decorator. What it costs decides whether people leave it on.

A plain synchronous function pays for two clock reads, one look-up of its slot on this thread and one
append. Everything rarer (an exception, recursion, predictions or outcome from the result, a call
that was asked for by `current()`) takes a slower way around with the same record at its end.
"""

from __future__ import annotations

import functools
import inspect
from _thread import get_ident
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeVar

from ninesight.calls import Call, running_call
from ninesight.errors import ConfigError
from ninesight.events import CALL
from ninesight.judge import Judge
from ninesight.keeper import FAILURES
from ninesight.lanes import record_ok
from ninesight.series import ModelSeries
from ninesight.slots import Slot
from ninesight.started import leave
from ninesight.streams import async_generator, sync_generator
from ninesight.targets import Target

__all__ = ["instrument"]

F = TypeVar("F", bound=Callable[..., Any])


def instrument(fn: F, target: Target, judge: Judge) -> F:
    """Return the function, recording each call. Raises ConfigError for what is no function."""
    if isinstance(fn, staticmethod | classmethod):
        raise ConfigError(
            f"observe must decorate a function, got a {type(fn).__name__}; put it below @{type(fn).__name__}"
        )
    if not callable(fn) or inspect.isclass(fn):
        raise ConfigError(
            f"observe must decorate a function, got {fn!r}; write @ninesight.observe(...) above def"
        )
    kind: Callable[..., Callable[..., Any]]
    if inspect.isasyncgenfunction(fn):
        kind = async_generator
    elif inspect.isgeneratorfunction(fn):
        kind = sync_generator
    elif inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None)):  # noqa: B004
        kind = _coroutine if judge.counting and target.fixed is not None else _judged_coroutine
    elif judge.plain and target.fixed is not None:
        kind = _plain
    else:
        kind = _judged
    wrapper: F = functools.wraps(fn)(kind(fn, target, judge))  # type: ignore[assignment]
    return wrapper


def _plain(fn: Callable[..., Any], target: Target, judge: Judge) -> Callable[..., Any]:
    """Wrap a function whose record is its duration alone."""
    point = target.of((), {})
    series = point.series
    new_slot = point.series.buffers.slot
    general = _judged(fn, target, judge)
    clock = perf_counter

    def observed(*args: Any, **kwargs: Any) -> Any:
        try:
            slot: Slot = point.slots[get_ident()]
        except KeyError:
            slot = new_slot(point)
        if slot.start is not None:
            return general(*args, **kwargs)
        try:
            slot.start = start = clock()
            result = fn(*args, **kwargs) if kwargs else fn(*args)
            elapsed = clock() - start
        except BaseException as error:
            _failed(slot, clock(), error, judge)
            raise
        slot.start = None
        values = slot.values
        if slot.call is None and elapsed < series.slow_s and len(values) < slot.until:
            values.append(elapsed)
        else:
            _unusual(slot, elapsed)
        return result

    return observed


def _failed(slot: Slot, now: float, error: BaseException, judge: Judge) -> None:
    """Record a plain call that raised."""
    start = slot.start
    slot.start = None
    call, slot.call = slot.call, None
    if start is None:
        return
    if call is not None:
        judge.raised(call, error)
        call.close(now - start, error)
        return
    series = slot.point.series
    buffers = series.buffers
    outcome = buffers.outcomes.of(error, judge.outcomes)
    buffers.here().put((CALL, series, outcome, "model", now - start, 0))
    if buffers.keeper is not None and outcome in FAILURES:
        facts = (outcome, "failed", type(error).__name__)
        buffers.keeper.plain(series, running_call(buffers), now - start, facts)


def _unusual(slot: Slot, elapsed: float) -> None:
    """Record a call that was asked for as an object or is worth a trace, or count one that finds its buffer full."""
    call, slot.call = slot.call, None
    if call is not None:
        call.close(elapsed)
        return
    size = len(slot.values)
    if size >= slot.limit:
        slot.dropped += bool(slot.limit)
        return
    slot.values.append(elapsed)
    series = slot.point.series
    keeper = series.buffers.keeper
    if keeper is None:
        return
    why = "slow"
    if slot.moving:
        # Amid a drain nobody knows how far the pick is: the same chance is drawn for each call.
        why = "random" if keeper.draws() else "slow"
    elif slot.taken + size >= slot.pick:
        why = "random"
        slot.draw(keeper.next_gap())
    else:
        slot.aim()  # The pick lies further on: a drain came between.
    if why == "slow" and elapsed < series.slow_s:
        return
    keeper.plain(series, running_call(series.buffers), elapsed, ("ok", why, ""))


def _judged(fn: Callable[..., Any], target: Target, judge: Judge) -> Callable[..., Any]:
    """Wrap a function whose result says how it ended or how much it predicted."""
    fixed = target.fixed

    def observed(*args: Any, **kwargs: Any) -> Any:
        point = fixed or target.of(args, kwargs)
        call = Call(point.series, point.predictions)
        call.begin()
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            judge.failed(call, error)
            raise
        judge.answered(call, result)
        return result

    return observed


def _coroutine(fn: Callable[..., Any], target: Target, judge: Judge) -> Callable[..., Any]:
    """Wrap a coroutine function whose record is its duration, and perhaps how much it predicted."""
    point = target.of((), {})
    series, each = point.series, point.predictions
    flights = series.buffers.flights
    general = _judged_coroutine(fn, target, judge)
    predictions = judge.predictions
    clock = perf_counter

    async def observed(*args: Any, **kwargs: Any) -> Any:
        if not flights.swift:
            return await general(*args, **kwargs)
        start = clock()
        try:
            inner = fn(*args, **kwargs) if kwargs else fn(*args)
        except BaseException as error:
            _raised(series, each, clock() - start, error, judge)
            raise
        if type(inner) is not flights.mark_type:
            return await _judged_coroutine(lambda: inner, target, judge)()
        mark = id(inner)
        flights.started[mark] = (point, start)
        outer = flights.get()
        token = flights.set(inner)
        try:
            result = await inner
            elapsed = clock() - start
        except BaseException as error:
            elapsed = clock() - start
            leave(token)
            call = flights.end(mark)
            if call is None:
                _raised(series, each, elapsed, error, judge)
            else:
                judge.failed(call, error)
            raise
        if outer is not None:  # Else what the context keeps has finished, and is passed over.
            leave(token)
        flights.started.pop(mark, None)  # As `Flights.end`, without its frame.
        if flights.asked and (call := flights.asked.pop(mark, None)) is not None:
            judge.answered(call, result)
            return result
        count = each
        if predictions is not None:  # As `Judge.count`, and then `record_ok`, without their frames.
            try:
                count = predictions(result)
            except Exception as error:
                count = judge.unknown(error, each)
            if type(count) is not int or count < 0:
                count = judge.checked(count, each)
        lane = series.lane
        values = lane.values
        if len(values) >= lane.limit:
            record_ok(series, elapsed, count)
            return result
        if count != 1:
            lane.extra.append(count - 1)
        values.append(elapsed)
        return result

    return observed


def _raised(series: ModelSeries, each: int, elapsed: float, error: BaseException, judge: Judge) -> None:
    """Record a coroutine that raised."""
    buffers = series.buffers
    outcome = buffers.outcomes.of(error, judge.outcomes)
    if outcome == "ok":
        record_ok(series, elapsed, each)
    else:
        buffers.here().put((CALL, series, outcome, "model", elapsed, 0))


def _judged_coroutine(fn: Callable[..., Any], target: Target, judge: Judge) -> Callable[..., Any]:
    """Wrap a coroutine function; the call runs from the first step to the last."""
    fixed = target.fixed
    plain = judge.plain

    async def observed(*args: Any, **kwargs: Any) -> Any:
        point = fixed or target.of(args, kwargs)
        call = Call(point.series, point.predictions)
        call.begin()
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            judge.failed(call, error)
            raise
        if plain:
            call.end()
        else:
            judge.answered(call, result)
        return result

    return observed
