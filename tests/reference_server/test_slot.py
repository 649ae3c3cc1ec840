"""One model from load to unload: the golden input decides whether it is ready, and the SDK hears of everything."""

import asyncio
import threading

import ninesight
import numpy as np
import pytest
from ninesight.testing import histogram, isolated, number, total
from ninesight_server.config import ServerSettings
from ninesight_server.contract import Golden
from ninesight_server.errors import InferenceError, NotReadyError
from ninesight_server.slot import ModelSlot
from ninesight_server.testing import DoublingBackend


@pytest.fixture
def sdk():
    with isolated() as snapshot:
        yield snapshot


def row(value, count=1):
    return {"x": np.full((count, 2), value, np.float32)}


async def never(_):
    """A sleep that does not end: golden inputs are asked by the test alone."""
    await asyncio.Event().wait()


def slot_of(backend, *, sleep=never, **settings):
    return ModelSlot(backend, ServerSettings(**settings), sleep=sleep)


async def ask(slot, inputs=None):
    with ninesight.call(slot.spec.name, slot.spec.version) as call:
        return await slot.infer(inputs or row(1), call)


def golden(snapshot, model):
    """(ready, loaded, last golden input right) as the SDK says them."""
    names = ("model_ready", "model_loaded", "model_golden_check_success")
    return tuple(number(snapshot, name, model=model, version="1") for name in names)


def test_a_model_is_ready_once_it_answered_its_golden_input(sdk):
    """Loaded, asked, ready; the SDK has the load's time, and when it was asked. Unloaded it is nothing of that."""

    async def scene():
        slot = slot_of(DoublingBackend("slot-lives", run_s=0.001))
        assert slot.why_not == "the model is loading"
        with pytest.raises(NotReadyError, match="slot-lives is not ready: the model is loading"):
            await ask(slot)
        await slot.load()
        assert slot.ready
        assert (await ask(slot))["y"].tolist() == [[2.0, 2.0]]
        loaded = sdk()
        await slot.unload()
        await slot.unload()
        assert slot.why_not == "the model is unloaded"
        return loaded

    loaded = asyncio.run(scene())
    labels = {"model": "slot-lives", "version": "1"}
    assert golden(loaded, "slot-lives") == (1, 1, 1)
    assert number(loaded, "model_load_duration_seconds", **labels) >= 0
    assert number(loaded, "model_golden_check_timestamp_seconds", **labels) > 1.7e9
    assert number(loaded, "model_info", platform="test", device="cpu", **labels) == 1
    assert golden(sdk(), "slot-lives") == (0, 0, 1)


def test_a_model_that_cannot_be_loaded_is_not_loaded(sdk):
    """The error passes; neither loaded nor ready."""

    class Broken(DoublingBackend):
        def load(self):
            raise InferenceError("no such file")

    with pytest.raises(InferenceError, match="no such file"):
        asyncio.run(slot_of(Broken("slot-broken")).load())
    assert total(sdk(), "model_loaded", model="slot-broken") == 0
    assert total(sdk(), "model_ready", model="slot-broken") == 0


def test_a_model_that_answers_wrongly_is_not_ready_until_it_answers_rightly(sdk):
    """From the start or later; its requests are shed with the reason."""

    async def scene():
        backend = DoublingBackend("slot-drifts")
        backend.drift = 0.25
        slot = slot_of(backend)
        await slot.load()
        wrong = "the golden input must be answered within 1e-06, was off by 0.25"
        for _ in range(2):
            assert slot.why_not == wrong
            assert golden(sdk(), "slot-drifts") == (0, 1, 0)
            with pytest.raises(NotReadyError, match=wrong):
                await ask(slot)
            backend.drift = 0.0
            await slot.check()
            assert slot.ready
            assert golden(sdk(), "slot-drifts") == (1, 1, 1)
            assert (await ask(slot))["y"].tolist() == [[2.0, 2.0]]
            backend.drift = 0.25
            await slot.check()
        await slot.unload()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"y": np.array([[2.0, -6.0]])}, None),
        ({"y": np.array([[2.0, -6.5]])}, "must be answered within 1e-06, was off by 0.5"),
        ({"y": np.array([[2.0, np.nan]])}, "was off by nan"),
        ({"y": np.array([[2.0, -6.0]] * 2)}, "'y' must have the shape (1, 2), got (2, 2)"),
        ({"z": np.array([[2.0, -6.0]])}, "'y' must have the shape (1, 2), got None"),
    ],
)
def test_an_answer_is_right_in_every_number(found, words):
    """Value, shape and name."""
    known = DoublingBackend().golden
    assert isinstance(known, Golden)
    fault = known.fault(found)
    assert fault is None if words is None else words in fault


