"""A call nobody asks for is a number; asked for, it is an object, and either way it is counted once."""

import asyncio
import contextvars
import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import ninesight
import pytest
from ninesight.api import RUNTIME
from ninesight.calls import asked
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
        point = RUNTIME.buffers.point(series, 1)
        flights = RUNTIME.flights
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(2) as pool:
                for _ in range(2_000):
                    mark = object()
                    flights.started[id(mark)] = (point, 1.0)
                    asking = pool.submit(asked, RUNTIME.buffers, mark)
                    ending = pool.submit(flights.end, id(mark))
                    call, taken = asking.result(), ending.result()
                    assert taken is (None if call is None or call.finished else call)
                    if taken is not None:
                        taken.end()
                    assert not series.running
                    assert not flights.asked
        finally:
            sys.setswitchinterval(before)


def test_what_runs_inside_others_is_found_again_when_they_end(sdk):
    """In the context of one task: the outer call after the inner one, none after the last, none of an earlier one."""
    found = []

    @ninesight.observe(model="inner")
    async def inner():
        found.append(ninesight.current().series.model)

    @ninesight.observe(model="outer")
    async def outer():
        await inner()
        found.append(ninesight.current().series.model)
        await inner()
        found.append(ninesight.current().series.model)

    async def main():
        ninesight.configure()
        await inner()
        for _ in range(2):
            await outer()
            assert ninesight.current().finished
            with ninesight.stage("nobody's"):
                pass

    asyncio.run(main())
    assert found == ["inner"] + ["inner", "outer", "inner", "outer"] * 2
    assert total(sdk(), "model_stage_duration_seconds") == 0
    assert total(sdk(), "model_requests_total") == 5 + 2


def test_a_coroutine_that_is_abandoned_is_cancelled_and_leaves_nothing(sdk):
    """Nothing of ours keeps one that waits for what never comes, held only by what it holds."""

    class Never:
        def __await__(self):
            yield self

    @ninesight.observe(model="abandoned")
    async def run(holds, *, wait):
        if wait:
            await Never()
        return holds

    asyncio.run(run([], wait=False))
    holds = []
    holds.append(run(holds, wait=True))
    contextvars.copy_context().run(holds[0].send, None)  # As a task does.
    assert number(sdk(), "model_requests_in_flight", model="abandoned", version="1") == 1
    del holds
    gc.collect()
    assert number(sdk(), "model_requests_in_flight", model="abandoned", version="1") == 0
    assert total(sdk(), "model_requests_total", model="abandoned", outcome="cancelled") == 1


def test_what_is_awaited_may_be_no_coroutine(sdk):
    """What says that it is a coroutine function may return any awaitable, the same one each time too."""

    class Awaitable:
        def __await__(self):
            found.append(ninesight.current().series.model)
            yield from ()
            return 5

    class Told:
        def __init__(self, awaitable):
            async def told():
                raise AssertionError

            self.__call__ = told
            self._awaitable = awaitable

        def __call__(self):
            return self._awaitable

    found = []
    run = ninesight.observe(model="any")(Told(Awaitable()))

    async def main():
        return [await asyncio.gather(run(), run()) for _ in range(2)]

    assert asyncio.run(main()) == [[5, 5], [5, 5]]
    assert found == ["any"] * 4
    assert total(sdk(), "model_requests_total", model="any", outcome="ok") == 4


def test_a_coroutine_function_called_wrongly_is_an_error(sdk):
    """It raises before there is a coroutine, as it would without us."""

    @ninesight.observe(model="wrongly")
    async def run():
        return 1

    asyncio.run(run())
    with pytest.raises(TypeError):
        asyncio.run(run(1))
    assert total(sdk(), "model_requests_total", model="wrongly", outcome="error") == 1
    assert number(sdk(), "model_requests_in_flight", model="wrongly", version="1") == 0


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


def test_more_stages_than_have_lists_are_counted_as_well():
    """Lists are bounded; nothing is lost by that."""
    with isolated(models_max=500, stages_max=100) as snapshot:

        def work():
            for _ in range(2):
                for index in range(100):
                    with ninesight.call(f"many-{index}"):
                        pass
                with ninesight.call("many-0"):
                    for index in range(50):
                        with ninesight.stage(f"stage-{index}"):
                            pass

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        counts = [total(snapshot(), "model_requests_total", model=f"many-{index}") for index in range(100)]
        assert counts == [4] + [2] * 99
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
        assert ninesight.stats().recorded == 2 * 101
