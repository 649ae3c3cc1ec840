"""A call nobody asks for is a number; asked for, it is an object, and either way it is counted once."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import ninesight
import pytest
from ninesight.api import RUNTIME
from ninesight.calls import asked
from ninesight.lanes import LANES_MAX
from ninesight.started import Started, end
from ninesight.testing import histogram, isolated, number, total


def test_threads_that_ask_at_once_are_given_one_call(sdk):
    """Workers of `asyncio.to_thread` share the call of their coroutine, whoever asks first."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    @ninesight.observe(model="shared")
    async def run():
        found = await asyncio.gather(*(asyncio.to_thread(ninesight.current) for _ in range(8)))
        assert len(set(map(id, found))) == 1
        found[0].served_by("cache")
        return found[0]

    async def main():
        return [await run() for _ in range(100)]

    try:
        calls = asyncio.run(main())
    finally:
        sys.setswitchinterval(before)
    assert all(call.duration_s > 0 for call in calls)
    assert total(sdk(), "model_requests_total", model="shared", served_by="cache") == 100
    assert total(sdk(), "model_requests_total", model="shared") == 100
    assert number(sdk(), "model_requests_in_flight", model="shared", version="1") == 0


def test_a_call_asked_for_while_it_ends_is_recorded_once():
    """Whoever takes it out of flight records it; the other one's object is finished, or is what is recorded."""
    with isolated():
        series = RUNTIME.series("race", "1")
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(2) as pool:
                for _ in range(2_000):
                    started = Started(series)
                    started.started_at = 1.0
                    series.running.add(started)
                    asking, ending = pool.submit(asked, started), pool.submit(end, started)
                    call, taken = asking.result(), ending.result()
                    assert taken is (None if call.finished else call)
                    if taken is not None:
                        taken.end()
                    assert not series.running
        finally:
            sys.setswitchinterval(before)


def test_a_coroutine_counts_its_predictions_as_its_result_says(sdk):
    """None, one, many; what is no number counts as one and is told."""

    @ninesight.observe(model="counts", predictions=lambda result: result)
    async def run(result):
        return result

    async def main():
        for result in (0, 1, 7, True, "x", -1):
            await run(result)

    asyncio.run(main())
    assert number(sdk(), "model_predictions_total", model="counts", version="1") == 0 + 1 + 7 + 1 + 1 + 1
    assert total(sdk(), "model_requests_total", model="counts", outcome="ok") == 6
    assert ninesight.stats().invalid == 2


def test_a_coroutine_with_fixed_predictions_counts_them(sdk):
    """Also when it was asked for as an object."""

    @ninesight.observe(model="fixed", predictions=3)
    async def run(ask):
        if ask:
            ninesight.current().attribute("a", 1)

    asyncio.run(run(False))
    asyncio.run(run(True))
    assert number(sdk(), "model_predictions_total", model="fixed", version="1") == 6


def test_a_coroutine_may_end_on_another_thread(sdk):
    """Driven by hand, as some loops do; the thread it began on is gone by then."""

    class Wait:
        def __await__(self):
            yield

    @ninesight.observe(model="moves")
    async def run():
        with ninesight.stage("inference"):
            await Wait()

    coroutine = run()
    first = threading.Thread(target=coroutine.send, args=(None,))
    first.start()
    first.join()
    assert number(sdk(), "model_requests_in_flight", model="moves", version="1") == 1
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert number(sdk(), "model_requests_in_flight", model="moves", version="1") == 0
    assert total(sdk(), "model_requests_total", model="moves", outcome="ok") == 1
    stage = histogram(sdk(), "model_stage_duration_seconds", model="moves", version="1", stage="inference")
    assert stage.count == 1


def test_more_series_and_stages_than_a_thread_keeps_lists_for_are_counted_as_well():
    """Memory of a thread is bounded; nothing is lost by that."""
    with isolated(models_max=500, stages_max=100) as snapshot:

        def work():
            for _ in range(2):
                for index in range(LANES_MAX + 10):
                    with ninesight.call(f"many-{index}"):
                        pass
                with ninesight.call("many-0"):
                    for index in range(50):
                        with ninesight.stage(f"stage-{index}"):
                            pass

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert [
            total(snapshot(), "model_requests_total", model=f"many-{index}")
            for index in range(LANES_MAX + 10)
        ] == [4] + [2] * (LANES_MAX + 9)
        stages = [
            histogram(
                snapshot(),
                "model_stage_duration_seconds",
                model="many-0",
                version="1",
                stage=f"stage-{index}",
            ).count
            for index in range(50)
        ]
        assert stages == [2] * 50
        assert ninesight.stats().recorded == 2 * (LANES_MAX + 11)
