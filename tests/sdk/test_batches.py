"""Batches and accelerators: once for the device, once for each request, and the seconds add up."""

import sys
import time
from types import SimpleNamespace

import ninesight
import pytest
from ninesight.testing import histogram, isolated, number, total


def seconds(snapshot, model, **labels):
    return total(snapshot, "model_accelerator_seconds_total", model=model, **labels)


def test_an_execution_is_recorded_once_for_the_device_and_once_for_each_request(sdk):
    """Size once; wait and run for each member; device seconds split so that they sum to the whole."""
    calls = [ninesight.call("served", labels={"tenant": tenant}) for tenant in ("a", "a", "b")]
    for call in calls:
        call.begin()
        call.enqueue()
    time.sleep(0.02)
    with ninesight.model("served").execution(calls, gpu=1) as execution:
        time.sleep(0.03)
    for call in calls:
        call.end()
    snapshot = sdk()
    sizes = histogram(snapshot, "model_batch_size", model="served", version="1")
    assert (sizes.count, sizes.sum) == (1, 3)
    for tenant, members in (("a", 2), ("b", 1)):
        labels = {"model": "served", "version": "1", "tenant": tenant}
        wait = histogram(snapshot, "model_stage_duration_seconds", stage="batch", **labels)
        assert wait.count == members
        assert wait.low >= 0.02
        run = histogram(snapshot, "model_stage_duration_seconds", stage="inference", **labels)
        assert (run.count, run.low) == (members, execution.duration_s)
        share = seconds(snapshot, "served", tenant=tenant, gpu="1", basis="wall")
        assert share == pytest.approx(execution.duration_s * members / 3, rel=0.05)
    assert seconds(snapshot, "served") == pytest.approx(execution.duration_s, rel=0.05)


@pytest.mark.parametrize("weights", [[1, 3], [0, 4]])
def test_weights_say_who_cost_how_much(sdk, weights):
    """Tokens of each member, for instance."""
    calls = [ninesight.call("weighed", labels={"tenant": tenant}) for tenant in ("a", "b")]
    with ninesight.model("weighed").execution(calls, weights=weights):
        time.sleep(0.01)
    whole = seconds(sdk(), "weighed")
    assert seconds(sdk(), "weighed", tenant="a") == pytest.approx(whole * weights[0] / 4)
    assert whole >= 0.01


@pytest.mark.parametrize("weights", [[1], [0, 0], [1, -1], ["much", 1], 7])
def test_wrong_weights_are_refused_and_split_equally(sdk, weights):
    """A batch is never lost for them."""
    calls = [ninesight.call("unweighed", labels={"tenant": tenant}) for tenant in ("a", "b")]
    with ninesight.model("unweighed").execution(calls, weights=weights):
        pass
    assert seconds(sdk(), "unweighed", tenant="a") == pytest.approx(seconds(sdk(), "unweighed") / 2)
    assert ninesight.stats().invalid == 1


def test_an_execution_that_fails_took_its_time_all_the_same(sdk):
    """The device worked; the exception passes."""
    with pytest.raises(ValueError), ninesight.model("fails").execution(size=4):
        raise ValueError
    assert histogram(sdk(), "model_batch_size", model="fails", version="1").sum == 4
    assert seconds(sdk(), "fails", basis="wall") > 0


def test_a_call_says_its_accelerator_time_and_the_basis_is_told(sdk):
    """Reported by the user, or measured around a piece of work."""

    @ninesight.observe(model="reports")
    def run():
        ninesight.current().accelerator_seconds(0.25, gpu="2")
        ninesight.current().accelerator_seconds(float("nan"))
        with ninesight.accelerator():
            time.sleep(0.01)

    run()
    with ninesight.accelerator():
        pass
    assert seconds(sdk(), "reports", gpu="2", basis="reported") == 0.25
    assert 0.01 <= seconds(sdk(), "reports", gpu="0", basis="wall") < 5
    assert seconds(sdk(), "reports") == pytest.approx(0.25 + seconds(sdk(), "reports", basis="wall"))


