"""The HTTP API on a real server, asked by a plain client and by promtool."""

import contextlib
import gzip
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import uvicorn
from ninesight_query.contract import Answer, Metadata, Scalar
from ninesight_query.engine import LocalEngine
from ninesight_query.errors import DeadlineError, ExecutionError
from ninesight_query.http import EnginePool, HttpSettings, routes
from ninesight_query.promqltest.load import Loader
from ninesight_query.promqltest.script import parse_script
from ninesight_store.testing import MemoryStore
from starlette.applications import Starlette

NOW_MS = 600_000
LOADED = """load 15s
  up{job="a", instance="1"} 1x40
  up{job="b", instance="2"} 0x40
  requests_total{job="a"} 0+3x40
  latency{job="a"} {{schema:0 count:4 sum:5 buckets:[1 2 1]}}x40
  "odd": 1
"""


@contextlib.contextmanager
def serving(engine, settings=None):
    """A real server on a free port; yields its address and closes server and threads after."""
    limits = settings or HttpSettings()
    pool = EnginePool(limits.workers_max, limits.queue_max)
    app = Starlette(routes=routes(engine, settings=limits, now_ms=lambda: NOW_MS, pool=pool))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        pool.close()


@pytest.fixture(scope="module")
def store():
    store = MemoryStore()
    (load,) = parse_script(LOADED.replace('  "odd": 1\n', '  {"odd.name", "k.l"="v"} 1x40\n'))
    Loader(store).load(load)
    return store


@pytest.fixture(scope="module")
def address(store):
    with serving(LocalEngine(store)) as address:
        yield address


def ask(address, path, params=(), method="GET", headers=None, body=None):
    """Send one request; returns (status, headers, body)."""
    query = urllib.parse.urlencode(params, doseq=True)
    url = f"{address}{path}"
    if method == "POST" and body is None:
        body = query.encode()
    elif query:
        url += "?" + query
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def data(address, path, params=(), **more):
    """The data of a successful reply."""
    status, _, body = ask(address, path, params, **more)
    assert status == 200, body
    return json.loads(body)["data"]


def error(address, path, params=(), **more):
    """(status, errorType, message) of a failed reply."""
    status, headers, body = ask(address, path, params, **more)
    assert headers["content-type"] == "application/json"
    reply = json.loads(body)
    assert reply["status"] == "error"
    return status, reply["errorType"], reply["error"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_instant_query(address, method):
    """GET and form POST give the same vector; the time defaults to now."""
    found = data(address, "/api/v1/query", {"query": 'up{job="a"}'}, method=method)
    assert found == {
        "resultType": "vector",
        "result": [{"metric": {"__name__": "up", "instance": "1", "job": "a"}, "value": [600, "1"]}],
    }


def test_grafanas_health_check(address):
    """1+1 at four seconds after the epoch is a scalar, with no data at that time."""
    assert data(address, "/api/v1/query", {"query": "1+1", "time": "4"}) == {
        "resultType": "scalar",
        "result": [4, "2"],
    }
    info = data(address, "/api/v1/status/buildinfo")
    assert info["version"]
    assert info["features"] == {}


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        ("0", "60", "15"),
        ("1970-01-01T00:00:00Z", "1970-01-01T01:01:00+01:00", "15s"),
        ("0.0", "60.000", "1.5e1"),
    ],
)
def test_a_range_query(address, start, end, step):
    """Times as unix seconds or RFC 3339, steps as seconds or durations."""
    params = {"query": "requests_total", "start": start, "end": end, "step": step}
    (row,) = data(address, "/api/v1/query_range", params)["result"]
    assert row["values"] == [[0, "0"], [15, "3"], [30, "6"], [45, "9"], [60, "12"]]


def test_native_histograms_over_http(address):
    """A vector has "histogram", a matrix "histograms"; quantiles of it are plain values."""
    (row,) = data(address, "/api/v1/query", {"query": "latency"})["result"]
    assert row["histogram"][1]["buckets"] == [[0, "0.5", "1", "1"], [0, "1", "2", "2"], [0, "2", "4", "1"]]
    params = {"query": "latency", "start": "0", "end": "15", "step": "15"}
    (row,) = data(address, "/api/v1/query_range", params)["result"]
    assert [point[0] for point in row["histograms"]] == [0, 15]
    assert "values" not in row
    (row,) = data(address, "/api/v1/query", {"query": "histogram_quantile(0.5, latency)"})["result"]
    assert float(row["value"][1]) == pytest.approx(2**0.5)


