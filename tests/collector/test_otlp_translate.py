"""OTLP requests as batches, point by point."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_collector.otlp import OtlpSettings, translate
from ninesight_collector.otlp.exponential import PointError, native_point
from ninesight_collector.otlp.units import prometheus_name
from ninesight_store.contract import STALE_BITS, labels_of
from ninesight_store.testing import MemoryStore, RecordingSink
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint

NOW_MS = 1_700_000_000_000
TIME_NS = NOW_MS * 1_000_000
CUMULATIVE, DELTA = 2, 1


def set_attribute(attributes, key, value):
    """Add one attribute of a plain Python type."""
    entry = attributes.add(key=key)
    kind = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}[type(value)]
    setattr(entry.value, kind, value)


def request_of(resource=None):
    """Return a request with one empty metric and the resource's attributes."""
    request = ExportMetricsServiceRequest()
    entry = request.resource_metrics.add()
    for key, value in (resource or {"service.name": "shop"}).items():
        set_attribute(entry.resource.attributes, key, value)
    return request, entry.scope_metrics.add().metrics.add()


def values_of(request, **given):
    """Translate, check that a sink takes it, and return {labels: value} with the refusals."""
    translated = translate(request, OtlpSettings(**given), NOW_MS)
    sink = RecordingSink()
    sink.write(translated.batch)
    return {labels: value for labels, _, value in sink.samples}, translated


def test_a_gauge_becomes_one_series_with_job_and_instance():
    """service.* becomes job and instance; attributes become sanitised labels; other resource attributes stay out."""
    request, metric = request_of(
        {
            "service.name": "api",
            "service.namespace": "shop",
            "service.instance.id": "i-1",
            "host.name": "left out",
            "simulated": True,
        }
    )
    metric.name, metric.unit = "queue.depth", "{request}"
    point = metric.gauge.data_points.add(time_unix_nano=TIME_NS, as_int=7)
    set_attribute(point.attributes, "model.name", "bert")
    set_attribute(point.attributes, "9lives", True)
    set_attribute(point.attributes, "__name__", "evil")
    values, translated = values_of(request)
    assert values == {
        labels_of(
            "queue_depth",
            {
                "job": "shop/api",
                "instance": "i-1",
                "simulated": "true",
                "model_name": "bert",
                "key_9lives": "true",
                "key__name__": "evil",
            },
        ): 7.0
    }
    assert translated.batch.timestamps.tolist() == [NOW_MS]
    assert [(m.metric, m.kind) for m in translated.batch.metadata] == [("queue_depth", "gauge")]


@pytest.mark.parametrize(
    ("name", "unit", "options", "expected"),
    [
        ("http.server.duration", "s", {}, "http_server_duration_seconds"),
        ("model_request_duration_seconds", "s", {}, "model_request_duration_seconds"),
        ("model_requests_total", "{request}", {"monotonic": True}, "model_requests_total"),
        ("hits", "", {"monotonic": True}, "hits_total"),
        ("total_bytes_sent", "By", {"monotonic": True}, "bytes_sent_total"),
        ("fill", "1", {"gauge": True}, "fill_ratio"),
        ("io", "By/s", {}, "io_bytes_per_second"),
        ("gpu.power", "W", {}, "gpu_power_watts"),
        ("9lives", "", {}, "_9lives"),
        ("vllm:num_requests_running", "", {"gauge": True}, "vllm:num_requests_running"),
        ("...", "s", {}, ""),
    ],
)
def test_names_and_units_follow_the_compatibility_rules(name, unit, options, expected):
    """Suffixes are added only where the name does not have them."""
    assert prometheus_name(name, unit, **options) == expected


def test_sums_are_counters_only_when_monotonic():
    """A monotonic sum ends in _total; an up-down sum is a gauge without it."""
    request, metric = request_of()
    metric.name = "requests"
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = CUMULATIVE, True
    metric.sum.data_points.add(time_unix_nano=TIME_NS, as_double=3.5)
    down = request.resource_metrics[0].scope_metrics[0].metrics.add(name="level")
    down.sum.aggregation_temporality = CUMULATIVE
    down.sum.data_points.add(time_unix_nano=TIME_NS, as_int=-2)
    values, translated = values_of(request)
    assert values == {
        labels_of("requests_total", {"job": "shop"}): 3.5,
        labels_of("level", {"job": "shop"}): -2.0,
    }
    assert {m.metric: m.kind for m in translated.batch.metadata} == {
        "requests_total": "counter",
        "level": "gauge",
    }


