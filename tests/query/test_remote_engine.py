"""The remote engine against servers that refuse, break, stall, drip and lie: real sockets, real HTTP."""

import gzip
import http.server
import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from ninesight_query import (
    DeadlineError,
    ExecutionError,
    Histogram,
    LimitError,
    ParseError,
    QueryError,
    RemoteEngine,
    RemoteSettings,
    UnavailableError,
)
from ninesight_query.contract import Answer
from ninesight_query.encode import encode_answer, encode_histogram
from ninesight_query.histogram_bounds import upper_bounds
from ninesight_query.http.catalogue import unescape_label
from ninesight_query.parse import parse_selector
from ninesight_query.remote.histograms import histogram_of
from ninesight_query.remote.reader import AnswerReader
from ninesight_query.remote.selectors import escaped_label, selector_text
from ninesight_query.remote.servers import server_of
from ninesight_query.testing import matrix_of
from ninesight_store.contract import Matcher, MatchOp

VECTOR = {"status": "success", "data": {"resultType": "vector", "result": []}}
BUILD = {"status": "success", "data": {"version": "3.1.0"}}


class Peer:
    """A server that answers what a test says, and remembers what it was asked."""

    def __init__(self):
        self.script = []
        self.asked = []
        self.connections = set()
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                peer.connections.add(self.client_address)
                body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                if self.path.endswith("/buildinfo"):
                    return self.reply(200, BUILD)
                peer.asked.append((self.command, self.path, body, dict(self.headers)))
                step = peer.script.pop(0) if len(peer.script) > 1 else peer.script[0]
                return step(self)

            do_GET = do_POST = handle_any

            def reply(self, status, body, headers=()):
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # A client that left in time is what these tests want.
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(60)


def say(status, body, headers=()):
    """A step of a script: this reply."""
    return lambda handler: handler.reply(status, body, headers)


def hang_up(handler):
    """A step of a script: the connection ends without a word."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def peer():
    found = Peer()
    yield found
    found.close()


@pytest.fixture
def engine_on():
    """Make engines that are closed in the end; the waits between tries are recorded, not slept."""
    made = []

    def make(url, **settings):
        waits = []
        engine = RemoteEngine(RemoteSettings(url, **{"timeout_s": 20.0, **settings}), sleep=waits.append)
        engine.waits = waits
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


def refused(kind, message):
    """Prometheus' error envelope."""
    return {"status": "error", "errorType": kind, "error": message}


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, refused("bad_data", 'invalid parameter "query": 1:4: parse error'), ParseError, "1:4: parse error"),
        (400, refused("bad_data", "exceeded maximum resolution of 11,000 points"), LimitError, "resolution"),
        (422, refused("execution", "found duplicate series for the match group"), ExecutionError, "duplicate"),
        (422, refused("execution", "query processing would load too many samples into memory"), LimitError, "too"),
        (422, refused("422", "cannot evaluate: duplicate time series"), ExecutionError, "duplicate"),
        (422, refused("422", "too many points for the given step=1"), LimitError, "too many points"),
        (503, refused("timeout", "query timed out in expression evaluation"), DeadlineError, "timed out"),
        (503, refused("canceled", "query was canceled"), UnavailableError, "canceled"),
        (500, refused("internal", "boom"), ExecutionError, "boom"),
        (401, b"Unauthorized", UnavailableError, "query.bearer_token"),
        (403, b"no", UnavailableError, "query.tenant"),
        (404, b"404 page not found", UnavailableError, "query.url"),
        (429, refused("too_many_requests", "slow down"), UnavailableError, "429"),
        (400, b"<html>Bad Request</html>", UnavailableError, "<html>"),
        (418, b"\xff\xfe", UnavailableError, "418"),
        (302, b"", UnavailableError, "redirects to nowhere"),
        (200, b"<html>login</html>", UnavailableError, "query.url"),
        (200, b'{"status":"success"}', UnavailableError, "query.url"),
        (200, b'{"status":"success","data":[]}', UnavailableError, "query.url"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}', UnavailableError, ""),
        (200, b'{"status":"success","data":{"resultType":"tensor","result":[]}}', UnavailableError, "tensor"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}',
         UnavailableError, "Prometheus HTTP API"),
        (200, b"[]", UnavailableError, "query.url"),
        (200, b"", UnavailableError, "query.url"),
    ],
)  # fmt: skip
def test_refusals_become_ours(peer, engine_on, status, body, kind, words):
    """Each refusal and each lie is exactly one error of our tree, with words, after one question."""
    peer.script = [say(status, body)]
    with pytest.raises(QueryError) as found:
        engine_on(peer.url).instant("up", 1000)
    assert type(found.value) is kind, found.value
    assert words in str(found.value)
    assert len(peer.asked) == 1


