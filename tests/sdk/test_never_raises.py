"""What a request may do wrong is counted, told once, and costs the request nothing."""

import logging
import math
import threading

import ninesight
import pytest
from ninesight.api import RUNTIME
from ninesight.testing import histogram, number, total

from .. import needs


@pytest.mark.parametrize(
    "mistake",
    [
        lambda call: call.outcome("great"),
        lambda call: call.outcome(None),
        lambda call: call.served_by("oracle"),
        lambda call: call.predictions(-1),
        lambda call: call.predictions(2.5),
        lambda call: call.predictions("many"),
        lambda call: call.add_stage("queue", math.nan),
        lambda call: call.add_stage("queue", -1.0),
        lambda call: call.add_stage("queue", None),
        lambda call: call.__enter__(),
        lambda _: ninesight.model("clumsy").batch(-1),
        lambda _: ninesight.model("clumsy").batch(1, accelerator_seconds=math.inf),
        lambda _: ninesight.model("clumsy").load_duration("long"),
        lambda _: ninesight.model("clumsy").queue_depth(math.nan),
    ],
)
def test_a_wrong_word_or_number_is_counted_and_the_call_recorded(sdk, caplog, mistake):
    """Told once on the log, however often it happens."""
    for _ in range(3):
        with ninesight.call("clumsy") as call:
            mistake(call)
    assert total(sdk(), "model_requests_total", model="clumsy", outcome="ok") == 3
    assert number(sdk(), "ninesight_sdk_invalid_total") == 3
    assert len([record for record in caplog.records if record.name == "ninesight"]) <= 1
    assert number(sdk(), "model_requests_in_flight", model="clumsy", version="1") == 0


@pytest.mark.parametrize("what", ["predictions", "outcome"])
def test_a_callable_that_raises_does_not_reach_the_caller(sdk, what):
    """Its error is counted; the call has its usual outcome."""

    def broken(*_):
        raise RuntimeError("broken on purpose")

    @ninesight.observe(model="unbroken", **{what: broken})
    def run():
        return 42

    assert run() == 42
    assert total(sdk(), "model_requests_total", model="unbroken", outcome="ok") == 1
    assert number(sdk(), "ninesight_sdk_internal_errors_total") == 1


def test_a_queue_depth_callable_that_raises_leaves_only_itself_out(sdk):
    """And one that asks the SDK something does not hang it."""
    ninesight.model("deep").queue_depth(lambda: 1 / 0)
    ninesight.model("deeper").queue_depth(lambda: ninesight.flush() + ninesight.stats().recorded)
    snapshot = sdk()
    assert total(snapshot, "model_queue_depth", model="deep") == 0
    assert number(snapshot, "model_queue_depth", model="deeper", version="1") == 1
    assert number(snapshot, "ninesight_sdk_internal_errors_total") == 1


