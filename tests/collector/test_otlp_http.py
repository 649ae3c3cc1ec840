"""The receiver over real HTTP: what is answered, in which form, and when."""

import contextlib
import gzip
import json
import socket
import threading

import httpx2
import pytest
from google.rpc.status_pb2 import Status
from ninesight_collector import Counters
from ninesight_collector.otlp import OtlpSettings, routes
from ninesight_store import LocalStore, StoreSettings
from ninesight_store.contract import labels_of
from ninesight_store.errors import PermanentError, RetryableError
from ninesight_store.testing import RecordingSink
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

NOW_MS = 1_700_000_000_000
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


class Bench:
    """A served receiver with a recording sink."""

    def __init__(self, address, client, sink, counters):
        self.url, self.client = f"{address}/v1/metrics", client
        self.sink, self.counters = sink, counters

    def post(self, body, headers=None):
        return self.client.post(self.url, content=body, headers={**PROTOBUF, **(headers or {})})


@pytest.fixture(scope="module")
def client():
    """One client: making its TLS context is what costs."""
    with httpx2.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def bench(serve, client):
    """`with bench(sink, **settings) as b:`."""

    @contextlib.contextmanager
    def begin(sink=None, **given):
        sink, counters = sink or RecordingSink(), Counters()
        with serve(routes(sink, OtlpSettings(**given), counters, lambda: NOW_MS)) as address:
            yield Bench(address, client, sink, counters)

    return begin


