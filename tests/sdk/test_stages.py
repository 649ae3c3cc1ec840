"""Stages find the call they belong to, wherever they run."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import ninesight
from ninesight.contract import OTHER
from ninesight.testing import histogram, isolated, number


def stages(snapshot):
    return {
        (dict(point.labels)["model"], dict(point.labels)["stage"]): point.value.count
        for family in snapshot.families
        if family.name == "model_stage_duration_seconds"
        for point in family.histograms
    }


def test_a_stage_belongs_to_the_running_plain_call(sdk):
    """The first call of a process included, failed stages too."""

    @ninesight.observe(model="plain")
    def run():
        with ninesight.stage("preprocess") as stage:
            pass
        try:
            with ninesight.stage("inference"):
                raise ValueError
        except ValueError:
            pass
        return stage.duration_s

    duration_s = run()
    run()
    assert stages(sdk()) == {("plain", "preprocess"): 2, ("plain", "inference"): 2}
    value = histogram(sdk(), "model_stage_duration_seconds", model="plain", version="1", stage="preprocess")
    assert value.low <= duration_s <= value.high


def test_outside_a_call_a_stage_does_nothing(sdk):
    """Helpers may carry stages and be used anywhere."""
    with ninesight.stage("preprocess") as stage:
        pass
    assert stage.duration_s >= 0
    assert stages(sdk()) == {}


def test_a_stage_belongs_to_the_innermost_call(sdk):
    """Sync in async, async in sync, call in call; and to the outer one again afterwards."""

    @ninesight.observe(model="sync")
    def sync():
        with ninesight.stage("one"):
            return 1

    @ninesight.observe(model="async")
    async def coroutine():
        with ninesight.stage("one"):
            sync()
            await asyncio.sleep(0)
        with ninesight.stage("two"):
            return 1

    @ninesight.observe(model="loop")
    def loop():
        with ninesight.stage("one"):
            asyncio.run(coroutine())
        with (
            ninesight.stage("two"),
            ninesight.call("block") as call,
            call.stage("three"),
            ninesight.stage("four"),
        ):
            pass
        with ninesight.stage("five"):
            pass

    loop()
    assert set(stages(sdk())) == {
        ("sync", "one"), ("async", "one"), ("async", "two"), ("loop", "one"), ("loop", "two"),
        ("block", "three"), ("block", "four"), ("loop", "five"),
    }  # fmt: skip


def test_stages_of_concurrent_tasks_do_not_mix(sdk):
    """A hundred tasks of two models on one loop, each with its own stage."""

    def serve(name):
        @ninesight.observe(model=name)
        async def run():
            for _ in range(3):
                with ninesight.stage(f"of-{name}"):
                    await asyncio.sleep(0)

        return run

    async def main():
        one, other = serve("one"), serve("other")
        await asyncio.gather(*(run() for _ in range(50) for run in (one, other)))

    asyncio.run(main())
    assert stages(sdk()) == {("one", "of-one"): 150, ("other", "of-other"): 150}


def test_a_stage_in_a_worker_thread_of_asyncio_finds_its_call(sdk):
    """`asyncio.to_thread` carries the context along; a bare thread does not, and records nothing."""

    def work():
        with ninesight.stage("inference"):
            pass

    @ninesight.observe(model="threaded")
    async def run():
        await asyncio.to_thread(work)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()

    asyncio.run(run())
    assert stages(sdk()) == {("threaded", "inference"): 1}


def test_a_task_that_outlives_its_call_records_no_stage_for_it(sdk):
    """A finished call is not found any more."""

    async def late(go):
        await go.wait()
        assert ninesight.current().duration_s is None
        with ninesight.stage("late"):
            pass

    async def main():
        go = asyncio.Event()
        with ninesight.call("gone"):
            task = asyncio.create_task(late(go))
            await asyncio.sleep(0)
        go.set()
        await task

    asyncio.run(main())
    assert stages(sdk()) == {}


def test_own_stages_have_a_budget():
    """Beyond it a stage becomes `__other__` and is counted; the canonical ones always have room."""
    with isolated(stages_max=2) as snapshot:
        with ninesight.call("budget") as call:
            for name in ("a", "b", "c", "d", "inference", "queue"):
                call.add_stage(name, 0.5)
        found = stages(snapshot())
        assert {stage for _, stage in found} == {"a", "b", OTHER, "inference", "queue"}
        assert found["budget", OTHER] == 2
        assert number(snapshot(), "ninesight_sdk_over_budget_total") == 2


def test_a_stage_timed_elsewhere_is_recorded_as_given(sdk):
    """A queue measures its own waiting."""
    done = threading.Event()
    with ninesight.call("queued") as call:
        worker = threading.Thread(target=lambda: (call.add_stage("queue", 0.125), done.set()))
        worker.start()
        worker.join()
    assert done.is_set()
    value = histogram(sdk(), "model_stage_duration_seconds", model="queued", version="1", stage="queue")
    assert (value.count, value.sum) == (1, 0.125)