@pytest.mark.parametrize(
    "fault", [hang_up, say(503, refused("unavailable", "starting")), say(503, b"busy"), say(502, b"")]
)
def test_a_passing_fault_is_asked_again(peer, engine_on, fault):
    """A dropped connection, 502 and 503 are tried again after growing waits, and the answer is the answer."""
    peer.script = [fault, fault, say(200, {**VECTOR, "warnings": ["w"], "infos": ["i"]})]
    engine = engine_on(peer.url)
    answer = engine.instant("up", 1000)
    assert (answer.warnings, answer.infos) == (("w",), ("i",))
    assert len(peer.asked) == 3
    assert engine.waits == [0.1, 0.2]
    assert engine.retries_total == 2


def test_a_lasting_fault_is_told(peer, engine_on):
    """After the last try the fault is UnavailableError with the server's name."""
    peer.script = [say(503, refused("unavailable", "compacting"))]
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1.*503.*compacting"):
        engine_on(peer.url, retries_max=1).range("up", 0, 1000, 1000)
    assert len(peer.asked) == 2


def test_nobody_there(engine_on):
    """A port where nobody listens is UnavailableError, and its abilities are unknown, not an error."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        engine = engine_on(f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert engine.capabilities.name == "remote"
        with pytest.raises(UnavailableError, match="is it running"):
            engine.instant("up", 0)
        for ask in (engine.metadata, lambda: engine.series((), 0, 1), lambda: engine.label_names((), 0, 1)):
            with pytest.raises(UnavailableError):
                ask()


def test_a_stalled_server_is_left(peer, engine_on):
    """No answer within the time is DeadlineError, and is not asked again."""
    release = threading.Event()
    peer.script = [lambda handler: (release.wait(120), handler.reply(200, VECTOR))]
    try:
        with pytest.raises(DeadlineError, match=r"within 1 s"):
            engine_on(peer.url, timeout_s=1.0).instant("up", 0)
        assert len(peer.asked) == 1
    finally:
        release.set()


def test_a_dripping_server_is_left(peer, engine_on):
    """A body that comes byte by byte ends at the deadline, though every single read is in time."""
    ended = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        try:
            while not ended.wait(0.02):
                handler.wfile.write(b" ")
                handler.wfile.flush()
        except OSError:
            handler.close_connection = True

    peer.script = [drip]
    began = time.monotonic()
    try:
        with pytest.raises(DeadlineError):
            engine_on(peer.url, timeout_s=0.4).instant("up", 0)
        assert time.monotonic() - began < 60
    finally:
        ended.set()


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_too_large_is_refused(peer, engine_on, packed):
    """A body over the cap, a small one that inflates included, is LimitError that names the key."""
    body = json.dumps({**VECTOR, "warnings": ["x" * 200_000]}).encode()
    peer.script = [
        say(200, gzip.compress(body), [("Content-Encoding", "gzip")]) if packed else say(200, body)
    ]
    with pytest.raises(LimitError, match=r"at most 100000 bytes.*query\.response_bytes_max"):
        engine_on(peer.url, response_bytes_max=100_000).instant("up", 0)
    assert engine_on(peer.url, response_bytes_max=400_000).instant("up", 0).warnings


def test_too_many_samples_are_refused(peer, engine_on):
    """Samples over the cap are LimitError, and so are few points on a huge grid."""
    rows = [{"metric": {"k": str(k)}, "values": [[k, "1"]]} for k in range(50)]
    peer.script = [say(200, {"status": "success", "data": {"resultType": "matrix", "result": rows}})]
    with pytest.raises(LimitError, match="at most 40 samples"):
        engine_on(peer.url, samples_max=40).range("up", 0, 49_000, 1000)
    with pytest.raises(LimitError, match="got 50 x 50"):
        engine_on(peer.url, samples_max=100).range("up", 0, 49_000, 1000)
    assert engine_on(peer.url).range("up", 0, 49_000, 1000).value.present.sum() == 50


def test_points_beside_the_grid_are_refused(peer, engine_on):
    """A server that moves the steps is not believed."""
    row = {"metric": {}, "values": [[10.5, "1"]]}
    peer.script = [say(200, {"status": "success", "data": {"resultType": "matrix", "result": [row]}})]
    with pytest.raises(ExecutionError, match="10500 ms"):
        engine_on(peer.url).range("up", 10_000, 20_000, 1000)


def test_logins_are_sent_and_never_told(peer, engine_on, caplog):
    """Token, user and tenant go out as headers; no repr, error or log line holds a secret."""
    caplog.set_level(logging.DEBUG)
    peer.script = [say(401, b"no")]
    with pytest.raises(UnavailableError) as one:
        engine_on(peer.url, bearer_token="s3cret-token", tenant="team-a").instant("up", 0)
    with pytest.raises(UnavailableError) as two:
        engine_on(peer.url, username="ann", password="s3cret-word").instant("up", 0)
    first, second = (headers for *_, headers in peer.asked)
    assert first["Authorization"] == "Bearer s3cret-token"
    assert first["X-Scope-OrgID"] == "team-a"
    assert second["Authorization"] == "Basic YW5uOnMzY3JldC13b3Jk"
    told = repr(RemoteSettings(peer.url, bearer_token="s3cret-token", password="s3cret-word"))
    for text in (told, str(one.value), str(two.value), caplog.text):
        assert "s3cret" not in text
        assert "YW5uOnMz" not in text


def test_questions_are_forms(peer, engine_on):
    """Queries and selectors go out as POST forms with exact times; a path before the API is kept."""
    peer.script = [say(200, {"status": "success", "data": {"resultType": "matrix", "result": []}})]
    engine_on(peer.url + "/prometheus").range('up{a="&=+ö"}', 1_234_567, 2_000_001, 33_300)
    method, path, body, headers = peer.asked[0]
    assert (method, path) == ("POST", "/prometheus/api/v1/query_range")
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "start=1234.567&end=2000.001&step=33300ms" in body
    assert "%26%3D%2B" in body


def test_connections_are_reused(peer, engine_on):
    """Forty questions of four threads need no more connections than are allowed."""
    peer.script = [say(200, VECTOR)]
    engine = engine_on(peer.url, connections_max=2)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at_ms: engine.instant("up", at_ms), range(40)))
    assert len(peer.asked) == 40
    assert len(peer.connections) <= 2


def test_a_partial_answer_warns(peer, engine_on):
    """VictoriaMetrics' cluster says that nodes are missing; so do we."""
    peer.script = [say(200, {**VECTOR, "isPartial": True})]
    assert "partial" in engine_on(peer.url).instant("up", 0).warnings[0]


