"""The scrape: text, OpenMetrics and protobuf say the same, and prometheus_client reads it."""

import asyncio
import gzip
import socket
import urllib.request
from bisect import bisect_right

import ninesight
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight.metrics import METRICS
from ninesight.scrape import wants_protobuf
from ninesight.testing import isolated
from ninesight.wire import field_sint, varint
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
DURATIONS = [0.0005, 0.001, 0.0011, 0.05, 0.05, 0.1, 2.0, 90.0]


def scrape(accept="", *, method="GET", extra=(), path="/metrics"):
    """Ask the ASGI app as a server would; return (status, headers, body)."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    headers = [(b"Accept", accept.encode()), *extra]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(ninesight.metrics_app()(scope, receive, send))
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


@pytest.fixture
def recorded(sdk):
    """A model with everything told of it."""
    with ninesight.call("shown", "2") as call:
        for duration_s in DURATIONS:
            call.add_stage("inference", duration_s)
        call.predictions(3)
        call.tokens(input=5, output=7)
        call.pace.mark(call.started_at + 0.5)
        call.pace.mark(call.started_at + 1.0)
    handle = ninesight.model("shown", "2")
    handle.ready()
    handle.info(framework="onnx")
    handle.load_duration(1.5)
    handle.queue_depth(2)
    handle.batch(8, 0.25, gpu="0")
    handle.loaded()
    handle.golden_check(True, at_s=1000.0)
    handle.kv_cache_usage(0.5)
    handle.circuit("open")
    handle.cache_lookup("exact", hit=True)
    return sdk


def samples(families):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.startswith("ninesight_sdk")
    }


def test_text_is_parsed_and_complete(recorded):
    """Every canonical series, each with its type, read back by prometheus_client's own parser."""
    status, headers, body = scrape()
    families = list(parse_text(body.decode()))
    assert (status, headers[b"content-type"]) == (200, b"text/plain; version=0.0.4; charset=utf-8")
    kinds = {family.name: family.type for family in families}
    for name, info in METRICS.items():
        assert kinds[name.removesuffix("_total")] == str(info.kind), name
    found = samples(families)
    labels = (("model", "shown"), ("version", "2"))
    assert found["model_predictions_total", labels] == 3
    assert found["model_ready", labels] == 1
    assert found["model_info", (("framework", "onnx"), *labels)] == 1
    assert found["model_accelerator_seconds_total", (("basis", "reported"), ("gpu", "0"), *labels)] == 0.25