def test_delta_is_refused_with_the_way_out():
    """A delta sum costs itself, and the message names the sender's setting."""
    request, metric = request_of()
    metric.name = "requests"
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = DELTA, True
    metric.sum.data_points.add(time_unix_nano=TIME_NS, as_int=1)
    metric.sum.data_points.add(time_unix_nano=TIME_NS, as_int=2)
    values, translated = values_of(request)
    assert not values
    assert translated.refusals.counts == {"temporality": 2}
    assert "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative" in translated.refusals.text()


def test_an_explicit_histogram_becomes_cumulative_buckets():
    """Buckets add up, the last is +Inf, `le` has Prometheus' spelling."""
    request, metric = request_of()
    metric.name, metric.unit = "latency", "s"
    metric.histogram.aggregation_temporality = CUMULATIVE
    metric.histogram.data_points.add(
        time_unix_nano=TIME_NS,
        explicit_bounds=[0.005, 1, 2.5e6],
        bucket_counts=[1, 2, 3, 4],
        count=10,
        sum=12.5,
    )
    values, _ = values_of(request)
    name = "latency_seconds"
    expected = {("0.005", 1.0), ("1.0", 3.0), ("2.5e+06", 6.0), ("+Inf", 10.0)}
    assert values == {
        **{labels_of(f"{name}_bucket", {"job": "shop", "le": le}): value for le, value in expected},
        labels_of(f"{name}_sum", {"job": "shop"}): 12.5,
        labels_of(f"{name}_count", {"job": "shop"}): 10.0,
    }


@pytest.mark.parametrize(
    ("bounds", "counts", "message"),
    [
        ([1, 2], [1, 2], "one bucket count more than bounds"),
        ([2, 1], [1, 1, 1], "must ascend strictly"),
        (
            [math.nan],
            [1, 1],
            "must be finite (the last bucket reaches to infinity by itself), got nan to nan",
        ),
        (
            [1, math.inf],
            [1, 1, 1],
            "must be finite (the last bucket reaches to infinity by itself), got 1 to inf",
        ),
        (
            range(2049),
            [1] * 2050,
            "at most 2048 bounds, got 2049: each is a series; send an exponential histogram",
        ),
    ],
)
def test_a_broken_histogram_costs_itself(bounds, counts, message):
    """The point is refused with its reason; the good one beside it is kept."""
    request, metric = request_of()
    metric.name = "latency"
    metric.histogram.aggregation_temporality = CUMULATIVE
    metric.histogram.data_points.add(time_unix_nano=TIME_NS, explicit_bounds=bounds, bucket_counts=counts)
    metric.histogram.data_points.add(time_unix_nano=TIME_NS, count=4)
    values, translated = values_of(request)
    assert values[labels_of("latency_count", {"job": "shop"})] == 4.0
    assert translated.refusals.counts == {"buckets": 1}
    assert message in translated.refusals.text()


def test_a_summary_becomes_quantiles():
    """Quantiles keep their values, with sum and count beside them."""
    request, metric = request_of()
    metric.name = "wait"
    point = metric.summary.data_points.add(time_unix_nano=TIME_NS, count=5, sum=2.0)
    point.quantile_values.add(quantile=0.99, value=1.5)
    values, _ = values_of(request)
    assert values == {
        labels_of("wait", {"job": "shop", "quantile": "0.99"}): 1.5,
        labels_of("wait_sum", {"job": "shop"}): 2.0,
        labels_of("wait_count", {"job": "shop"}): 5.0,
    }


def test_no_recorded_value_becomes_the_stale_marker_bit_for_bit():
    """Floats and native histograms alike."""
    request, metric = request_of()
    metric.name = "level"
    metric.gauge.data_points.add(time_unix_nano=TIME_NS, flags=1)
    other = request.resource_metrics[0].scope_metrics[0].metrics.add(name="spread")
    other.exponential_histogram.aggregation_temporality = CUMULATIVE
    other.exponential_histogram.data_points.add(time_unix_nano=TIME_NS, flags=1)
    batch = translate(request, OtlpSettings(), NOW_MS).batch
    assert batch.values.view(np.uint64).tolist() == [STALE_BITS]
    assert batch.histograms.sum.view(np.uint64).tolist() == [STALE_BITS]
    MemoryStore().write(batch)