class StandInCuda:
    """The face of torch.cuda that is used; events are passed when `reached` says so."""

    def __init__(self):
        self.reached = False
        self.recorded = 0
        cuda = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                cuda.recorded += 1

            def query(self):
                return cuda.reached

            def elapsed_time(self, end):
                assert cuda.reached, "torch raises here"
                return 1500.0

        self.Event = Event

    def is_initialized(self):
        return True

    def current_device(self):
        return 3


def test_cuda_events_are_read_when_the_device_has_passed_them(sdk, monkeypatch):
    """No call and no drain waits for the GPU; its own milliseconds are counted once, later."""
    cuda = StandInCuda()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    with ninesight.model("cuda").execution(size=2):
        pass
    with ninesight.call("cuda"), ninesight.accelerator():
        pass
    assert cuda.recorded == 4
    assert seconds(sdk(), "cuda") == 0
    cuda.reached = True
    assert number(
        sdk(), "model_accelerator_seconds_total", model="cuda", version="1", gpu="3", basis="cuda_event"
    ) == pytest.approx(3.0)
    assert seconds(sdk(), "cuda") == pytest.approx(3.0)


def test_a_cuda_that_was_not_begun_is_left_alone(sdk, monkeypatch):
    """Beginning it for the user would break forks: wall time then, and the basis says so."""
    stand_in = StandInCuda()
    stand_in.is_initialized = lambda: False
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=stand_in))
    with ninesight.model("idle").execution(size=1):
        pass
    assert stand_in.recorded == 0
    assert seconds(sdk(), "idle", basis="wall") > 0


def test_events_a_device_never_passes_are_bounded():
    """A hung GPU costs no memory without end: the oldest are given up and counted."""
    from ninesight import aggregate

    class Never:
        basis, gpu = "cuda_event", "0"

        def stop(self):
            pass

        def seconds(self):
            return None

    with isolated() as snapshot:
        call = ninesight.call("hangs")
        for _ in range(aggregate._PENDING_MAX + 5):
            call.series.buffers.here().put((aggregate.DEVICE, ((call.series, 1.0),), "0", Never()))
        snapshot()
        assert ninesight.stats().internal_errors == 5


def test_members_that_are_no_calls_are_the_models_own(sdk):
    """What `current()` gives outside a call, or while all is off: the batch runs, and its seconds are all there."""
    outside = ninesight.current()
    call = ninesight.call("partly", labels={"tenant": "a"})
    call.begin()
    with ninesight.model("partly").execution([call, outside, None], weights=[1, 2, 1]):
        time.sleep(0.01)
    call.end()
    whole = seconds(sdk(), "partly")
    assert whole >= 0.01
    assert seconds(sdk(), "partly", tenant="a") == pytest.approx(whole / 4)
    assert histogram(sdk(), "model_batch_size", model="partly", version="1").sum == 3
    run = {"model": "partly", "version": "1", "tenant": "a", "stage": "inference"}
    assert histogram(sdk(), "model_stage_duration_seconds", **run).count == 1


@pytest.mark.parametrize(("calls", "size"), [(None, None), (7, None), ((), "three"), ((), -1), ((), 0.5)])
def test_a_batch_runs_whatever_is_said_of_its_members(sdk, calls, size):
    """What is no sequence, what is no size: refused, and the batch is told without."""
    with ninesight.model("unsaid").execution(calls, size=size):
        pass
    assert ninesight.stats().invalid == 1
    assert ninesight.stats().internal_errors == 0
    assert seconds(sdk(), "unsaid") > 0


def test_a_batch_runs_while_all_is_off():
    """Calls as objects, and what the running call of a decorated function then is."""

    @ninesight.observe(model="off")
    def run():
        with ninesight.call("off") as call, ninesight.model("off").execution([ninesight.current(), call]):
            return 1

    with isolated(enabled=False) as snapshot:
        assert run() == 1
        assert snapshot().families == ()