def test_raw_samples(address):
    """A range selector as an instant query gives a matrix of raw samples."""
    found = data(address, "/api/v1/query", {"query": "requests_total[31s]", "time": "30"})
    assert found["resultType"] == "matrix"
    assert found["result"][0]["values"] == [[0, "0"], [15, "3"], [30, "6"]]


def test_the_catalogue(address):
    """Series, label names and label values, with selectors and limits."""
    found = data(address, "/api/v1/series", {"match[]": ["up", "requests_total"]})
    assert [row["__name__"] for row in found] == ["requests_total", "up", "up"]
    assert data(address, "/api/v1/labels") == ["__name__", "instance", "job", "k.l"]
    assert data(address, "/api/v1/labels", {"match[]": "requests_total"}, method="POST") == [
        "__name__",
        "job",
    ]
    assert data(address, "/api/v1/label/job/values") == ["a", "b"]
    assert data(address, "/api/v1/label/job/values", {"match[]": 'up{instance="2"}'}) == ["b"]
    assert data(address, "/api/v1/label/U__k_2e_l/values") == ["v"]
    reply = json.loads(ask(address, "/api/v1/series", {"match[]": "up", "limit": "1"})[2])
    assert len(reply["data"]) == 1
    assert reply["warnings"] == ["results truncated due to limit"]
    assert data(address, "/api/v1/series", {"match[]": "up", "start": "90000", "end": "99999"}) == []


def test_results_are_cut_at_a_limit(address):
    """`limit` keeps the first series of vectors and matrices and says so."""
    for path, params in (
        ("/api/v1/query", {}),
        ("/api/v1/query_range", {"start": "0", "end": "30", "step": "15"}),
    ):
        reply = json.loads(ask(address, path, {"query": "up", "limit": "1", **params})[2])
        assert len(reply["data"]["result"]) == 1
        assert reply["warnings"] == ["results truncated due to limit"]


def test_warnings_and_infos_are_told(address):
    """What the engine has to say stands beside the data."""
    reply = json.loads(ask(address, "/api/v1/query", {"query": "histogram_quantile(2, latency)"})[2])
    assert "quantile value should be between 0 and 1" in reply["warnings"][0]
    assert json.loads(ask(address, "/api/v1/query", {"query": "rate(up[1m])"})[2])["infos"]


@pytest.mark.parametrize(
    ("path", "params", "words"),
    [
        ("/api/v1/query", {}, 'invalid parameter "query": it must be given'),
        ("/api/v1/query", {"query": "up +"}, "up +"),
        ("/api/v1/query", {"query": "up", "time": "noon"}, "unix seconds or RFC 3339, got 'noon'"),
        ("/api/v1/query", {"query": "up", "time": "1_0"}, "unix seconds"),
        ("/api/v1/query", {"query": "up", "timeout": "-1s"}, "a duration must be seconds or like 5m"),
        ("/api/v1/query", {"query": "up", "limit": "x"}, "whole number from 0 on, got 'x'"),
        ("/api/v1/query_range", {"query": "up", "start": "0", "end": "1"}, '"step": it must be given'),
        ("/api/v1/query_range", {"query": "up", "start": "9", "end": "1", "step": "1"}, "must not be before start"),
        ("/api/v1/query_range", {"query": "up", "start": "0", "end": "1", "step": "0"}, "zero or negative query resolution"),
        ("/api/v1/query_range", {"query": "up", "start": "0", "end": "11001", "step": "1"}, "resolution of 11,000 points"),
        ("/api/v1/series", {}, "no match[] parameter provided"),
        ("/api/v1/series", {"match[]": "up["}, 'invalid parameter "match[]"'),
        ("/api/v1/label/U___zz_/values", {}, "U__ with _hex_"),
    ],
)  # fmt: skip
def test_bad_parameters(address, path, params, words):
    """400 bad_data, and the message says what must hold and what was given."""
    status, kind, message = error(address, path, params)
    assert (status, kind) == (400, "bad_data")
    assert words in message


