"""Queries that nobody waits for, and more queries than there are places."""

import asyncio
import itertools
import threading

import pytest
from ninesight_query import EngineSettings, LocalEngine, cancelling
from ninesight_query.errors import BusyError, DeadlineError, QueryCancelledError, UnavailableError
from ninesight_query.testing import store_over

LOAD = """
load 1m
  up{job="a"} 1x60
  up{job="b"} 0x60
"""
LONG_S = 30.0


class Held:
    """A source whose reads last until they are let go."""

    def __init__(self):
        self.inner = store_over(LOAD)
        self.reading = threading.Semaphore(0)
        self.go_on = threading.Event()

    def select(self, matchers, start_ms, end_ms):
        self.reading.release()
        assert self.go_on.wait(LONG_S)
        return self.inner.select(matchers, start_ms, end_ms)


def asked(engine, outcomes, *, cancel=None):
    """A thread that asks one query and puts what became of it into a list."""

    def work():
        try:
            if cancel is None:
                outcomes.append(engine.instant("sum(up)", 60_000).value.values.tolist())
            else:
                with cancelling(cancel):
                    outcomes.append(engine.instant("sum(up)", 60_000).value.values.tolist())
        except Exception as error:
            outcomes.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_cancelled_query_ends():
    """Set while the store reads: the evaluation stops at the next look, and says so."""
    source, gone, outcomes = Held(), threading.Event(), []
    thread = asked(LocalEngine(source), outcomes, cancel=gone)
    assert source.reading.acquire(timeout=LONG_S)
    gone.set()
    source.go_on.set()
    thread.join(LONG_S)
    (error,) = outcomes
    assert isinstance(error, QueryCancelledError)
    assert error.kind == "canceled"


def test_evaluation_looks_often():
    """Between nodes and tiles, not only at the start: the tenth look ends it."""
    engine = LocalEngine(store_over(LOAD))
    looks = itertools.count()
    with cancelling(lambda: next(looks) >= 10), pytest.raises(QueryCancelledError):
        engine.range("+".join(["sum(rate(up[5m]))"] * 20), 0, 600_000, 60_000)
    assert next(looks) == 11
    assert engine.instant("sum(up)", 60_000).value.values.tolist() == [1.0]


def test_cancelling_nests_and_stays_in_its_thread():
    """The inner switch does not hide the outer one; other threads and tasks are not touched."""
    engine = LocalEngine(store_over(LOAD))
    outer, inner, outcomes = threading.Event(), threading.Event(), []
    with cancelling(outer):
        with cancelling(inner):
            outer.set()
            with pytest.raises(QueryCancelledError):
                engine.instant("up", 0)
            asked(engine, outcomes).join(LONG_S)
        with pytest.raises(QueryCancelledError):
            engine.instant("up", 0)
    assert outcomes == [[1.0]]
    assert len(engine.instant("up", 0).value.labels) == 2

    async def in_a_thread():
        with cancelling(outer):
            return await asyncio.to_thread(engine.instant, "up", 0)

    with pytest.raises(QueryCancelledError):
        asyncio.run(in_a_thread())


def test_only_so_many_queries_run_and_wait():
    """One runs, one waits and gets its turn, one more is refused at once."""
    source, outcomes = Held(), []
    engine = LocalEngine(source, EngineSettings(queries_max=1, queries_waiting_max=1))
    first = asked(engine, outcomes)
    assert source.reading.acquire(timeout=LONG_S)
    second = asked(engine, outcomes)
    while engine.load != (1, 1):
        second.join(0.005)
    with pytest.raises(BusyError, match="at most 1 queries may run and 1 wait"):
        engine.instant("up", 0)
    assert issubclass(BusyError, UnavailableError)
    source.go_on.set()
    for thread in (first, second):
        thread.join(LONG_S)
    assert outcomes == [[1.0], [1.0]]
    assert engine.load == (0, 0)


def test_waiting_ends_with_the_deadline_or_the_client():
    """Who waits for a place in vain is told so; who leaves is let go."""
    source, outcomes, gone = Held(), [], threading.Event()
    ticks = itertools.count(0.0, 1.0)
    engine = LocalEngine(
        source, EngineSettings(queries_max=1, deadline_s=1000.0), clock_s=lambda: next(ticks)
    )
    first = asked(engine, outcomes)
    assert source.reading.acquire(timeout=LONG_S)
    waiting = asked(engine, outcomes, cancel=gone)
    gone.set()
    waiting.join(LONG_S)
    assert isinstance(outcomes.pop(), QueryCancelledError)
    for _ in range(1000):
        next(ticks)
    # Time stands still for the one that runs, and flies for the one that waits.
    impatient = LocalEngine(
        source,
        EngineSettings(queries_max=1, deadline_s=0.01),
        clock_s=lambda: next(ticks) if threading.current_thread() is threading.main_thread() else 0.0,
    )
    second = asked(impatient, outcomes)
    assert source.reading.acquire(timeout=LONG_S)
    with pytest.raises(DeadlineError, match="found no place within its deadline: 1 others run"):
        impatient.instant("up", 0)
    source.go_on.set()
    for thread in (first, second):
        thread.join(LONG_S)