def test_a_text_only_the_server_knows_goes_through(peer, engine_on):
    """What our parser does not read is the server's to judge, and its order is kept."""
    rows = [{"metric": {"k": name}, "value": [1, "1"]} for name in "ba"]
    peer.script = [say(200, {"status": "success", "data": {"resultType": "vector", "result": rows}})]
    value = engine_on(peer.url).instant("range_median(up)", 1000).value
    assert [dict(labels)["k"] for labels in value.labels] == ["b", "a"]


@pytest.mark.parametrize(
    ("build", "headers", "name", "native"),
    [
        ({"version": "3.14.0"}, {}, "prometheus", True),
        ({"version": "2.42.0+ds"}, {}, "prometheus", True),
        ({"version": "2.31.1"}, {}, "prometheus", False),
        ({}, {}, "prometheus", True),
        ({"application": "Grafana Mimir", "version": "2.10.0", "features": {"x": "1"}}, {}, "mimir", True),
        ({"application": "ninesight", "version": "3.14.0", "features": {}}, {}, "ninesight", True),
        ({}, {"x-server-hostname": "h"}, "victoriametrics", False),
        ({"version": "2.24.0"}, {"x-server-hostname": "h"}, "victoriametrics", False),
    ],
)
def test_servers_are_known(build, headers, name, native):
    """Each kind of server is known by what it says of itself."""
    found = server_of(build, headers).capabilities
    assert (found.name, found.native_histograms) == (name, native)
    assert native or any("native histograms" in each for each in found.differences)