def test_openmetrics_is_parsed_and_says_the_same(recorded):
    """The strict parser takes it, `# EOF` and all."""
    _, headers, body = scrape(OPENMETRICS)
    assert headers[b"content-type"].startswith(b"application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    text = samples(parse_text(scrape()[2].decode()))
    assert samples(parse_openmetrics(body.decode())) == text


def test_classic_buckets_are_exact_at_their_bounds(recorded):
    """le="0.001" counts the value 0.001 and not 0.0011."""
    found = samples(parse_text(scrape()[2].decode()))
    for le in (0.001, 0.0025, 0.05, 0.1, 60.0):
        key = (("le", str(le)), ("model", "shown"), ("stage", "inference"), ("version", "2"))
        assert found["model_stage_duration_seconds_bucket", key] == bisect_right(DURATIONS, le)
    key = (("le", "+Inf"), ("model", "shown"), ("stage", "inference"), ("version", "2"))
    assert found["model_stage_duration_seconds_bucket", key] == len(DURATIONS)


def test_bounds_named_by_the_user_are_the_ones_shown():
    """An SLA threshold of 80 ms can be asked for exactly."""
    with isolated(buckets=[0.08, 0.3]):
        with ninesight.call("named"):
            pass
        bounds = {
            sample.labels["le"]
            for family in parse_text(scrape()[2].decode())
            for sample in family.samples
            if sample.name == "model_request_duration_seconds_bucket" and sample.labels["model"] == "named"
        }
    assert bounds == {"0.08", "0.3", "+Inf"}


def test_the_collector_registers_beside_others_and_shows_each_call_at_once(recorded):
    """As a custom collector of prometheus_client; a scrape aggregates first."""
    registry = CollectorRegistry()
    registry.register(ninesight.collector())
    labels = {"model": "shown", "version": "2", "outcome": "ok", "served_by": "model"}
    assert registry.get_sample_value("model_requests_total", labels) == 1
    with ninesight.call("shown", "2"):
        pass
    assert registry.get_sample_value("model_requests_total", labels) == 2
    assert b"# TYPE model_request_duration_seconds histogram" in generate_latest(registry)


def test_protobuf_is_decoded_and_says_the_same(recorded):
    """An independent decoder finds the counters, classic buckets and native buckets of the snapshot."""
    status, headers, body = scrape(PROTOBUF)
    assert (status, headers[b"content-type"]) == (
        200,
        b"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    )
    families = decode_families(body)
    assert [family[1][0].decode() for family in families] == list(METRICS)
    duration = families[list(METRICS).index("model_stage_duration_seconds")]
    metrics = [decode(metric) for metric in duration[4]]
    native = decode(metrics[-1][7][0])
    value = next(
        point.value
        for family in recorded().families
        if family.name == "model_stage_duration_seconds"
        for point in family.histograms
    )
    assert native[1] == [value.count]
    assert native[5] == [value.schema * 2]  # Zigzag.
    assert tuple(decode(bucket)[1][0] for bucket in native[3]) == value.cumulative
    assert native_buckets(native) == value.positive


def native_buckets(native):
    """Undo spans and deltas as Prometheus does."""
    deltas = zigzags(native[13][0])
    index, count, found = 0, 0, []
    for span in map(decode, native[12]):
        offset, length = span[1][0], span[2][0]
        index += offset // 2 if offset % 2 == 0 else -(offset + 1) // 2
        for _ in range(length):
            count += deltas.pop(0)
            if count:
                found.append((index, count))
            index += 1
    assert not deltas
    return tuple(found)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def zigzags(data):
    values, at = [], 0
    while at < len(data):
        value, at = read_varint(data, at)
        values.append(value // 2 if value % 2 == 0 else -(value + 1) // 2)
    return values


def decode(data):
    """Decode a message into {field number: [raw values]}."""
    fields, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 1:
            value, at = data[at : at + 8], at + 8
        else:
            size, at = read_varint(data, at)
            value, at = data[at : at + size], at + size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def decode_families(body):
    families, at = [], 0
    while at < len(body):
        size, at = read_varint(body, at)
        families.append(decode(body[at : at + size]))
        at += size
    return families


@given(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1))
def test_varints_read_back(unsigned, signed):
    """The wire's integers, to both ends of 64 bits."""
    assert read_varint(varint(unsigned), 0) == (unsigned, len(varint(unsigned)))
    assert zigzags(field_sint(1, signed)[1:]) == [signed]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        (PROTOBUF, True),
        (f"{PROTOBUF},{OPENMETRICS};q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        (f"{OPENMETRICS},{PROTOBUF};q=0.5", False),
        (f"{PROTOBUF};q=0", False),
        (f"{PROTOBUF};q=often", False),
        ("application/vnd.google.protobuf", False),
        ("application/vnd.google.protobuf;proto=other.Message;encoding=delimited", False),
    ],
)
def test_protobuf_is_sent_only_to_who_asks_for_it(accept, wanted):
    """By quality, as a scraper ranks them."""
    assert wants_protobuf(accept) is wanted


def test_the_app_compresses_and_knows_its_methods(recorded):
    """gzip where it is taken, HEAD without a body, 405 with what is allowed."""
    _, headers, body = scrape(extra=[(b"accept-encoding", b"gzip, deflate")])
    assert headers[b"content-encoding"] == b"gzip"
    assert int(headers[b"content-length"]) == len(body)
    assert b"model_requests_total" in gzip.decompress(body)
    status, headers, body = scrape(method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers[b"content-length"]) > 0
    status, headers, body = scrape(method="POST")
    assert (status, headers[b"allow"], body) == (405, b"GET, HEAD", b"metrics are read by GET\n")


def wsgi(accept="", method="GET", encoding=""):
    """Ask the WSGI app as a server would; return (status, headers, body)."""
    told = []
    environ = {"REQUEST_METHOD": method, "HTTP_ACCEPT": accept, "HTTP_ACCEPT_ENCODING": encoding}
    body = b"".join(ninesight.metrics_wsgi_app()(environ, lambda *said: told.append(said)))
    ((status, headers),) = told
    return status, dict(headers), body


@pytest.mark.parametrize("accept", ["", OPENMETRICS, PROTOBUF])
def test_wsgi_and_asgi_say_the_same(recorded, accept):
    """Each format, by the same Accept header, byte by byte but for the moment it was made."""
    status, headers, body = wsgi(accept)
    assert status == "200 OK"
    _, others, other = scrape(accept)
    assert headers["Content-Type"] == others[b"content-type"].decode()
    assert (len(body), body[:200]) == (len(other), other[:200])
    assert int(headers["Content-Length"]) == len(body)


def test_the_wsgi_app_compresses_and_knows_its_methods(recorded):
    """As the other one does."""
    _, headers, body = wsgi(encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert b"model_requests_total" in gzip.decompress(body)
    status, headers, body = wsgi(method="HEAD")
    assert (status, body, int(headers["Content-Length"]) > 0) == ("200 OK", b"", True)
    status, headers, _ = wsgi(method="POST")
    assert (status, headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD")


def test_a_program_without_http_is_scraped_on_a_port_of_its_own(recorded):
    """Several scrapers at once; a taken port is told at start; after `close` nobody answers."""
    server = ninesight.serve_metrics(0)
    url = f"http://127.0.0.1:{server.port}/metrics"
    try:
        # A connection that says nothing holds up nobody.
        with (
            socket.create_connection(("127.0.0.1", server.port)),
            urllib.request.urlopen(url, timeout=60) as answer,
        ):
            assert b'model_predictions_total{model="shown",version="2"} 3.0' in answer.read()
        with pytest.raises(OSError):
            ninesight.serve_metrics(server.port)
    finally:
        server.close()
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=2)