def test_a_model_that_raises_is_not_ready():
    """The reason is the model's own."""

    class Raises(DoublingBackend):
        def run(self, batch):
            raise ValueError("out of memory")

    async def load_and_ask():
        slot = slot_of(Raises("slot-raises"), timeout_s=60.0)
        await slot.load()
        why_not = slot.why_not
        await slot.unload()
        return why_not

    with isolated():
        assert asyncio.run(load_and_ask()) == "the golden input was not answered: out of memory"


def test_a_model_that_hangs_is_not_ready_until_it_answers():
    """However late: the request that was given up is no answer, the next one may be."""

    class Hangs(DoublingBackend):
        release = threading.Event()

        def run(self, batch):
            assert self.release.wait(60)
            return super().run(batch)

    async def scene():
        backend = Hangs("slot-hangs")
        slot = slot_of(backend, timeout_s=0.05)
        await slot.load()
        why_not = slot.why_not
        backend.release.set()
        while not slot.ready:
            await slot.check()
        await slot.unload()
        return why_not

    with isolated():
        why_not = asyncio.run(scene())
    assert why_not == "the golden input was not answered within the timeout of 0.05 s"


def test_it_is_asked_every_minute_and_sooner_while_it_fails():
    """Sleep is an argument: what it was told is when the next one comes."""

    async def scene():
        backend = DoublingBackend("slot-minutes")
        told, go = asyncio.Queue(), asyncio.Queue()

        async def sleep(seconds):
            told.put_nowait((seconds, slot.ready))
            await go.get()

        slot = slot_of(backend, sleep=sleep)
        await slot.load()
        heard = [await told.get()]
        for drift in (0.0, 1.0, 1.0, 0.0):
            backend.drift = drift
            go.put_nowait(None)
            heard.append(await told.get())
        await slot.unload()
        return heard, backend.batches

    with isolated():
        heard, asked = asyncio.run(scene())
    assert asked == [1] * 5
    assert heard == [(60.0, True), (60.0, True), (5.0, False), (5.0, False), (60.0, True)]


def test_serving_is_not_disturbed_by_golden_inputs(sdk):
    """Asked amid traffic all the time: every request is answered with its own rows, none shed, none counted that was not sent."""

    async def scene():
        backend = DoublingBackend("slot-busy")
        slot = slot_of(backend, sleep=asyncio.sleep, golden_every_s=0.001, queue_requests_max=64)
        await slot.load()

        async def client(number):
            for value in range(40):
                inputs = row(number * 100 + value, count=1 + value % 3)
                assert np.array_equal((await ask(slot, inputs))["y"], inputs["x"] * 2)

        await asyncio.gather(*map(client, range(8)))
        await slot.unload()
        return backend

    backend = asyncio.run(scene())
    labels = {"model": "slot-busy", "version": "1"}
    assert total(sdk(), "model_requests_total", model="slot-busy", outcome="ok") == 320
    assert total(sdk(), "model_requests_total", model="slot-busy") == 320
    for stage in ("batch", "inference"):
        assert histogram(sdk(), "model_stage_duration_seconds", stage=stage, **labels).count == 320
    sizes = histogram(sdk(), "model_batch_size", **labels)
    assert sizes.count == len(backend.batches)
    goldens = sizes.sum - 320
    assert goldens >= 2, "golden inputs came in between"
    assert sum(backend.batches) == goldens + 8 * sum(1 + value % 3 for value in range(40))


def test_a_batch_is_told_once_for_the_device_and_once_for_each_request(sdk):
    """Three requests in one run: each has its wait and the run as stages, and the device's seconds are the run's."""

    class Held(DoublingBackend):
        entered, release = threading.Event(), threading.Event()
        holds = False

        def run(self, batch):
            if self.holds:
                self.entered.set()
                assert self.release.wait(10)
            return super().run(batch)

    async def scene():
        backend = Held("slot-shares", run_s=0.002)  # Too long for the event loop: it runs on a thread.
        slot = slot_of(backend)
        await slot.load()
        backend.holds = True
        first = asyncio.create_task(ask(slot))
        await asyncio.get_running_loop().run_in_executor(None, backend.entered.wait, 10)
        others = [asyncio.create_task(ask(slot, row(2, count))) for count in (1, 2)]
        await asyncio.sleep(0)  # Both are in the queue.
        backend.release.set()
        await asyncio.gather(first, *others)
        await slot.unload()
        return backend.batches

    assert asyncio.run(scene()) == [1, 1, 3]
    labels = {"model": "slot-shares", "version": "1"}
    stages = {
        name: histogram(sdk(), "model_stage_duration_seconds", stage=name, **labels)
        for name in ("batch", "inference")
    }
    assert {name: found.count for name, found in stages.items()} == {"batch": 3, "inference": 3}
    assert stages["batch"].high > 0
    sizes = histogram(sdk(), "model_batch_size", **labels)
    assert (sizes.count, sizes.sum) == (3, 4)  # The golden input, one, two.
    seconds = number(sdk(), "model_accelerator_seconds_total", gpu="cpu", basis="wall", **labels)
    assert stages["inference"].high <= seconds <= stages["inference"].sum + 1.0