def gauge_request(value=1.0, **attributes):
    """A request with one gauge point."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="level")
    point = metric.gauge.data_points.add(time_unix_nano=NOW_MS * 1_000_000, as_double=value)
    for key, text in attributes.items():
        point.attributes.add(key=key).value.string_value = text
    return request


def test_protobuf_is_taken_and_answered_in_protobuf(bench):
    """200 with an empty response; the samples are in the sink before the answer."""
    with bench() as b:
        answer = b.post(gauge_request(4.0, model="m").SerializeToString())
        assert b.sink.samples == [(labels_of("level", {"model": "m"}), NOW_MS, 4.0)]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert not ExportMetricsServiceResponse.FromString(answer.content).HasField("partial_success")
    assert b.counters.get("received_samples_total", source="otlp") == 1
    assert b.counters.get("otlp_requests_total", code="200") == 1


def test_json_after_the_otlp_rules_is_taken_and_answered_in_json(bench):
    """64-bit integers as strings, unknown fields ignored, enums as numbers."""
    body = {
        "resourceMetrics": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
                "scopeMetrics": [
                    {
                        "scope": {"name": "x"},
                        "someFutureField": {"a": 1},
                        "metrics": [
                            {
                                "name": "hits",
                                "sum": {
                                    "aggregationTemporality": 2,
                                    "isMonotonic": True,
                                    "dataPoints": [
                                        {
                                            "timeUnixNano": str(NOW_MS * 1_000_000),
                                            "asInt": "9007199254740993",
                                            "exemplars": [
                                                {
                                                    "traceId": "5b8efff798038103d269b633813fc60c",
                                                    "spanId": "eee19b7ec3c1b174",
                                                }
                                            ],
                                        }
                                    ],
                                },
                            },
                            {
                                "name": "old",
                                "sum": {"aggregationTemporality": 1, "dataPoints": [{"asInt": 1}]},
                            },
                        ],
                    }
                ],
            }
        ]
    }
    with bench() as b:
        answer = b.post(json.dumps(body), {"Content-Type": "application/json; charset=utf-8"})
        assert b.sink.samples == [(labels_of("hits_total", {"job": "shop"}), NOW_MS, 9007199254740992.0)]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedDataPoints"] == "1"
    assert "must be cumulative" in partial["errorMessage"]
    assert b.counters.get("rejected_samples_total", source="otlp", reason="temporality") == 1


def test_gzip_is_taken_even_in_several_members(bench):
    """Content-Encoding gzip, two members one after the other."""
    body = gauge_request(2.0).SerializeToString()
    packed = gzip.compress(body[:10]) + gzip.compress(body[10:])
    with bench() as b:
        assert b.post(packed, {"Content-Encoding": "gzip"}).status_code == 200
        assert [value for _, _, value in b.sink.samples] == [2.0]


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"\xff\xff\xff not protobuf", {}, 400, "must be an ExportMetricsServiceRequest in protobuf"),
        (b"{not json", JSON, 400, "must be an ExportMetricsServiceRequest in JSON"),
        (b'{"resourceMetrics": 3}', JSON, 400, "in JSON"),
        (b"[1, 2]", JSON, 400, "in JSON"),
        (b'"text"', JSON, 400, "in JSON"),
        (b'{"resourceMetrics": ["text"]}', JSON, 400, "in JSON"),
        (b'{"resource_metrics": [{"scope_metrics": [{"metrics": ["text"]}]}]}', JSON, 400, "in JSON"),
        (b'{"resourceMetrics": [{"schemaUrl": "\\ud800"}]}', JSON, 400, "in JSON"),
        (b"[" * 100_000, JSON, 400, "must not be nested deeper"),
        (b"\xfe\xff", JSON, 400, "in JSON"),
        (
            b"plain",
            {"Content-Type": "text/plain"},
            415,
            "Content-Type must be application/x-protobuf or application/json",
        ),
        (b"x", {"Content-Encoding": "zstd"}, 415, 'Content-Encoding must be gzip or identity, got "zstd"'),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400, "must be gzip"),
        (gzip.compress(b"cut off")[:-4], {"Content-Encoding": "gzip"}, 400, "must be complete"),
        (b"", {"Content-Encoding": "gzip"}, 400, "must be complete"),
    ],
)
def test_garbage_gets_a_clear_answer_in_the_senders_form(bench, body, headers, status, words):
    """google.rpc.Status with what must hold; the receiver goes on."""
    with bench() as b:
        answer = b.post(body, headers)
        after = b.post(gauge_request().SerializeToString())
    assert answer.status_code == status
    if answer.headers["content-type"] == "application/json":
        message = answer.json()["message"]
    else:
        message = Status.FromString(answer.content).message
    assert words in message
    assert after.status_code == 200


def test_a_body_over_the_cap_is_answered_413(bench):
    """As sent, and after decompression; nothing reaches the sink."""
    with bench(body_bytes_max=10_000) as b:
        plain = b.post(b"x" * 10_001)
        bomb = b.post(gzip.compress(b"\0" * 50_000_000), {"Content-Encoding": "gzip", "X": "1"})
        small_bomb = b.post(gzip.compress(b"\0" * 5_000_000), {"Content-Encoding": "gzip"})
        assert not b.sink.batches
    assert {plain.status_code, bomb.status_code, small_bomb.status_code} == {413}
    assert "must not be above 10000 bytes" in Status.FromString(plain.content).message
    assert "after decompression" in Status.FromString(small_bomb.content).message


def _empties(depth):
    """Return a request with 50,001 empty messages at a depth: resources, scopes, metrics or points."""
    request = ExportMetricsServiceRequest()
    many = request.resource_metrics
    for place in ("scope_metrics", "metrics", "gauge.data_points")[:depth]:
        here = many.add()
        many = here.gauge.data_points if place == "gauge.data_points" else getattr(here, place)
    for _ in range(50_001):
        many.add()
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (_empties(0), {}),
        (_empties(1), {}),
        (_empties(2), {}),
        (_empties(3), {}),
        (gzip.compress(b"\x0a\x00" * 60_000), {"Content-Encoding": "gzip"}),
        (b'{"resourceMetrics": [' + b"{}," * 130_000 + b"{}]}", JSON),
    ],
    ids=["resources", "scopes", "metrics", "points", "gzip", "json"],
)
def test_a_body_of_very_many_empty_messages_is_answered_413(bench, body, headers):
    """Millions of empty messages fit in a small body; they are counted before they cost time."""
    with bench(body_bytes_max=800_000) as b:
        answer = b.post(body, headers)
        after = b.post(gauge_request().SerializeToString())
    message = answer.json()["message"] if headers is JSON else Status.FromString(answer.content).message
    assert answer.status_code == 413, message
    assert "at most 50000 resources, scopes, metrics, points and attributes in all" in message
    assert after.status_code == 200


def test_a_sink_that_cannot_now_makes_the_sender_come_back(bench):
    """RetryableError is 503 with Retry-After; the same request is taken the next time, once."""
    with bench(RecordingSink(fail_with=[RetryableError("disk full"), OSError("surprise")])) as b:
        body = gauge_request().SerializeToString()
        answers = [b.post(body) for _ in range(3)]
        assert len(b.sink.samples) == 1
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["retry-after"] == answers[1].headers["retry-after"] == "1"
    assert "disk full" in Status.FromString(answers[0].content).message
    assert b"surprise" not in answers[1].content


def test_a_sink_that_never_will_is_a_400(bench):
    """PermanentError is not retryable."""
    with bench(RecordingSink(fail_with=[PermanentError("no such thing", refused=1)])) as b:
        answer = b.post(gauge_request().SerializeToString())
    assert answer.status_code == 400
    assert "retry-after" not in answer.headers
    assert b.counters.get("rejected_samples_total", source="otlp", reason="sink") == 1


def test_points_past_the_stores_window_are_counted_as_points(bench, tmp_path):
    """A histogram that comes too late is one rejected point, though it is many samples; the others are kept."""
    settings = StoreSettings(retention_ms=7_200_000, late_ms_max=3_600_000)
    request = gauge_request()
    metric = request.resource_metrics[0].scope_metrics[0].metrics.add(name="latency")
    metric.histogram.aggregation_temporality = 2
    for minutes in (0, 61, 90):
        taken_ns = (NOW_MS - minutes * 60_000) * 1_000_000
        metric.histogram.data_points.add(
            time_unix_nano=taken_ns, explicit_bounds=[1.0, 2.0], bucket_counts=[1, 2, 3], sum=9.0, count=6
        )
    with LocalStore(tmp_path / "s.db", settings=settings, now_ms=lambda: NOW_MS) as store:
        with bench(store) as b:
            answer = b.post(request.SerializeToString())
        assert len(store.select([], 0, NOW_MS).timestamps) == 1 + 5
    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_data_points == 2
    assert (
        "2 refused: samples must be at most 1 h old when they arrive, 10 were older" in partial.error_message
    )
    assert b.counters.get("rejected_samples_total", source="otlp", reason="late") == 10
    assert b.counters.get("received_samples_total", source="otlp") == 6


class HeldSink(RecordingSink):
    """Holds every write until told to go on."""

    def __init__(self):
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def write(self, batch):
        self.entered.set()
        assert self.go_on.wait(120)
        super().write(batch)


def test_more_than_the_bound_in_flight_is_told_to_come_back(bench):
    """429 with Retry-After while one request is held in the sink; the held one is answered after the write."""
    sink = HeldSink()
    with bench(sink, in_flight_max=1) as b:
        answers = []
        body = gauge_request().SerializeToString()
        sender = threading.Thread(target=lambda: answers.append(b.post(body)))
        sender.start()
        assert sink.entered.wait(60)
        full = b.post(body)
        assert not answers, "acknowledged before the sink returned"
        sink.go_on.set()
        sender.join(60)
        again = b.post(body)
    assert (full.status_code, full.headers["retry-after"]) == (429, "1")
    assert [answer.status_code for answer in answers] == [200]
    assert again.status_code == 200


def test_a_token_is_asked_for_where_one_is_set(bench):
    """401 without it or with another one, also one that is not ASCII."""
    with bench(token="s3cret") as b:
        body = gauge_request().SerializeToString()
        answers = [
            b.post(body, headers)
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": "Basic s3cret"},
                {"Authorization": b"Bearer s\xc3\xa9cret"},
                {"Authorization": "bearer s3cret"},
            )
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 200]
    assert answers[0].headers["www-authenticate"] == "Bearer"
    assert b"s3cret" not in answers[0].content


def test_a_sender_that_is_too_slow_is_let_go(bench):
    """408 once the body's time is over; its slot is free again."""
    with bench(body_timeout_s=1.0, in_flight_max=1) as b:
        host, port = b.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port)), timeout=60) as slow:
            slow.sendall(
                b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                b"Content-Length: 100\r\n\r\nabc"
            )
            assert b" 408 " in slow.recv(1000)
        assert b.post(gauge_request().SerializeToString()).status_code == 200


def test_the_same_series_share_one_table(bench):
    """So that the store knows the second batch by its digest."""
    with bench() as b:
        for value in (1.0, 2.0):
            b.post(gauge_request(value, a="b").SerializeToString())
        first, second = b.sink.batches
    assert first.series is second.series