@pytest.mark.parametrize(
    ("time_ns", "message"),
    [
        (0, "time_unix_nano must be set"),
        (TIME_NS + 3600 * 10**9, "must not be more than 600s in the future, got 3600s"),
    ],
)
def test_a_point_without_a_credible_time_is_refused(time_ns, message):
    """No time, or one far ahead of ours."""
    request, metric = request_of()
    metric.name = "level"
    metric.gauge.data_points.add(time_unix_nano=time_ns, as_int=1)
    values, translated = values_of(request)
    assert not values
    assert message in translated.refusals.text()


def test_labels_are_bounded():
    """Too many or too long labels cost the point, never the batch."""
    request, metric = request_of()
    metric.name = "level"
    many = metric.gauge.data_points.add(time_unix_nano=TIME_NS, as_int=1)
    for number in range(9):
        set_attribute(many.attributes, f"a{number}", "x")
    long = metric.gauge.data_points.add(time_unix_nano=TIME_NS, as_int=2)
    set_attribute(long.attributes, "a", "x" * 101)
    metric.gauge.data_points.add(time_unix_nano=TIME_NS, as_int=3)
    values, translated = values_of(request, labels_max=8, label_value_bytes_max=100)
    assert list(values.values()) == [3.0]
    assert translated.refusals.counts == {"labels": 1, "label_value": 1}


@given(
    scale=st.integers(-4, 20),
    offset=st.integers(-2000, 2000),
    counts=st.lists(st.integers(0, 1000), max_size=60),
    zero=st.integers(0, 5),
)
@settings(max_examples=200, deadline=None)
def test_an_exponential_histogram_survives(scale, offset, counts, zero):
    """Every count lands in the Prometheus bucket whose bounds enclose its OTLP bucket; none is lost."""
    point = ExponentialHistogramDataPoint(scale=scale, zero_count=zero, count=sum(counts) + zero, sum=1.5)
    point.positive.offset = offset
    point.positive.bucket_counts.extend(counts)
    native = native_point(point)
    shift = max(0, scale - 8)
    assert native.schema == scale - shift
    assert sum(count for _, count in native.positive) + native.zero_count == native.count
    assert [index for index, _ in native.positive] == sorted({index for index, _ in native.positive})
    found = dict(native.positive)
    expected = {}
    for place, count in enumerate(counts):
        if not count:
            continue
        # Bounds as exponents of two: the OTLP bucket is (low, high] at its own scale.
        low, high = (offset + place) / 2**scale, (offset + place + 1) / 2**scale
        index = next(i for i in found if (i - 1) / 2**native.schema <= low and high <= i / 2**native.schema)
        expected[index] = expected.get(index, 0.0) + count
    assert found == expected


def test_the_real_sdks_histogram_keeps_every_observation_in_its_bucket():
    """Observations recorded by the OpenTelemetry SDK fall between the bounds of the buckets we make of them."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.sdk.metrics import Histogram, MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

    reader = InMemoryMetricReader(preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()})
    provider = MeterProvider(metric_readers=[reader])
    recorder = provider.get_meter("test").create_histogram("latency", unit="s")
    seen = [0.001 * 1.37**step for step in range(30)] + [1.0, 2.0, 4.0]
    for value in seen:
        recorder.record(value)
    request = encode_metrics(reader.get_metrics_data())
    provider.shutdown()
    batch = translate(request, OtlpSettings(), 2**52).batch
    points = batch.histograms
    scale = 2 ** int(points.schema[0])
    expected = Counter(math.ceil(math.log2(value) * scale) for value in seen)
    found = zip(points.positive_index.tolist(), points.positive_count.tolist(), strict=True)
    assert dict(found) == expected
    assert points.count.tolist() == [len(seen)]


def test_a_scale_below_minus_four_is_refused():
    """Prometheus has no such schema; the message says what to change."""
    with pytest.raises(PointError, match="scale of an exponential histogram must be at least -4, got -5"):
        native_point(ExponentialHistogramDataPoint(scale=-5))


def test_a_bucket_index_out_of_range_is_refused():
    """An offset at the edge of int32 cannot wrap around."""
    point = ExponentialHistogramDataPoint(scale=0, count=1)
    point.positive.offset = 2**31 - 1
    point.positive.bucket_counts.extend([1])
    with pytest.raises(PointError, match="32 bits"):
        native_point(point)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_message_that_decodes_gives_a_batch_that_a_sink_takes(body):
    """Random bytes that happen to be protobuf never raise, and never make a batch the store refuses."""
    try:
        request = ExportMetricsServiceRequest.FromString(body)
    except Exception:
        return
    RecordingSink().write(translate(request, OtlpSettings(), NOW_MS).batch)
