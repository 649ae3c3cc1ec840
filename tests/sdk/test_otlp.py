"""The push: a real HTTP server decodes it with OpenTelemetry's own messages."""

import gzip
import http.server
import threading
from time import monotonic

import ninesight
import pytest
from ninesight.errors import PermanentError, RetryableError
from ninesight.testing import (
    FaultyExporter,
    RecordingExporter,
    check_exporter,
    histogram,
    isolated,
    number,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest


class Receiver:
    """Answers with `status`, keeps what it was sent; `gate` holds answers back while it is closed."""

    def __init__(self):
        self.status = 200
        self.requests = []
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.gate.wait(120)
                receiver.requests.append((self.path, dict(self.headers), body))
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def last(self):
        """The newest push, decoded."""
        _, headers, body = self.requests[-1]
        assert headers["Content-Encoding"] == "gzip"
        return ExportMetricsServiceRequest.FromString(gzip.decompress(body))


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.stop()


def attributes(items):
    return {item.key: item.value.string_value for item in items}


def metrics_of(request):
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


def test_the_push_carries_every_series_exactly(receiver):
    """Names, units, labels, resource, kinds, times; histograms bucket by bucket, one index lower."""
    settings = {
        "otlp_endpoint": receiver.endpoint,
        "service_name": "shop",
        "instance": "pod-1",
        "otlp_headers": {"authorization": "Bearer token"},
        "export_interval_s": 3600.0,
    }
    with isolated(**settings) as snapshot:
        with ninesight.call("pushed", "3") as call:
            for duration_s in (0.0, 0.01, 0.0101, 0.5, 20.0):
                call.add_stage("queue", duration_s)
            call.predictions(4)
        handle = ninesight.model("pushed", "3")
        handle.ready(True)
        handle.batch(8, 0.25, gpu="1")
        assert ninesight.flush()
        ours = histogram(
            snapshot(), "model_stage_duration_seconds", model="pushed", version="3", stage="queue"
        )
        start_ns = snapshot().start_ns
    path, headers, _ = receiver.requests[0]
    assert (path, headers["authorization"]) == ("/v1/metrics", "Bearer token")
    request = ExportMetricsServiceRequest.FromString(gzip.decompress(receiver.requests[0][2]))
    resource = attributes(request.resource_metrics[0].resource.attributes)
    assert (resource["service.name"], resource["service.instance.id"]) == ("shop", "pod-1")
    metrics = metrics_of(request)

    sums = metrics["model_predictions_total"].sum
    assert (sums.is_monotonic, sums.aggregation_temporality) == (True, 2)  # Cumulative.
    (point,) = [p for p in sums.data_points if attributes(p.attributes)["model"] == "pushed"]
    assert (point.as_double, point.start_time_unix_nano) == (4.0, start_ns)
    assert point.time_unix_nano > start_ns
    ready = metrics["model_ready"].gauge.data_points[0]
    assert (ready.as_double, attributes(ready.attributes)) == (1.0, {"model": "pushed", "version": "3"})
    seconds = metrics["model_accelerator_seconds_total"].sum.data_points[0]
    assert (seconds.as_double, attributes(seconds.attributes)["gpu"]) == (0.25, "1")

    stage = metrics["model_stage_duration_seconds"]
    assert (stage.unit, stage.exponential_histogram.aggregation_temporality) == ("s", 2)
    (point,) = stage.exponential_histogram.data_points
    assert attributes(point.attributes) == {"model": "pushed", "version": "3", "stage": "queue"}
    assert (point.count, point.zero_count, point.scale) == (5, 1, ours.schema)
    assert (point.sum, point.min, point.max) == (ours.sum, 0.0, 20.0)
    buckets = point.positive
    found = [(buckets.offset + 1 + at, count) for at, count in enumerate(buckets.bucket_counts) if count]
    assert tuple(found) == ours.positive


def test_pushes_come_by_themselves_at_the_interval(receiver, until):
    """No flush, no scrape: and the last push, at shutdown, is complete."""
    with isolated(otlp_endpoint=receiver.endpoint, export_interval_s=0.1):
        with ninesight.call("ticks"):
            pass
        until(lambda: len(receiver.requests) >= 3)
        with ninesight.call("ticks"):
            pass
        ninesight.shutdown()
    points = metrics_of(receiver.last())["model_requests_total"].sum.data_points
    (ok,) = [p for p in points if {"ticks", "ok"} <= set(attributes(p.attributes).values())]
    assert ok.as_double == 2


def test_a_receiver_that_is_away_costs_nothing_but_time(receiver, until, caplog):
    """Calls go on, memory stays, failures are counted and told once; back again, the totals are whole."""
    endpoint = receiver.endpoint
    receiver.stop()
    with isolated(otlp_endpoint=endpoint, export_interval_s=0.1) as snapshot:
        for _ in range(100):
            with ninesight.call("away"):
                pass
        until(lambda: ninesight.stats().export_failures >= 2)
        stats = ninesight.stats()
        assert (stats.recorded, stats.buffered, stats.dropped, stats.exports) == (100, 0, 0, 0)
        assert number(snapshot(), "ninesight_sdk_export_failures_total") >= 2
        assert not ninesight.flush(timeout_s=5.0)
        told = [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]
        assert [record.name for record in told] in ([], ["ninesight"])
        back = Receiver()
        try:
            ninesight.configure(otlp_endpoint=back.endpoint)
            assert ninesight.flush()
            points = metrics_of(back.last())["model_requests_total"].sum.data_points
            assert sum(p.as_double for p in points if attributes(p.attributes)["model"] == "away") == 100
        finally:
            ninesight.configure(otlp_endpoint="http://127.0.0.1:9")
            back.stop()


def test_a_receiver_that_hangs_holds_nobody_up(receiver):
    """Calls, scrapes and shutdown do not wait for it; flush waits as long as it is told."""
    receiver.gate.clear()
    with isolated(otlp_endpoint=receiver.endpoint, export_interval_s=3600.0) as snapshot:
        with ninesight.call("hangs"):
            pass
        began = monotonic()
        assert not ninesight.flush(timeout_s=0.2)
        with ninesight.call("hangs"):
            pass
        assert number(snapshot(), "model_predictions_total", model="hangs", version="1") == 2
        ninesight.shutdown(timeout_s=0.3)
        assert monotonic() - began < 60
        receiver.gate.set()


@pytest.mark.parametrize(
    ("status", "error"), [(400, PermanentError), (401, PermanentError), (503, RetryableError)]
)
def test_a_refusal_is_counted_and_told_by_its_kind(receiver, status, error):
    """4xx: never acceptable; 5xx: the next push may be taken. Neither names the headers."""
    from ninesight.otlp import OtlpExporter

    receiver.status = status
    # Within this time what may be taken later is tried again.
    timeout_s = 0.5 if error is RetryableError else 60.0
    exporter = OtlpExporter(receiver.endpoint, headers={"authorization": "secret"}, timeout_s=timeout_s)
    try:
        with isolated() as snapshot, pytest.raises(error) as caught:
            exporter.export(snapshot())
    finally:
        exporter.close()
    assert receiver.endpoint in str(caught.value)
    assert "secret" not in str(caught.value)
    if status < 500:
        assert str(status) in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        lambda _: None,
        lambda step: RetryableError("busy") if step % 2 else None,
        lambda step: PermanentError("never") if step % 3 == 0 else None,
        lambda step: RuntimeError("a bug") if step % 2 else RetryableError("busy"),
    ],
    ids=["always-ok", "temporary", "permanent", "broken"],
)
def test_exporters_of_every_temper_lose_no_call(fault):
    """Taken + failed = flushes, and every call is in the totals, whatever an exporter raises."""
    exporter = FaultyExporter(fault)
    taken, failed = check_exporter(exporter, flushes=12)
    expected = sum(fault(step) is not None for step in range(12))
    assert failed == expected
    assert taken == len(exporter.snapshots) == 12 - expected
    assert exporter.closed == 1


def test_a_recording_exporter_is_bounded():
    """It keeps the newest snapshots only."""
    exporter = RecordingExporter(snapshots_max=3)
    check_exporter(exporter, flushes=5)
    assert len(exporter.snapshots) == 3
    assert number(exporter.snapshots[-1], "ninesight_sdk_recorded_total") == 5