def test_a_server_is_asked_who_it_is_again(engine_on):
    """A server that was not there at first is known once it is; attempts keep their distance."""
    clock = [0.0]
    peer = Peer()
    peer.script = [say(200, VECTOR)]
    port = peer.server.server_address[1]
    peer.close()
    engine = RemoteEngine(
        RemoteSettings(f"http://127.0.0.1:{port}"), sleep=lambda _: None, clock_s=lambda: clock[0]
    )
    try:
        assert engine.capabilities.name == "remote"
        handler = peer.server.RequestHandlerClass
        with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as again:
            thread = threading.Thread(target=again.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            assert engine.capabilities.name == "remote"
            clock[0] = 11.0
            assert engine.capabilities.name == "prometheus"
            engine.close()
            again.shutdown()
            thread.join(10)
    finally:
        engine.close()


counts = st.lists(st.integers(0, 1000).map(float), min_size=1, max_size=12)


@given(
    schema=st.integers(-4, 8),
    positive=st.tuples(st.integers(-60, 60), counts),
    negative=st.tuples(st.integers(-60, 60), counts),
    threshold=st.sampled_from([0.0, 1e-128, 0.001]),
    zero=st.integers(0, 9).map(float),
)
def test_histograms_survive_the_wire(schema, positive, negative, threshold, zero):
    """Encoded as JSON and read again, a histogram has the same edges and counts."""
    sent = Histogram(
        schema,
        9.0,
        2.5,
        threshold,
        zero,
        positive[0],
        np.array(positive[1]),
        negative[0],
        np.array(negative[1]),
    )
    # No bucket of a real histogram lies within its zero bucket.
    for start, run in (positive, negative):
        filled = np.flatnonzero(run)
        assume(not len(filled) or upper_bounds(schema, start + int(filled[0]), 1)[0] > threshold)
        # Nor above the bucket that begins at the largest float.
        assume(not len(filled) or np.isfinite(upper_bounds(schema, start + int(filled[-1]) - 1, 1)[0]))
    found = histogram_of(orjson.loads(encode_histogram(sent)))
    assert (found.count, found.sum) == (9.0, 2.5)
    assert orjson.loads(encode_histogram(found)) == orjson.loads(encode_histogram(sent))


@given(
    bounds=st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=8, unique=True),
    filled=st.lists(st.integers(0, 5).map(float), min_size=9, max_size=9),
)
def test_custom_histograms_survive_the_wire(bounds, filled):
    """Custom bounds too: every count keeps its edges."""
    edges = tuple(sorted({each + 0.0 for each in bounds}))
    sent = Histogram(-53, sum(filled), 1.0, positive=np.array(filled[: len(edges) + 1]), bounds=edges)
    found = histogram_of(orjson.loads(encode_histogram(sent)))
    told = [pair[1:] for pair in orjson.loads(encode_histogram(sent)).get("buckets", [])]
    assert [pair[1:] for pair in orjson.loads(encode_histogram(found)).get("buckets", [])] == told


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"count": "1"},
        {"count": "x", "sum": "1"},
        {"count": "1", "sum": "1", "buckets": [[0, "2", "1", "1"]]},
        {"count": "1", "sum": "1", "buckets": [[0, "NaN", "1", "1"]]},
        {"count": "1", "sum": "1", "buckets": [[0, "1"]]},
        {"count": "1", "sum": "1", "buckets": [[0, "1", "3", "1"], [0, "2", "4", "1"]]},
        {
            "count": "1",
            "sum": "1",
            "buckets": [[0, "1e-300", "1.0027112750502025e-300", "1"], [0, "1", "2", "1"]],
        },
    ],
)
def test_ill_formed_histograms_are_refused(told):
    """What is no histogram is an error or a small value, never a huge one."""
    try:
        found = histogram_of(told)
    except (ValueError, TypeError, KeyError):
        return
    assert len(found.positive) < 10_000


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(st.tuples(texts, st.floats()), max_size=6, unique_by=lambda each: each[0]), st.integers(1, 40)
)
def test_any_cut_of_a_body_reads_the_same(rows, size):
    """Labels with any text, in a body cut anywhere, come back as they were."""
    sent = {(("k", text),): [value, None, value] for text, value in rows if text}
    body = encode_answer(Answer(matrix_of(0, 1000, sent), ("w",)))
    reader = AnswerReader(1000)
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    assert reader.end()["warnings"] == ["w"] if sent else reader.end()
    found = {row.labels: (row.timestamps.tolist(), row.values.tolist()) for row in reader.rows}
    assert found.keys() == sent.keys()
    for labels, points in sent.items():
        assert found[labels][0] == [0, 2000]
        np.testing.assert_array_equal(found[labels][1], [points[0], points[2]])


def test_a_body_with_spaces_is_read():
    """JSON in another layout is the same JSON."""
    body = json.dumps(
        {"status": "success", "data": {"resultType": "matrix", "result": [
            {"metric": {"k": name}, "values": [[1, "2"], [2, "NaN"]]} for name in "abc"
        ]}},
        indent=2,
    ).encode()  # fmt: skip
    reader = AnswerReader(100)
    reader.feed(body)
    reader.end()
    assert [row.timestamps.tolist() for row in reader.rows] == [[1000, 2000]] * 3


@given(st.lists(st.tuples(texts.filter(bool), st.sampled_from(MatchOp), texts), max_size=4))
def test_selectors_are_read_as_they_were_written(given_):
    """The text of matchers parses to the same matchers; a label's path name to the label."""
    matchers = tuple(Matcher(*each) for each in given_ if each[1] in (MatchOp.EQUAL, MatchOp.NOT_EQUAL))
    needed = (*matchers, Matcher("__name__", MatchOp.EQUAL, "up"))
    assert set(parse_selector(selector_text(needed))) == set(needed)
    for name, *_ in given_:
        if not name.startswith("U__"):
            assert unescape_label(escaped_label(name)) == name
