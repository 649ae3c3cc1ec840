"""Which calls become traces, what their spans say, and that nobody pays for the others."""

import asyncio
import contextlib
import random
import sys
import threading
import time

import ninesight
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight.api import RUNTIME
from ninesight.faults import Faults
from ninesight.keeper import Keeper, TraceCounts
from ninesight.scrape import render
from ninesight.series import ModelSeries
from ninesight.slots import Buffers
from ninesight.testing import isolated, total
from ninesight.traces import parse_traceparent
from prometheus_client.openmetrics.parser import text_string_to_metric_families

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def attributes(span):
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def roots(spans):
    return [span for span in spans if span.kind == 2]


@pytest.mark.parametrize("way", ["plain", "async", "stream", "call"])
def test_every_failure_is_a_trace_and_what_is_fine_is_none(otlp, settings, way):
    """Errors, timeouts and shed requests; from each kind of wrapper."""

    class Odd(Exception):
        pass

    errors = [None, Odd("secret words"), TimeoutError(), None, Odd()]

    def run(error):
        if error is not None:
            raise error

    async def run_async(error):
        run(error)

    def stream(error):
        run(error)
        yield 1

    with isolated(**settings, traces=True, trace_share=0.0, trace_window_s=3600.0):
        for error in errors:
            try:
                if way == "plain":
                    ninesight.observe(model="fails")(run)(error)
                elif way == "async":
                    asyncio.run(ninesight.observe(model="fails")(run_async)(error))
                elif way == "stream":
                    list(ninesight.observe(model="fails")(stream)(error))
                else:
                    with ninesight.call("fails"):
                        run(error)
            except (Odd, TimeoutError):
                pass
        RUNTIME.buffers.keeper._candidates.clear()  # The slowest of this window is another test's.
        assert ninesight.flush()
    found = [attributes(span) for span in roots(otlp.spans())]
    assert [(item["outcome"], item["error.type"]) for item in found] == [
        ("error", "Odd"),
        ("timeout", "TimeoutError"),
        ("error", "Odd"),
    ]
    assert {item["ninesight.kept"] for item in found} == {"failed"}
    assert {span.status.code for span in roots(otlp.spans())} == {2}
    assert "secret words" not in str(otlp.traces)


def test_stages_are_children_and_the_incoming_trace_is_continued(otlp, settings):
    """One trace id, our span under the caller's, stages under ours, in their places."""
    with isolated(**settings, traces=True, trace_share=1.0, service_name="shop"):
        with ninesight.call("traced", "3", labels={"tenant": "a"}, traceparent=PARENT) as call:
            with ninesight.stage("preprocess"):
                time.sleep(0.01)
            with ninesight.stage("inference"):
                time.sleep(0.02)
            ninesight.current().attribute("prompt.length", 17)
            ninesight.current().tokens(input=4, output=2)
            outgoing = call.traceparent
        assert ninesight.flush()
    root, before, after = otlp.spans()
    assert root.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert root.parent_span_id.hex() == "b7ad6b7169203331"
    assert outgoing == f"00-{root.trace_id.hex()}-{root.span_id.hex()}-01"
    assert (root.name, before.name, after.name) == ("infer traced", "preprocess", "inference")
    assert {before.parent_span_id, after.parent_span_id} == {root.span_id}
    assert {before.trace_id, after.trace_id} == {root.trace_id}
    assert len({root.span_id, before.span_id, after.span_id}) == 3
    slack = 2_000_000
    assert root.start_time_unix_nano - slack <= before.start_time_unix_nano
    assert before.end_time_unix_nano <= after.start_time_unix_nano + slack
    assert after.end_time_unix_nano <= root.end_time_unix_nano + slack
    assert after.end_time_unix_nano - after.start_time_unix_nano >= 19_000_000
    said = attributes(root)
    assert said["tenant"] == "a"
    assert (said["prompt.length"], said["gen_ai.usage.input_tokens"]) == (17, 4)
    names = {a.key: a.value.string_value for a in otlp.traces[0].resource_spans[0].resource.attributes}
    assert names["service.name"] == "shop"


def test_what_lies_around_a_kept_call_is_kept_too(otlp, settings):
    """A trace has no holes: a plain function in a coroutine in a call block."""

    @ninesight.observe(model="inner")
    def inner():
        with ninesight.stage("inference"):
            raise ValueError

    @ninesight.observe(model="middle")
    async def middle():
        try:
            inner()
        except ValueError:
            return

    with isolated(**settings, traces=True, trace_share=0.0, trace_window_s=3600.0):
        with ninesight.call("outer", traceparent=PARENT):
            asyncio.run(middle())
        RUNTIME.buffers.keeper._candidates.clear()
        assert ninesight.flush()
    spans = {span.name: span for span in otlp.spans()}
    assert spans["infer outer"].parent_span_id.hex() == "b7ad6b7169203331"
    assert spans["infer middle"].parent_span_id == spans["infer outer"].span_id
    assert spans["infer inner"].parent_span_id == spans["infer middle"].span_id
    assert spans["inference"].parent_span_id == spans["infer inner"].span_id
    assert len({span.trace_id for span in spans.values()}) == 1
    assert attributes(spans["infer middle"])["ninesight.kept"] == "inner"


