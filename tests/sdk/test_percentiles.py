"""Percentiles are within their stated 1.1 % of the exact ones, over every shape of data and through every way out."""

import gzip
import http.server
import math
import threading

import ninesight
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ninesight.buckets import upper_bound
from ninesight.codec import decode as read_back
from ninesight.codec import encode
from ninesight.merge import merged
from ninesight.scrape import render
from ninesight.testing import histogram, isolated
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from .integrations.conftest import native_buckets

NAME = "model_stage_duration_seconds"
BOUND = 0.011
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
QUANTILES = (0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)


def draws(shape):
    """Values of a shape, between 50 us and 30 minutes, as `random` gives them."""

    def draw(chance, count):
        if shape == "constant":
            return [chance.uniform(0.0001, 100.0)] * count
        if shape == "lognormal":
            found = [chance.lognormvariate(-3.0, 1.0) for _ in range(count)]
        elif shape == "bimodal":
            found = [chance.gauss(0.005 if chance.random() < 0.9 else 2.0, 0.0005) for _ in range(count)]
        else:
            found = [0.001 * chance.paretovariate(1.1) for _ in range(count)]
        return [min(1800.0, max(0.00005, value)) for value in found]

    return draw


SHAPES = ("lognormal", "bimodal", "heavy-tailed", "constant")


def check(values, quantile):
    """`quantile(q)` gives (lower, upper): the exact value lies inside, and they are within the bound."""
    ordered = sorted(values)
    for q in QUANTILES:
        exact = ordered[max(1, math.ceil(q * len(ordered))) - 1]
        low, high = quantile(q)
        assert low < exact <= high * (1 + 1e-12), (q, low, exact, high)
        assert high / low - 1 <= BOUND, (q, low, high)


def of_buckets(buckets, schema):
    """A quantile from Prometheus-numbered buckets [(index, count)]."""

    def quantile(q):
        rank = max(1, math.ceil(q * sum(count for _, count in buckets)))
        for index, count in sorted(buckets):
            rank -= count
            if rank <= 0:
                return upper_bound(index - 1, schema), upper_bound(index, schema)
        raise AssertionError("the rank lies beyond all buckets")

    return quantile


def recorded(values):
    with ninesight.call("shaped") as call:
        for value in values:
            call.add_stage("inference", value)


LABELS = {"model": "shaped", "version": "1", "stage": "inference"}


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(chance=st.randoms(use_true_random=False), count=st.integers(1, 3000), parts=st.integers(1, 4))
def test_in_memory_in_protobuf_and_over_workers(shape, chance, count, parts):
    """The snapshot, the native histogram of a scrape, classic buckets, and the totals of several processes."""
    values = draws(shape)(chance, count)
    with isolated(histogram_buckets_max=2048) as snapshot:
        recorded(values)
        value = histogram(snapshot(), NAME, **LABELS)
        check(values, value.quantile_bounds)
        body = render(snapshot, PROTOBUF)[1]
        text = render(snapshot, "")[1].decode()
    check(values, of_buckets(*native(body)))
    classic = {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"{NAME}_bucket" and sample.labels["model"] == "shaped"
    }
    for le, seen in classic.items():
        assert seen == sum(item <= le for item in values)
    pieces = []
    for part in range(parts):
        with isolated(histogram_buckets_max=2048) as snapshot:
            recorded(values[part::parts])
            pieces.append(read_back(encode(snapshot()))[0])
    whole = histogram(merged(pieces, buckets_max=2048), NAME, **LABELS) if count >= parts else None
    if whole is not None:
        check(values, whole.quantile_bounds)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("shape", SHAPES)
def test_over_otlp(shape, temporality, pushed):
    """The exponential histogram of a push; of deltas, all pushes together."""
    import random

    values = draws(shape)(random.Random(shape), 2000)
    counts, schema = {}, None
    with isolated(
        otlp_endpoint=pushed.endpoint,
        otlp_temporality=temporality,
        export_interval_s=3600.0,
        histogram_buckets_max=2048,
    ):
        for part in (values[:700], values[700:]):
            recorded(part)
            assert ninesight.flush(timeout_s=30.0)
            point = pushed.point()
            schema = point.scale
            if temporality == "cumulative":
                counts.clear()
            for place, count in enumerate(point.positive.bucket_counts):
                # OpenTelemetry's index is one less than Prometheus'.
                index = point.positive.offset + place + 1
                counts[index] = counts.get(index, 0) + count
    assert sum(counts.values()) == len(values)
    check(values, of_buckets([item for item in counts.items() if item[1]], schema))


@pytest.fixture
def pushed():
    """A receiver that keeps the last push; `point()` is the stage's histogram in it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
            self.server.last = ExportMetricsServiceRequest.FromString(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    def point():
        (found,) = [
            point
            for metric in server.last.resource_metrics[0].scope_metrics[0].metrics
            if metric.name == NAME
            for point in metric.exponential_histogram.data_points
            if any(item.value.string_value == "shaped" for item in point.attributes)
        ]
        return found

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    server.point = point
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def native(body):
    """([(index, count)], schema) of the stage's native histogram, by the independent decoder of the integrations."""
    buckets = native_buckets(body, NAME, LABELS)
    ((schema,),) = [{schema for _, schema in buckets}]
    return [(index, count) for (index, _), count in buckets.items() if count], schema
