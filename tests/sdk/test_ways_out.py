"""OTLP by HTTP and gRPC, cumulative and delta, OpenTelemetry's names, receivers that go and come back."""

import math
import sys
from itertools import pairwise

import ninesight
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from ninesight.contract import Family, HistogramPoint, Kind, NumberPoint, Snapshot
from ninesight.delta import Deltas
from ninesight.histogram import Histogram
from ninesight.testing import isolated, number


def total(points, **labels):
    return sum(point.as_double for attributes, point, _ in points if labels.items() <= attributes.items())


def of_model(points, model):
    """The one point of a model; other tests' series are there too, at zero."""
    (found,) = [(point, data) for attributes, point, data in points if attributes["model"] == model]
    return found


def test_both_protocols_carry_the_same(otlp, settings):
    """Counters, histograms, headers; gRPC as HTTP."""
    with isolated(**settings, otlp_headers={"authorization": "Bearer token"}, service_name="shop"):
        for _ in range(3):
            with ninesight.call("pushed-by-both"):
                pass
        assert ninesight.flush()
    assert otlp.metadata["authorization"] == "Bearer token"
    assert total(otlp.points("model_requests_total"), model="pushed-by-both", outcome="ok") == 3
    point, data = of_model(otlp.points("model_request_duration_seconds"), "pushed-by-both")
    assert (point.count, point.scale, data.aggregation_temporality) == (3, 6, 2)
    assert sum(point.positive.bucket_counts) == 3


def test_deltas_add_up_to_the_totals_whatever_is_refused(otlp, settings):
    """A push that is not taken makes the next one larger; the sum over all pushes is exact."""
    done = 0
    with isolated(**settings, otlp_temporality="delta") as snapshot:
        for step in range(6):
            for _ in range(step + 1):
                with ninesight.call("deltas") as call:
                    call.add_stage("queue", 0.01 * (step + 1))
                done += 1
            otlp.away = step in {1, 2}
            assert ninesight.flush(timeout_s=30.0) is not otlp.away
        assert number(snapshot(), "ninesight_sdk_export_failures_total") == 2
    pushes = range(len(otlp.metrics))
    counted = [total(otlp.points("model_requests_total", push), model="deltas") for push in pushes]
    assert counted == [1, 9, 5, 6]
    stages = [of_model(otlp.points("model_stage_duration_seconds", push), "deltas") for push in pushes]
    assert [point.count for point, _ in stages] == counted
    assert math.isclose(sum(point.sum for point, _ in stages), sum(0.01 * n * n for n in range(1, 7)))
    assert {data.aggregation_temporality for _, data in stages} == {1}
    for (before, _), (after, _) in pairwise(stages):
        assert after.start_time_unix_nano == before.time_unix_nano


def test_gen_ai_names_go_beside_ours_for_models_that_count_tokens(otlp, settings):
    """With the attributes the conventions require; a model without tokens has none of them."""
    with isolated(**settings):
        ninesight.model("llm", "2").info(gen_ai_operation="chat", gen_ai_provider="vllm")
        with ninesight.call("llm", "2") as call:
            call.tokens(input=3, output=2)
            call.token(2)
        with ninesight.call("plain"):
            pass
        assert ninesight.flush()
    for name in ("gen_ai.server.request.duration", "gen_ai.server.time_to_first_token"):
        ((attributes, point, _),) = otlp.points(name)
        assert attributes == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "vllm",
            "gen_ai.request.model": "llm",
            "gen_ai.response.model": "llm:2",
        }
        assert point.count == 1


