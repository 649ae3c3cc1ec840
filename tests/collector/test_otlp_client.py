"""The real OpenTelemetry SDK and its OTLP/HTTP exporter against a served receiver."""

import pytest
from ninesight_collector import Counters
from ninesight_collector.otlp import OtlpSettings, routes
from ninesight_store.contract import Matcher, MatchOp, labels_of
from ninesight_store.testing import MemoryStore
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

WHO = {"job": "shop/api", "instance": "i-7"}


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_an_sdk_meter_arrives_whole(serve, compression, monkeypatch):
    """Counter, up-down counter, gauge and exponential histogram, as the SDK sends them."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    store = MemoryStore()
    with serve(routes(store, OtlpSettings(), Counters(), lambda: 2**52)) as address:
        exporter = OTLPMetricExporter(
            f"{address}/v1/metrics",
            compression=compression,
            preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        resource = Resource.create(
            {"service.name": "api", "service.namespace": "shop", "service.instance.id": "i-7"}
        )
        provider = MeterProvider(metric_readers=[reader], resource=resource)
        meter = provider.get_meter("test")
        meter.create_counter("model_requests", unit="{request}").add(5, {"model": "bert", "outcome": "ok"})
        meter.create_up_down_counter("model_queue_depth").add(-3)
        meter.create_gauge("temperature", unit="Cel").set(21.5)
        latency = meter.create_histogram("model_request_duration_seconds", unit="s", description="How long.")
        for value in (0.25, 0.5, 0.5, 4.0):
            latency.record(value, {"model": "bert"})
        assert provider.force_flush(10_000)
        provider.shutdown()
    columns = store.select([Matcher("job", MatchOp.EQUAL, "shop/api")], 0, 2**52)
    values = dict(zip(columns.labels, range(len(columns.labels)), strict=True))
    counter = values[labels_of("model_requests_total", {**WHO, "model": "bert", "outcome": "ok"})]
    assert columns.values[columns.offsets[counter]] == 5.0
    assert columns.values[columns.offsets[values[labels_of("model_queue_depth", WHO)]]] == -3.0
    assert columns.values[columns.offsets[values[labels_of("temperature_celsius", WHO)]]] == 21.5
    histogram = values[labels_of("model_request_duration_seconds", {**WHO, "model": "bert"})]
    place = int(columns.histogram_offsets[histogram])
    assert (columns.histograms.count[place], columns.histograms.sum[place]) == (4.0, 5.25)
    known = {entry.metric: entry for entry in store.metadata()}
    assert known["model_request_duration_seconds"].kind == "histogram"
    assert known["model_request_duration_seconds"].help == "How long."
    assert known["model_requests_total"].kind == "counter"
