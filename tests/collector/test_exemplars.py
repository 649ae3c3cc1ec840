"""Exemplars on their way in: OpenMetrics text, protobuf pages and OTLP; bounded, and once each."""

import pytest
from ninesight_collector import BatchBuilder
from ninesight_collector.errors import ExpositionError
from ninesight_collector.exemplars import ExemplarRows
from ninesight_collector.otlp import OtlpSettings, translate
from ninesight_collector.scrape import ExpositionParser, ProtobufParser, TargetLabels
from ninesight_collector.scrape.client_model import MetricFamily
from ninesight_store.contract import Exemplar, Matcher, MatchOp, labels_of
from ninesight_store.testing import MemoryStore
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.openmetrics.exposition import generate_latest

NOW_MS = 1_700_000_000_000
EVERYTHING = [(Matcher("__name__", MatchOp.REGEX, ".+"),)]
TRACE, SPAN = bytes(range(16)), bytes(range(8))
IDS = (("span_id", SPAN.hex()), ("trace_id", TRACE.hex()))


def kept(*batches):
    """{series: exemplars} of a store that took the batches."""
    store = MemoryStore()
    for batch in batches:
        store.write(batch)
    return {found.series: found.exemplars for found in store.exemplars(EVERYTHING, -(1 << 50), 1 << 50)}


def text_page(text, builder=None, now_ms=NOW_MS):
    """The batch of an OpenMetrics page."""
    builder = BatchBuilder(marks_stale=True) if builder is None else builder
    ExpositionParser(TargetLabels({"job": "j"})).parse(text, builder, now_ms, open_metrics=True)
    return builder.batch(now_ms)


def test_a_page_of_the_client_library():
    """Buckets and counters keep their exemplars with value, time and labels."""
    registry = CollectorRegistry()
    Counter("hits", "Hits.", registry=registry).inc(2, exemplar={"trace_id": "c"})
    histogram = Histogram("latency_seconds", "Latency.", registry=registry, buckets=(0.1, 1))
    histogram.observe(0.5, exemplar={"trace_id": "a", "span_id": "b"})
    page = generate_latest(registry).decode()
    found = kept(text_page(page, now_ms=4_000_000_000_000))
    assert {dict(series)["__name__"] for series in found} == {"hits_total", "latency_seconds_bucket"}
    (bucket,) = found[labels_of("latency_seconds_bucket", {"job": "j", "le": "1.0"})]
    assert (bucket.labels, bucket.value) == ((("span_id", "b"), ("trace_id", "a")), 0.5)
    assert abs(bucket.timestamp_ms - 1_700_000_000_000) < 10**12


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{trace_id="x"} 0.5 1600000000.123', Exemplar((("trace_id", "x"),), 0.5, 1_600_000_000_123)),
        ('{trace_id="x"} 0.5', Exemplar((("trace_id", "x"),), 0.5, NOW_MS)),
        ("{} 3", Exemplar((), 3.0, NOW_MS)),
        ('{a="} # {\\"",b=""} -1e3 1', Exemplar((("a", '} # {"'),), -1000.0, 1000)),
    ],
)
def test_text_exemplars(text, wanted):
    """`# {labels} value [seconds]` after a sample; without a time it is the scrape's."""
    found = kept(text_page(f'x_total{{p="a # b"}} 5 # {text}\n# EOF\n'))
    assert list(found.values()) == [(wanted,)]


@pytest.mark.parametrize("text", ["0.5", "{a=1} 2", "{} ", "{} x", "{} 1 2 3", '{a="b"', '{a="b"} 1 NaN'])
def test_a_broken_text_exemplar_costs_the_page(text):
    """A page is taken whole or not at all."""
    with pytest.raises(ExpositionError):
        text_page(f"x_total 5 # {text}\n# EOF\n")


def test_what_a_page_repeats_is_passed_on_once():
    """An exemplar shown again at the next scrape is no new one, with or without a time of its own."""
    builder = BatchBuilder(marks_stale=True)
    page = 'x_total 5 # {{trace_id="{0}"}} 1\ny_total 5 # {{trace_id="y"}} 1 7\n# EOF\n'
    batches = [
        text_page(page.format(trace), builder, NOW_MS + 1000 * k) for k, trace in enumerate(["a", "a", "b"])
    ]
    assert [len(batch.exemplars) for batch in batches] == [2, 0, 1]
    found = kept(*batches)
    assert [one.labels[0][1] for one in found[labels_of("x_total", {"job": "j"})]] == ["a", "b"]


def test_a_page_that_is_refused_keeps_nothing():
    """What was read before the mistake is forgotten, and new when the page is whole again."""
    builder = BatchBuilder(marks_stale=True)
    with pytest.raises(ExpositionError):
        text_page('x_total 5 # {trace_id="a"} 1\nbroken\n# EOF\n', builder)
    builder.discard()
    assert len(builder.batch(NOW_MS).exemplars) == 0
    assert len(text_page('x_total 5 # {trace_id="a"} 1\n# EOF\n', builder).exemplars) == 1


def delimited(family):
    body = family.SerializeToString()
    assert len(body) < 1 << 14
    return bytes([len(body) & 0x7F | 0x80, len(body) >> 7]) + body


def protobuf_page(family, **given):
    """The batch of a protobuf page."""
    builder = BatchBuilder()
    ProtobufParser(TargetLabels({"job": "j"}), **given).parse(delimited(family), builder, NOW_MS)
    return builder.batch(NOW_MS)


def put(exemplar, trace, value, seconds=None):
    """Fill a protobuf exemplar."""
    exemplar.value = value
    exemplar.label.add(name="trace_id", value=trace)
    if seconds is not None:
        exemplar.timestamp.seconds = seconds
        exemplar.timestamp.nanos = 250_000_000


