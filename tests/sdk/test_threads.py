"""Many threads: every call counted once, whatever becomes of its thread; memory bounded."""

import asyncio
import contextlib
import gc
import sys
import threading

import ninesight
import pytest
from ninesight.api import RUNTIME
from ninesight.testing import histogram, isolated, number, total

THREADS = 64


@pytest.fixture
def switching():
    """Force a thread switch at nearly every byte code."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_threads(work, count=THREADS):
    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_64_threads_under_forced_switching_lose_and_double_nothing(sdk, switching):
    """Plain calls, failures, call blocks, stages and scrapes at once; sums are exact."""
    calls = 400

    @ninesight.observe(model="busy", predictions=2)
    def run(fail):
        with ninesight.stage("inference"):
            if fail:
                raise ValueError
        return 1

    def work(index):
        for step in range(calls):
            with contextlib.suppress(ValueError):
                run(step % 10 == 0)
            with ninesight.call("busy-block") as call:
                call.served_by("cache" if step % 2 else "model")
            if step % 100 == index:
                sdk()

    run_threads(work)
    snapshot = sdk()
    every = THREADS * calls
    assert total(snapshot, "model_requests_total", model="busy", outcome="ok") == every * 9 // 10
    assert total(snapshot, "model_requests_total", model="busy", outcome="error") == every // 10
    assert number(snapshot, "model_predictions_total", model="busy", version="1") == 2 * every * 9 // 10
    assert histogram(snapshot, "model_request_duration_seconds", model="busy", version="1").count == every
    stage = histogram(snapshot, "model_stage_duration_seconds", model="busy", version="1", stage="inference")
    assert stage.count == every
    assert total(snapshot, "model_requests_total", model="busy-block", served_by="cache") == every // 2
    assert total(snapshot, "model_requests_total", model="busy-block") == every
    stats = ninesight.stats()
    assert (stats.recorded, stats.dropped, stats.internal_errors, stats.invalid) == (2 * every, 0, 0, 0)


def test_a_thread_that_dies_loses_nothing_and_leaves_nothing(sdk):
    """A thread per request, as simple servers have it: counts stay, buffers go."""

    @ninesight.observe(model="short-lived")
    def run():
        ninesight.current().add_stage("queue", 0.1)

    before = ninesight.stats().threads
    for _ in range(10):
        run_threads(lambda _: run(), 30)
    gc.collect()
    assert total(sdk(), "model_requests_total", model="short-lived") == 300
    sdk()
    assert ninesight.stats().threads <= before + 2  # The aggregation thread itself, and a live one.


def test_a_thread_with_the_number_of_a_dead_one_loses_nothing(sdk):
    """The system gives a thread's number to the next one; what is found by it must be the next one's."""

    @ninesight.observe(model="numbered")
    def run():
        with ninesight.stage("inference"):
            return ninesight.current()

    for count in range(1, 51):
        run_threads(lambda _: (run(), run()), 2)
        if count % 3:
            assert total(sdk(), "model_requests_total", model="numbered") == 4 * count
    gc.collect()
    point = RUNTIME.buffers.point(RUNTIME.series("numbered", "1"), 1)
    assert point.slots == {}
    sdk()
    assert set(RUNTIME.buffers.slots_of) <= {thread.ident for thread in threading.enumerate()}


def test_a_full_buffer_drops_and_counts():
    """recorded + dropped = calls: what does not fit is told, never silent."""
    with isolated(buffer_records_max=1024) as snapshot:

        @ninesight.observe(model="flood")
        def run():
            return 1

        with RUNTIME.aggregator.lock:  # An aggregator that cannot keep up.
            for _ in range(3000):
                run()
                with ninesight.call("flood"):
                    pass
            assert RUNTIME.buffers.buffered() <= 2048
        recorded = total(snapshot(), "model_requests_total", model="flood")
        dropped = number(snapshot(), "ninesight_sdk_dropped_total")
        assert recorded + dropped == 6000
        assert dropped >= 6000 - 2048
        assert ninesight.stats().dropped == dropped
        run()
        assert total(snapshot(), "model_requests_total", model="flood") == recorded + 1
        assert number(snapshot(), "model_requests_in_flight", model="flood", version="1") == 0


def test_requests_in_flight_are_exact_at_the_moment_asked(sdk, until):
    """Plain calls on threads, coroutines and call blocks, all waiting at once."""
    entered = threading.Semaphore(0)
    leave = threading.Event()

    @ninesight.observe(model="waits")
    def run():
        entered.release()
        leave.wait(120)

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=60)

    @ninesight.observe(model="waits")
    async def waiting(inside, gate):
        inside.release()
        await gate.wait()

    async def main():
        inside, gate = asyncio.Semaphore(0), asyncio.Event()
        tasks = [asyncio.create_task(waiting(inside, gate)) for _ in range(3)]
        for _ in tasks:
            await inside.acquire()
        with ninesight.call("waits"):
            seen = number(sdk(), "model_requests_in_flight", model="waits", version="1")
        gate.set()
        await asyncio.gather(*tasks)
        return seen

    assert asyncio.run(main()) == 5 + 3 + 1
    assert number(sdk(), "model_requests_in_flight", model="waits", version="1") == 5
    leave.set()
    for thread in threads:
        thread.join()
    assert number(sdk(), "model_requests_in_flight", model="waits", version="1") == 0


def test_calls_reach_the_totals_by_themselves(sdk, until):
    """Nobody needs to scrape or flush: the aggregation thread takes them."""

    @ninesight.observe(model="by-itself")
    def run():
        return 1

    run()
    until(lambda: ninesight.stats().recorded == 1)


def test_no_thread_stays_behind(until):
    """`shutdown` ends what the first call or `configure` began, and is safe twice."""

    def ours():
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("ninesight")]

    with isolated():
        assert ours() == ["ninesight-aggregation"]
        ninesight.shutdown()
        ninesight.shutdown()
        assert ours() == []
        with ninesight.call("after-shutdown"):
            pass
        assert ours() == []
        assert ninesight.flush()
        assert ninesight.stats().dropped == 0
        ninesight.configure()
        assert ours() == ["ninesight-aggregation"]
    assert ours() == []