def test_names_that_no_format_can_carry_are_cleaned(sdk):
    """Lone surrogates, endless names and odd types end as text that every exposition takes."""
    from ninesight.scrape import render

    for model in ("\ud800", "x" * 10_000, 7, 'quote"\\\n'):
        with ninesight.call(model) as call:
            call.add_stage("\udfff", 0.1)
            call.add_stage(["no", "label"], 0.1)
    models = {dict(point.labels)["model"] for family in sdk().families[:1] for point in family.numbers}
    assert {"?", "x" * 256, "7", 'quote"\\\n'} <= models
    for accept in ("", "application/openmetrics-text", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"):  # fmt: skip
        assert b"model_requests_total" in render(sdk, accept)[1]


def test_numpy_scalars_are_numbers(sdk):
    """Lengths and times of a model server are often numpy's."""
    np = needs.package("numpy")
    handle = ninesight.model("numpy")
    with ninesight.call("numpy") as call:
        call.predictions(np.int64(3))
        call.add_stage("queue", np.float32(0.5))
    handle.batch(np.int32(8), np.float64(0.25), gpu=np.int64(1))
    handle.load_duration(np.float32(1.5))
    handle.queue_depth(np.int64(4))
    snapshot = sdk()
    assert number(snapshot, "model_predictions_total", model="numpy", version="1") == 3
    assert histogram(snapshot, "model_batch_size", model="numpy", version="1").sum == 8
    assert (
        number(
            snapshot, "model_accelerator_seconds_total", model="numpy", version="1", gpu="1", basis="reported"
        )
        == 0.25
    )
    assert number(snapshot, "model_load_duration_seconds", model="numpy", version="1") == 1.5
    assert number(snapshot, "model_queue_depth", model="numpy", version="1") == 4
    assert number(snapshot, "ninesight_sdk_invalid_total") == 0


def test_the_handle_tells_the_life_of_a_model(sdk):
    """Ready, loaded in, batches, accelerators, what it is."""
    handle = ninesight.model("lives", version="2")
    labels = {"model": "lives", "version": "2"}
    handle.ready()
    handle.load_duration(3.5)
    handle.info(framework="onnx", precision="fp16")
    for size in (1, 8, 8):
        handle.batch(size=size, accelerator_seconds=0.5, gpu="1")
    handle.queue_depth(lambda: 6)
    snapshot = sdk()
    assert number(snapshot, "model_ready", **labels) == 1
    assert number(snapshot, "model_load_duration_seconds", **labels) == 3.5
    assert number(snapshot, "model_info", framework="onnx", precision="fp16", **labels) == 1
    assert number(snapshot, "model_accelerator_seconds_total", gpu="1", basis="reported", **labels) == 1.5
    assert number(snapshot, "model_queue_depth", **labels) == 6
    sizes = histogram(snapshot, "model_batch_size", **labels)
    assert (sizes.count, sizes.sum, sizes.low, sizes.high) == (3, 17, 1, 8)
    handle.ready(False)
    assert number(sdk(), "model_ready", **labels) == 0


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (
            lambda: ninesight.observe(predictions="two"),
            "predictions must be an int of at least 0 or a function",
        ),
        (
            lambda: ninesight.observe(predictions=True),
            "predictions must be an int of at least 0 or a function",
        ),
        (lambda: ninesight.observe(outcome="ok"), "outcome must be a function of (result, exception)"),
        (lambda: ninesight.observe(model="x")(staticmethod(len)), "put it below @staticmethod"),
        (lambda: ninesight.observe(model="x")(3), "observe must decorate a function, got 3"),
        (lambda: ninesight.observe(model="x")(ValueError), "observe must decorate a function"),
        (lambda: ninesight.model("x").info(**{"bad-name": "1"}), "got bad-name; rename or leave out"),
        (lambda: ninesight.model("x").info(model="y"), "none of instance, job, model, version; got model"),
    ],
)
def test_mistakes_of_set_up_code_are_raised_at_once(sdk, decorate, message):
    """A decorator's argument is wrong when the program starts, not when a request comes."""
    with pytest.raises(ninesight.ConfigError) as caught:
        decorate()
    assert message in str(caught.value)


def test_a_request_waits_for_nobody(sdk):
    """While settings change or an exporter hangs in another thread, a first call of a new model goes through."""
    served = threading.Event()

    def request():
        with ninesight.call("waits-for-nobody") as call:
            call.add_stage("queue", 0.1)
        served.set()

    with RUNTIME._lock, RUNTIME.aggregator.lock:
        thread = threading.Thread(target=request)
        thread.start()
        assert served.wait(60)
        thread.join()
    assert total(sdk(), "model_requests_total", model="waits-for-nobody") == 1


def test_what_goes_wrong_is_told_once_by_the_logger_of_the_sdk(sdk, caplog):
    """One warning a kind, with the way out."""
    with caplog.at_level(logging.WARNING, "ninesight"):
        for word in ("first", "second"):
            ninesight.call("tells").outcome(f"never-seen-{word}")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) <= 1
    assert ninesight.stats().invalid == 2