def test_the_slowest_of_each_window_is_kept(otlp, settings):
    """One a model and window, at the end of the window or of the process; plain calls and objects alike."""

    @ninesight.observe(model="plain")
    def plain(seconds):
        time.sleep(seconds)

    with isolated(**settings, traces=True, trace_share=0.0, trace_window_s=3600.0):
        for seconds in (0.001, 0.03, 0.002):
            plain(seconds)
            with ninesight.call("object"):
                time.sleep(seconds)
        assert ninesight.flush()
        assert otlp.spans() == []
        ninesight.shutdown()
    found = roots(otlp.spans())
    assert {span.name for span in found} == {"infer plain", "infer object"}
    assert len(found) == 2
    for span in found:
        assert span.end_time_unix_nano - span.start_time_unix_nano >= 29_000_000
        assert attributes(span)["ninesight.kept"] == "slow"


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("drains", [1, 50])
def test_the_random_share_is_the_share_asked_for(share, drains):
    """Of plain calls and of objects, however often the buffers are emptied meanwhile."""

    @ninesight.observe(model="plain-share")
    def plain():
        return 1

    with isolated(traces=True, trace_share=share, trace_window_s=3600.0, traces_waiting_max=100_000):
        RUNTIME.buffers.keeper._chance.seed(4)
        RUNTIME.buffers.keep(RUNTIME.buffers.keeper)
        calls = 4000
        for _ in range(drains):
            for _ in range(calls // drains):
                plain()
                with ninesight.call("object-share"):
                    pass
            RUNTIME.aggregator.drain()
        kept = [call for call in RUNTIME.buffers.keeper.take(100_000) if call.why == "random"]
        assert ninesight.stats().recorded == 2 * calls
    for model in ("plain-share", "object-share"):
        found = sum(dict(call.labels)["model"] == model for call in kept)
        assert found == pytest.approx(calls * share, abs=5 * (calls * share * (1 - share)) ** 0.5 + 2)


def test_the_histogram_carries_the_ids_as_exemplars(otlp, settings):
    """In OpenMetrics, in protobuf and over OTLP; text 0.0.4 has no place for them."""
    with isolated(**settings, traces=True, trace_share=1.0) as snapshot:
        with ninesight.call("exemplary"):
            time.sleep(0.002)
        assert ninesight.flush()
        openmetrics = render(snapshot, "application/openmetrics-text;version=1.0.0")[1].decode()
        text = render(snapshot, "")[1].decode()
        delimited = (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
        )
        protobuf = render(snapshot, delimited)[1]
    (root,) = otlp.spans()
    (exemplar,) = [
        sample.exemplar
        for family in text_string_to_metric_families(openmetrics)
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert exemplar.labels == {"trace_id": root.trace_id.hex(), "span_id": root.span_id.hex()}
    assert exemplar.value >= 0.002
    assert root.trace_id.hex() not in text
    assert (
        protobuf.count(root.trace_id.hex().encode()) == 2
    )  # The classic bucket's and the native histogram's.
    (point,) = [
        point
        for said, point, _ in otlp.points("model_request_duration_seconds")
        if said["model"] == "exemplary"
    ]
    assert [(item.trace_id, item.span_id) for item in point.exemplars] == [(root.trace_id, root.span_id)]
    assert point.exemplars[0].as_double == exemplar.value


def test_an_open_telemetry_span_around_a_call_is_its_parent(otlp, settings):
    """An application that traces itself sees our call inside its own span."""
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("application")
    with isolated(**settings, traces=True, trace_share=1.0):
        with tracer.start_as_current_span("request") as around, ninesight.call("inside"):
            pass
        assert ninesight.flush()
    context = around.get_span_context()
    (root,) = otlp.spans()
    assert int.from_bytes(root.trace_id) == context.trace_id
    assert int.from_bytes(root.parent_span_id) == context.span_id


def test_off_nothing_is_noted_and_on_again_it_is():
    """No trace object, no candidate, no cost; settings may change while calls run."""

    @ninesight.observe(model="toggled")
    def run():
        ninesight.current().attribute("a", 1)
        return ninesight.current()

    with isolated():
        assert run().trace_if_any is None
        assert ninesight.current().traceparent == ""
        ninesight.configure(traces=True, trace_share=1.0)
        assert run().trace_if_any.attributes == {"a": 1}
        ninesight.configure(traces=False)
        assert run().trace_if_any is None
        assert ninesight.stats().internal_errors == 0


def test_attributes_and_stages_are_bounded():
    """A loop that notes something a million times costs no memory."""
    with isolated(traces=True, trace_share=1.0) as snapshot:
        with ninesight.call("bounded") as call:
            for step in range(1000):
                call.attribute(f"a{step}", "x" * 10_000)
                call.attribute("a1", step)
                with ninesight.stage("decode"):
                    pass
        assert len(call.trace.attributes) == 32
        assert call.trace.attributes["a1"] == 999
        assert max(len(str(value)) for value in call.trace.attributes.values()) == 1024
        assert len(call.trace.stages) == 64
        assert total(snapshot(), "model_requests_total", model="bounded") == 1


def test_many_threads_lose_no_call_while_traces_are_drawn():
    """Forced switching, random picks, slow candidates and drains at once: counts stay exact."""

    @ninesight.observe(model="raced")
    def run(fail):
        if fail:
            raise ValueError

    def work():
        for step in range(500):
            with contextlib.suppress(ValueError):
                run(step % 50 == 0)
            if step % 100 == 0:
                RUNTIME.aggregator.drain()

    before = sys.getswitchinterval()
    with isolated(traces=True, trace_share=0.2, trace_window_s=0.1, traces_waiting_max=100_000) as snapshot:
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=work) for _ in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
        assert total(snapshot(), "model_requests_total", model="raced", outcome="ok") == 16 * 490
        assert total(snapshot(), "model_requests_total", model="raced", outcome="error") == 16 * 10
        kept = RUNTIME.buffers.keeper.take(100_000)
        assert sum(call.why == "failed" for call in kept) == 16 * 10
        assert sum(call.why == "random" for call in kept) == pytest.approx(16 * 490 * 0.2, rel=0.13)
        assert (ninesight.stats().dropped, ninesight.stats().internal_errors) == (0, 0)


@given(st.text(alphabet="0123456789abcdef-fg", max_size=60))
def test_any_header_is_read_or_passed_over(header):
    """Nothing raises; what is read has ids that are not 0."""
    found = parse_traceparent(header)
    assert found is None or all(found)


@pytest.mark.parametrize(
    ("header", "valid"),
    [
        (PARENT, True),
        (PARENT.replace("00-", "cc-", 1) + "-more", True),
        (PARENT + "-more", False),
        (PARENT.replace("00-", "ff-", 1), False),
        (PARENT.upper(), False),
        ("00-" + "0" * 32 + "-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", False),
        ("", False),
    ],
)
def test_headers_are_judged_as_the_standard_says(header, valid):
    """W3C Trace Context, level 1: later versions may have more fields, version 0 may not."""
    assert (parse_traceparent(header) is not None) is valid


def test_windows_follow_the_clock():
    """Each closed window gives its slowest, an empty one nothing; then every call is a candidate again."""
    now = [0.0]
    buffers = Buffers(1 << 20)
    keeper = Keeper(
        share=0.0,
        window_s=10.0,
        waiting_max=10,
        counts=TraceCounts(),
        chance=random.Random(1),
        clock=lambda: now[0],
        now_ns=lambda: 1_000,
    )
    series = ModelSeries(
        "m", "1", bounds=(1.0,), buckets_max=160, stages_max=1, buffers=buffers, faults=Faults()
    )
    series.slow_s = 0.0
    for window in range(3):
        for duration_s in (0.5, 2.0, 1.0) if window != 1 else ():
            if duration_s >= series.slow_s:
                keeper.plain(series, None, duration_s, ("ok", "slow", ""))
        keeper.settle()
        assert keeper.take(10) == []
        now[0] += 10.0
        keeper.settle()
        assert [call.duration_s for call in keeper.take(10)] == ([2.0] if window != 1 else [])
        assert series.slow_s == 0.0


def test_the_share_holds_amid_a_drain_that_stalls(monkeypatch):
    """The aggregator may lose the processor while it takes values: calls meanwhile have the same chance."""
    from ninesight import slots

    @ninesight.observe(model="stalls")
    def run():
        return 1

    with isolated(traces=True, trace_share=0.5, trace_window_s=3600.0, traces_waiting_max=100_000):
        original = slots.take

        def stalling(values):
            taken = original(values)
            if len(taken) > 400:
                for _ in range(400):
                    run()
            return taken

        monkeypatch.setattr(slots, "take", stalling)
        for _ in range(20):
            for _ in range(500):
                run()
            RUNTIME.aggregator.drain()
        monkeypatch.undo()
        RUNTIME.aggregator.drain()
        calls = ninesight.stats().recorded
        assert calls > 10_000
        kept = RUNTIME.buffers.keeper.take(100_000)
        found = sum(call.why == "random" for call in kept)
    assert found == pytest.approx(calls * 0.5, abs=6 * (calls * 0.25) ** 0.5)