def test_a_receiver_away_for_long_costs_no_memory_and_is_made_good(otlp, settings):
    """An hour of pushes refused: the totals are whole afterwards, traces are bounded and their loss is told."""
    with isolated(**settings, traces=True, trace_share=1.0, traces_waiting_max=50) as snapshot:
        otlp.away = True
        ninesight.flush(timeout_s=30.0)
        runtime = ninesight.api.RUNTIME
        sizes = []
        for _ in range(100):
            for _ in range(20):
                with ninesight.call("away"):
                    pass
            runtime.aggregator.drain()
            sizes.append(ninesight.stats().traces_waiting)
        assert max(sizes) == 50
        assert ninesight.stats().traces_dropped == 2000 - 50
        assert number(snapshot(), "ninesight_sdk_traces_dropped_total") == 1950
        otlp.away = False
        assert ninesight.flush(timeout_s=30.0)
        assert ninesight.stats().traces_waiting == 0
    assert total(otlp.points("model_requests_total"), model="away") == 2000
    assert len(otlp.spans()) == 50


def test_what_is_never_taken_is_given_up_and_counted(otlp, settings):
    """A receiver that has no traces, for instance: told once, dropped, the metrics go on."""
    with isolated(**settings, traces=True, trace_share=1.0):
        otlp.never = True
        with ninesight.call("refused"):
            pass
        assert not ninesight.flush(timeout_s=30.0)
        assert ninesight.stats().traces_dropped == 1
        otlp.never = False
        assert ninesight.flush(timeout_s=30.0)
    assert otlp.spans() == []


def test_grpc_needs_its_package(monkeypatch):
    """Told when it is set, with the way out."""
    monkeypatch.setitem(sys.modules, "grpc", None)
    with isolated(), pytest.raises(ninesight.ConfigError, match=r"pip install 'ninesight\[grpc\]'"):
        ninesight.configure(otlp_endpoint="http://127.0.0.1:1", otlp_protocol="grpc")


def snapshot_of(values, count, time_ns):
    histogram = Histogram(buckets_max=160)
    histogram.add(values)
    return Snapshot(
        1,
        time_ns,
        {},
        (
            Family("c_total", Kind.COUNTER, "", "", (NumberPoint((), float(count)),)),
            Family("g", Kind.GAUGE, "", "", (NumberPoint((), 7.0),)),
            Family("h", Kind.HISTOGRAM, "s", "", (), (HistogramPoint((), histogram.value()),)),
        ),
    )


@hypothesis_settings(max_examples=60)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=60), min_size=1, max_size=5), st.data())
def test_deltas_merged_are_the_whole(parts, data):
    """Whichever deliveries fail, buckets of all deltas together are those of all values; extremes enclose them."""
    deltas, whole, values = Deltas(), None, []
    for step, part in enumerate(parts):
        values = values + part
        now = snapshot_of(values, len(values), 10 + step)
        taken = deltas.since(now)
        if step < len(parts) - 1 and data.draw(st.booleans()):
            continue
        deltas.delivered(now)
        value = taken.families[2].histograms[0].value
        assert value.count == sum(count for _, count in (*value.positive, *value.negative)) + value.zero_count
        found = Histogram.of(value, buckets_max=160)
        if whole is None:
            whole = found
        else:
            whole.merge(found)
        assert taken.families[1].numbers[0].value == 7.0
    expected = Histogram(buckets_max=160)
    expected.add(values)
    assert (whole.count, whole.schema, whole.positive, whole.negative, whole.zero_count) == (
        expected.count,
        expected.schema,
        expected.positive,
        expected.negative,
        expected.zero_count,
    )
    if values:
        # Extremes of a delta are known to a bucket's width.
        slack = 2 * whole.relative_error
        assert whole.low <= min(values) + slack * abs(min(values)) + 1e-30
        assert whole.high >= max(values) - slack * abs(max(values)) - 1e-30


def test_totals_that_began_anew_are_all_new():
    """After a fork or a restart of counting, the first delta is the whole."""
    deltas = Deltas()
    deltas.delivered(snapshot_of([1.0] * 5, 5, 10))
    fresh = deltas.since(snapshot_of([1.0] * 2, 2, 11)._replace(start_ns=9))
    assert fresh.families[0].numbers[0].value == 2.0
    shrunk = deltas.since(snapshot_of([1.0] * 2, 2, 11))
    assert shrunk.families[0].numbers[0].value == 2.0
    assert shrunk.families[2].histograms[0].value.count == 2