@pytest.mark.parametrize("huge", ["1e308", "-1e308", "1e400"])
def test_times_beyond_all_numbers_are_cut_or_refused(address, huge):
    """A time or step too large for a number of milliseconds is no internal error."""
    status = ask(address, "/api/v1/query", {"query": "up", "time": huge})[0]
    assert status == (400 if huge == "1e400" else 200)
    params = {"query": "up", "start": "0", "end": "1", "step": huge}
    assert ask(address, "/api/v1/query_range", params)[0] == (200 if huge == "1e308" else 400)


def test_a_query_that_this_data_has_no_answer_to(address):
    """422 execution."""
    status, kind, message = error(address, "/api/v1/query", {"query": "up + on() up"})
    assert (status, kind) == (422, "execution")
    assert "many-to-many" in message


def test_bodies_must_be_forms_of_a_bounded_size(store):
    """413 over the cap, 400 for another content type, too many fields or broken encodings."""
    with serving(LocalEngine(store), HttpSettings(body_bytes_max=200, fields_max=5)) as address:
        path = "/api/v1/query"
        status, kind, message = error(address, path, body=b"query=" + b"a" * 500, method="POST")
        assert (status, kind) == (413, "bad_data")
        assert "at most 200 bytes" in message
        status, _, message = error(
            address, path, body=b"{}", method="POST", headers={"content-type": "application/json"}
        )
        assert status == 400
        assert "must be application/x-www-form-urlencoded" in message
        assert error(address, path, body=b"a=1&" * 9, method="POST")[0] == 400
        assert error(address, path, body=b"query=%ff", method="POST")[0] == 400
        assert error(address, path, body=b"query=\xff", method="POST")[0] == 400
        assert data(address, path, {"query": "1"})["result"][1] == "1"