def histogram_family(*, native):
    family = MetricFamily(name="latency_seconds", type=4)
    histogram = family.metric.add().histogram
    histogram.sample_count, histogram.sample_sum = 3, 1.0
    if native:
        histogram.schema, histogram.zero_threshold = 3, 1e-9
        histogram.positive_span.add(offset=0, length=1)
        histogram.positive_delta.append(3)
    bucket = histogram.bucket.add(cumulative_count=3, upper_bound=1.0)
    put(bucket.exemplar, "bucket", 0.5, 1_600_000_000)
    return family


def test_protobuf_exemplars_of_counters_and_buckets():
    """A counter's and a classic bucket's go to their own series."""
    family = MetricFamily(name="hits_total", type=0)
    counter = family.metric.add().counter
    counter.value = 2
    put(counter.exemplar, "c", 1.0)
    assert kept(protobuf_page(family)) == {
        labels_of("hits_total", {"job": "j"}): (Exemplar((("trace_id", "c"),), 1.0, NOW_MS),)
    }
    assert kept(protobuf_page(histogram_family(native=False))) == {
        labels_of("latency_seconds_bucket", {"job": "j", "le": "1.0"}): (
            Exemplar((("trace_id", "bucket"),), 0.5, 1_600_000_000_250),
        )
    }


@pytest.mark.parametrize("own", [False, True])
def test_protobuf_exemplars_of_a_native_histogram(own):
    """Its own exemplars if it has any, else those of its classic buckets."""
    family = histogram_family(native=True)
    if own:
        put(family.metric[0].histogram.exemplars.add(), "own", 0.25, 1_600_000_001)
    found = kept(protobuf_page(family))
    (series,) = found
    assert series == labels_of("latency_seconds", {"job": "j"})
    assert [one.labels[0][1] for one in found[series]] == ["own" if own else "bucket"]


def otlp(kind, name="x", **given):
    """A request with one point; returns (request, its first exemplar)."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=name)
    data = getattr(metric, kind)
    if kind != "gauge":
        data.aggregation_temporality = 2
    if kind == "sum":
        data.is_monotonic = True
    point = data.data_points.add(time_unix_nano=NOW_MS * 1_000_000, **given)
    exemplar = point.exemplars.add(time_unix_nano=(NOW_MS - 5) * 1_000_000, trace_id=TRACE, span_id=SPAN)
    return request, exemplar


@pytest.mark.parametrize(
    ("kind", "given", "series"),
    [
        ("sum", {"as_int": 4}, labels_of("x_total")),
        ("gauge", {"as_double": 4.0}, labels_of("x")),
        ("exponential_histogram", {"count": 1, "sum": 0.5, "zero_count": 1}, labels_of("x")),
        (
            "histogram",
            {"count": 1, "sum": 0.5, "explicit_bounds": [0.25, 0.5, 1], "bucket_counts": [0, 1, 0, 0]},
            labels_of("x_bucket", {"le": "0.5"}),
        ),
    ],
)
def test_otlp_exemplars(kind, given, series):
    """Each kind of point has them, with both ids as hexadecimal text; a bucket's is the one that holds it."""
    request, exemplar = otlp(kind, **given)
    exemplar.as_double = 0.5
    batch = translate(request, OtlpSettings(), NOW_MS).batch
    assert kept(batch) == {series: (Exemplar(IDS, 0.5, NOW_MS - 5),)}


def test_an_otlp_exemplar_over_all_bounds_is_of_the_last_bucket():
    """+Inf holds what no bound does."""
    request, exemplar = otlp("histogram", count=1, explicit_bounds=[1], bucket_counts=[0, 1])
    exemplar.as_int = 9
    batch = translate(request, OtlpSettings(), NOW_MS).batch
    assert list(kept(batch)) == [labels_of("x_bucket", {"le": "+Inf"})]


@pytest.mark.parametrize(("length", "more"), [(10, {"who": "n" * 10}), (200, {})])
def test_otlp_attributes_come_along_where_they_fit(length, more):
    """128 characters in all; the ids are kept without the attributes otherwise."""
    request, exemplar = otlp("sum", as_int=4)
    exemplar.filtered_attributes.add(key="who").value.string_value = "n" * length
    found = kept(translate(request, OtlpSettings(), NOW_MS).batch)
    assert dict(found[labels_of("x_total")][0].labels) == {**dict(IDS), **more}


def test_what_cannot_be_is_left_out_and_counted():
    """Too long labels, no number, a time far ahead, too many: the samples stay, the reasons are told."""
    rows = ExemplarRows(rows_max=2)
    rows.add(0, {"trace_id": "t" * 121}, 1.0, None, NOW_MS)
    rows.add(0, {"trace_id": "t"}, float("nan"), None, NOW_MS)
    rows.add(0, {"trace_id": "t"}, 1.0, NOW_MS + 600_001, NOW_MS)
    for trace in "abc":
        rows.add(0, {"trace_id": trace}, 1.0, NOW_MS, NOW_MS)
    assert len(rows.columns()) == 2
    assert rows.take_left_out() == {"labels": 1, "value": 1, "timestamp": 1, "many": 1}
    assert rows.take_left_out() == {}


def test_left_out_exemplars_of_a_request_are_told():
    """The receiver counts them; the point itself is taken."""
    request, exemplar = otlp("sum", as_int=4)
    exemplar.as_double = float("nan")
    translated = translate(request, OtlpSettings(), NOW_MS)
    assert len(translated.batch) == 1
    assert len(translated.batch.exemplars) == 0
    assert translated.exemplars_left_out == {"value": 1}