def test_a_body_must_arrive(store):
    """408 for a body that does not come; a client that leaves half way is no error of ours."""
    with serving(LocalEngine(store), HttpSettings(body_timeout_s=1.0)) as address:
        port = int(address.rpartition(":")[2])
        head = (
            b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
            slow.sendall(head + b"Content-Length: 99\r\n\r\nquery=")
            assert b" 408 " in slow.recv(4096).partition(b"\r\n")[0]
        with socket.create_connection(("127.0.0.1", port), timeout=60) as gone:
            gone.sendall(head + b"Content-Length: 99\r\n\r\nquery=")
        assert data(address, "/api/v1/query", {"query": "1"})["result"][1] == "1"


def test_long_lists_are_cut(store):
    """A cap holds where no limit is given, and above it; the reply says so."""
    with serving(LocalEngine(store), HttpSettings(items_max=2)) as address:
        for path, params in (
            ("/api/v1/labels", {}),
            ("/api/v1/labels", {"limit": "9"}),
            ("/api/v1/series", {"match[]": '{job=~".+"}'}),
            ("/api/v1/label/__name__/values", {"limit": "0"}),
        ):
            reply = json.loads(ask(address, path, params)[2])
            assert len(reply["data"]) == 2
            assert reply["warnings"] == ["results truncated due to limit"]


def test_replies_are_compressed_for_those_who_ask(address):
    """gzip where it is accepted and the reply is large; never else."""
    params = {"query": "requests_total", "start": "0", "end": "600", "step": "1"}
    _, headers, plain = ask(address, "/api/v1/query_range", params)
    assert headers["content-encoding"] is None
    _, headers, packed = ask(
        address, "/api/v1/query_range", params, headers={"accept-encoding": "br, gzip;q=0.5"}
    )
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == plain
    _, headers, _ = ask(address, "/api/v1/query_range", params, headers={"accept-encoding": "gzip;q=0"})
    assert headers["content-encoding"] is None
    _, headers, _ = ask(address, "/api/v1/query", {"query": "1"}, headers={"accept-encoding": "gzip"})
    assert headers["content-encoding"] is None


def test_health(address):
    """Both probes answer 200 in words."""
    for path in ("/-/healthy", "/-/ready"):
        status, _, body = ask(address, path)
        assert status == 200
        assert body.startswith(b"Ninesight is")


class SlowEngine:
    """An engine whose queries wait until they are let go."""

    def __init__(self):
        self.go = threading.Event()
        self.error = None

    def instant(self, query, at_ms):
        if query == "wait":
            self.go.wait(120)
        if self.error:
            raise self.error
        return Answer(Scalar(at_ms, 1.0))

    def metadata(self):
        return (Metadata("up", "gauge", "", "Is it up?"), Metadata("x", "counter"))


def until(condition):
    """Wait for a condition, at most 60 s."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_full_queue_is_answered_503():
    """One query runs, one waits, the third is refused at once; places come back."""
    engine = SlowEngine()
    pool = EnginePool(1, 1)
    app = Starlette(routes=routes(engine, pool=pool, now_ms=lambda: 0))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    waiting = [
        threading.Thread(target=ask, args=(address, "/api/v1/query", {"query": "wait"})) for _ in range(2)
    ]
    for one in waiting:
        one.start()
    until(lambda: pool.pending == 2)
    status, kind, message = error(address, "/api/v1/query", {"query": "1"})
    assert (status, kind, pool.refused_total) == (503, "unavailable", 1)
    assert "at most 2 queries" in message
    engine.go.set()
    until(lambda: pool.pending == 0)
    assert data(address, "/api/v1/query", {"query": "1"})["result"] == [0, "1"]
    for one in waiting:
        one.join(60)
    server.should_exit = True
    thread.join(60)
    pool.close()


def test_a_query_that_runs_too_long_is_answered_503():
    """The client's timeout ends the wait; the message says the limit."""
    engine = SlowEngine()
    with serving(engine) as address:
        status, kind, message = error(address, "/api/v1/query", {"query": "wait", "timeout": "50ms"})
        assert (status, kind) == (503, "timeout")
        assert "within 0.05 s" in message
        engine.go.set()


@pytest.mark.parametrize(
    ("raised", "status", "kind", "words"),
    [
        (ExecutionError("no"), 422, "execution", "no"),
        (DeadlineError("late"), 503, "timeout", "late"),
        (KeyError("secret"), 500, "internal", "KeyError"),
        (TimeoutError("socket"), 500, "internal", "TimeoutError"),
    ],
)
def test_errors_of_the_engine(raised, status, kind, words):
    """Each kind has its status; what is no error of ours tells its class only."""
    engine = SlowEngine()
    engine.error = raised
    with serving(engine) as address:
        found = error(address, "/api/v1/query", {"query": "1"})
        assert found[:2] == (status, kind)
        assert words in found[2]
        assert "secret" not in found[2]


def test_metadata():
    """Type, help and unit of each metric; one on request."""
    with serving(SlowEngine()) as address:
        assert data(address, "/api/v1/metadata", {"metric": "up"}) == {
            "up": [{"type": "gauge", "help": "Is it up?", "unit": ""}]
        }
        assert len(data(address, "/api/v1/metadata")) == 2
        assert len(data(address, "/api/v1/metadata", {"limit": "1"})) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_queries_are_formatted_and_parsed(address, method):
    """Laid out as text, and as a tree; what is no PromQL is bad data with its place."""
    status, _, body = ask(address, "/api/v1/format_query", {"query": "sum(up)by(job)#x"}, method)
    assert (status, json.loads(body)) == (200, {"status": "success", "data": "sum by (job) (up)"})
    status, _, body = ask(address, "/api/v1/parse_query", {"query": "-up"}, method)
    assert status == 200
    assert json.loads(body)["data"]["expr"]["name"] == "up"
    for path, query in (("format", "up +"), ("parse", "rate(up)"), ("parse", "up" + "+up" * 300)):
        status, _, body = ask(address, f"/api/v1/{path}_query", {"query": query}, method)
        assert (status, json.loads(body)["errorType"]) == (400, "bad_data")


def promtool(real, *arguments):
    """Run `promtool query`; returns its output."""
    command = [real("prometheus", "promtool"), "query", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_promtool_instant_and_range(address, real):
    """Debian's promtool understands our answers."""
    out = promtool(real, "instant", "--time=600", address, "increase(requests_total[75s])")
    assert out == '{job="a"} => 15 @[600]\n'
    out = promtool(real, "range", "--start=0", "--end=30", "--step=15s", address, "requests_total")
    assert out == 'requests_total{job="a"} =>\n0 @[0]\n3 @[15]\n6 @[30]\n'
    assert promtool(real, "instant", "--time=600", address, "1 + 1") == "scalar: 2 @[600]\n"


def test_promtool_series_and_labels(address, real):
    """Listing works over a span of time."""
    out = promtool(real, "series", "--match=up", "--start=0", "--end=600", address)
    assert out.splitlines() == [
        '{__name__="up", instance="1", job="a"}',
        '{__name__="up", instance="2", job="b"}',
    ]
    assert promtool(real, "labels", "--start=0", "--end=600", address, "job").split() == ["a", "b"]
