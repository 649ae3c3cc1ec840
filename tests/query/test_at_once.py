"""Answers that hold nobody up: the same as any other, given only where all that they need is at hand."""

import asyncio
import contextlib
import gzip
import json
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlencode

import pytest
import uvicorn
from ninesight_query import EngineSettings, LocalEngine
from ninesight_query.contract import AtOnce
from ninesight_query.http import (
    BearerGuard,
    Direct,
    EnginePool,
    HttpSettings,
    PromptApp,
    at_once_of,
    routes,
)
from ninesight_query.http.handler import Endpoint
from ninesight_query.http.pace import Pace
from ninesight_query.http.queries import Queries, instant_question, range_question
from ninesight_query.testing import ScriptedEngine, store_over
from ninesight_store import STALE_NAN, LocalStore, labels_of
from ninesight_store.testing import batch_of
from starlette.applications import Starlette
from starlette.routing import Route

MINUTE = 60_000
END = 40 * MINUTE
LIGHT = [
    "up == 0",
    'absent(up{job="x"})',
    "sum by (job) (rate(hits_total[5m])) / sum by (job) (rate(hits_total[5m] offset 10m))",
    "topk(2, hits_total)",
    "changes(up[15m]) > 2",
    "1 + 1",
]
HEAVY = [
    "max_over_time(sum(up)[10m:1m])",
    "up[5m]",
    "hits_total smoothed",
    'label_replace(up, "a", "$1", "job", "(.*)")',
    "histogram_quantile(0.9, hits_total)",
    'count_values("v", up)',
    "up offset (1m + step())",
    " + ".join(["up"] * 40),
    f'up{{job="{"x" * 2000}"}}',
    "up{",
]


def fill(store):
    """Two jobs, a sample a minute."""
    for k in range(41):
        values = {labels_of("up", {"job": job}): [(k * MINUTE, float(job == "a"))] for job in "ab"}
        values |= {
            labels_of("hits_total", {"job": job, "path": path}): [(k * MINUTE, 3.0 * k)]
            for job in "ab"
            for path in "xyz"
        }
        store.write(batch_of(values))


@pytest.fixture
def store(tmp_path):
    with LocalStore(f"sqlite:///{tmp_path}/one.db", now_ms=lambda: END) as opened:
        fill(opened)
        yield opened


def engine_of(store, settings=None, busy_s=lambda: 0.0):
    return LocalEngine(store, settings, busy_s=busy_s)


@pytest.mark.parametrize("query", LIGHT)
def test_what_was_read_before_is_answered_at_once(store, query):
    """Not the first time; then instants and ranges, and they say what a waiting asker is told."""
    engine = engine_of(store)
    assert isinstance(engine, AtOnce)
    if "up" in query or "hits" in query:
        assert engine.instant_at_once(query, END) is None
    instant = engine.instant(query, END)
    found = engine.instant_at_once(query, END)
    assert found.value.__class__ is instant.value.__class__
    assert repr(found.value) == repr(instant.value)
    assert (found.warnings, found.infos) == (instant.warnings, instant.infos)
    ranged = engine.range(query, 20 * MINUTE, END, MINUTE)
    assert repr(engine.range_at_once(query, 20 * MINUTE, END, MINUTE).value) == repr(ranged.value)


@pytest.mark.parametrize("query", HEAVY)
def test_what_may_take_long_is_never_answered_at_once(store, query):
    """By its parts: subqueries, raw samples, extended windows, functions of labels and histograms, long texts."""
    engine = engine_of(store)
    with contextlib.suppress(Exception):
        engine.instant(query, END)
    assert engine.instant_at_once(query, END) is None
    assert engine.range_at_once(query, 0, END, MINUTE) is None
    assert engine.load == (0, 0)


def test_a_commit_is_seen(store, tmp_path):
    """What this process or another wrote since is read first, by somebody who can wait."""
    engine = engine_of(store)
    with LocalStore(f"sqlite:///{tmp_path}/one.db") as other:
        for writer, value in ((store, 5.0), (other, 7.0)):
            engine.instant("up", END)
            assert engine.instant_at_once("up", END) is not None
            writer.write(batch_of({labels_of("up", {"job": "c"}): [(END - MINUTE // 2 + int(value), value)]}))
            assert engine.instant_at_once("up", END) is None
            assert engine.instant("up", END).value.values[2] == value
            assert engine.instant_at_once("up", END).value.values[2] == value


def test_stale_markers_are_taken_out_before(store):
    """They are seen in instants; windows wait until somebody took them out."""
    store.write(batch_of({labels_of("up", {"job": "a"}): [(END, STALE_NAN)]}))
    engine = engine_of(store)
    assert len(engine.instant("up", END).value.labels) == 1
    assert len(engine.instant_at_once("up", END).value.labels) == 1
    assert engine.instant_at_once("changes(up[15m])", END) is None
    wanted = engine.instant("changes(up[15m])", END)
    assert repr(engine.instant_at_once("changes(up[15m])", END).value) == repr(wanted.value)


def test_histograms_are_left_to_others():
    """A selector that finds any is never at hand; nor is one of a store that keeps nothing."""
    engine = LocalEngine(store_over("load 1m\n  h {{schema:0 count:4 sum:5 buckets:[1 2 1]}}x10\n  up 1x10"))
    for query in ("h", "up"):
        engine.instant(query, 5 * MINUTE)
        assert engine.instant_at_once(query, 5 * MINUTE) is None


def test_native_histograms_in_a_store_are_left_to_others(tmp_path):
    """The same where covers are kept."""
    with LocalStore(f"sqlite:///{tmp_path}/one.db") as store:
        store_over("load 1m\n  h {{schema:0 count:4 sum:5 buckets:[1 2 1]}}x10", store)
        engine = engine_of(store)
        assert engine.instant("h", 5 * MINUTE).value.histograms
        assert engine.instant_at_once("h", 5 * MINUTE) is None


def test_the_time_is_limited(store):
    """Two milliseconds of work, then it is given up, and nothing is held any more; waiting is no work."""
    now, busy = [0.0], [0.0]

    def clock():
        now[0] += 0.0001
        return now[0]

    def work():
        busy[0] += 0.001
        return busy[0]

    long = " + ".join(["sum(up)"] * 6)
    for busy_s, given_up in ((work, True), (lambda: 0.0, False)):
        engine = LocalEngine(store, clock_s=clock, busy_s=busy_s)
        engine.instant(long, END)
        assert (engine.instant_at_once(long, END) is None) is given_up
        assert engine.load == (0, 0)
        engine.instant("up", END)
        assert engine.instant_at_once("up", END) is not None


def test_limits_and_places_hold(store):
    """Its own small limits, the engine's, and no place is taken from those that wait."""
    engine = engine_of(store, EngineSettings(samples_max=100))
    query = "sum(count_over_time(hits_total[10m]))"
    engine.instant(query, END)
    assert engine.instant_at_once(query, END) is not None
    assert engine.range_at_once("up", 0, END, 100) is None
    assert engine.range_at_once("up", END, 0, 100) is None
    narrow = engine_of(store, EngineSettings(queries_max=1))
    narrow.instant("up", END)
    with narrow._gate.place(1.0, lambda: 0.0, lambda: False):
        assert narrow.instant_at_once("up", END) is None
        assert narrow.load == (1, 0)
    assert narrow.instant_at_once("up", END) is not None
    assert narrow.load == (0, 0)


def test_the_pace_is_that_of_the_last_time():
    """Fast for as many steps as were fast, until it was slow or given up; the oldest go."""
    pace = Pace(fast_s=0.5)
    assert pace.fast_up_to("a") == -1
    pace.took("a", 10, 0.4)
    assert pace.fast_up_to("a") == 10
    pace.took("a", 20, 0.6)
    assert pace.fast_up_to("a") == 10
    pace.took("a", 5, 0.6)
    assert pace.fast_up_to("a") == -1
    pace.took("a", 5, 0.1)
    pace.forget("a")
    assert pace.fast_up_to("a") == -1
    pace.took("x" * 2001, 0, 0.1)
    assert pace.fast_up_to("x" * 2001) == -1
    for k in range(5000):
        pace.took(str(k), 0, 0.1)
    assert (pace.fast_up_to("0"), pace.fast_up_to("4999"), len(pace._steps)) == (-1, 0, 4096)


@contextlib.contextmanager
def serving(engine, fast_s=60.0):
    """Both kinds of queries on a real server; yields its address and its pool."""
    limits, pool = HttpSettings(), EnginePool(2, 8)
    instants = Queries(engine, lambda params: instant_question(params, END), Pace(fast_s=fast_s))
    ranges = Queries(engine, lambda params: range_question(params, limits), Pace(fast_s=fast_s))
    routes = [
        Route(f"/api/v1/{path}", Endpoint(answer, limits, pool, prompt=answer), methods=["GET", "POST"])
        for path, answer in (("query", instants), ("query_range", ranges))
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), host="127.0.0.1", port=0, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/api/v1/", pool
    finally:
        server.should_exit = True
        thread.join(20)
        pool.close()


def ask(address, path, fields, *, post=False, headers=None):
    """Send one request; returns (status, headers without date, body)."""
    form = urlencode(fields)
    request = urllib.request.Request(
        address + path + ("" if post else "?" + form), form.encode() if post else None, headers or {}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            found = reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        found = error.code, dict(error.headers), error.read()
    found[1].pop("date")
    return found


@pytest.mark.parametrize("post", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_the_reply_is_the_same_at_once(store, post, packed):
    """Status, headers and body, by GET and by form, plain and compressed, with limit and lookback."""
    span = {"start": 0, "end": END // 1000, "step": 60}
    asked = [
        ("query", {"query": "hits_total"}),
        ("query", {"query": "hits_total", "limit": 2, "lookback_delta": "30s"}),
        ("query", {"query": "2 ^ 10"}),
        ("query_range", {"query": "rate(hits_total[5m])", **span}),
        ("query_range", {"query": "rate(hits_total[5m])", **span, "timeout": "10s", "limit": 1}),
    ]
    headers = {"Accept-Encoding": "gzip"} if packed else {}
    with serving(engine_of(store)) as (address, pool):
        for path, fields in asked:
            before = pool.at_once_total
            first = ask(address, path, fields, post=post, headers=headers)
            again = [ask(address, path, fields, post=post, headers=headers) for _ in range(2)]
            assert again == [first, first]
            assert first[0] == 200
            assert pool.at_once_total >= before + 2
    assert pool.done_total + pool.at_once_total == 3 * len(asked)


def test_more_steps_than_before_go_to_a_worker(store):
    """A text that was fast for few steps is asked at its own pace for many."""
    with serving(engine_of(store)) as (address, pool):
        for end_s, at_once in ((600, 0), (600, 1), (300, 2), (1200, 2), (1200, 3)):
            ask(address, "query_range", {"query": "up", "start": 0, "end": end_s, "step": 60})
            assert pool.at_once_total == at_once


def test_new_samples_are_in_the_next_reply(store):
    """What was written after an answer is in the next one, and that one is given by a worker."""
    fields = {"query": "up", "time": END // 1000 + 60}
    with serving(engine_of(store)) as (address, pool):
        for value in (5, 6):
            replies = [ask(address, "query", fields)[2] for _ in range(2)]
            assert replies[0] == replies[1]
            done = pool.done_total
            store.write(batch_of({labels_of("up", {"job": "a"}): [(END + value * 1000, float(value))]}))
            body = ask(address, "query", fields)[2]
            assert json.loads(body)["data"]["result"][0]["value"][1] == str(value)
            assert pool.done_total == done + 1


def test_errors_are_told_by_a_worker(store):
    """What goes wrong is answered as ever, though the text was fast before."""
    with serving(engine_of(store)) as (address, pool):
        for _ in range(2):
            ask(address, "query", {"query": "up"})
        for fields, status in (
            ({"query": "up", "time": "x"}, 400),
            ({"query": "up", "timeout": "0"}, 503),
            ({"query": "up", "limit": "-1"}, 400),
            ({"query": "up{"}, 400),
            ({}, 400),
        ):
            assert [ask(address, "query", fields)[0] for _ in range(2)] == [status, status], fields
        assert pool.at_once_total == 1


def test_what_was_slow_is_not_tried(store):
    """Beyond the pace every answer is a worker's."""
    with serving(engine_of(store), fast_s=-1.0) as (address, pool):
        for _ in range(3):
            ask(address, "query", {"query": "up"})
        assert (pool.at_once_total, pool.done_total) == (0, 3)


def test_engines_that_wait_are_left_to_workers():
    """An engine that cannot answer at once is never asked to."""
    with serving(ScriptedEngine({"up": 1.0})) as (address, pool):
        bodies = [ask(address, "query", {"query": "up"})[2] for _ in range(3)]
        assert bodies[0] == bodies[2]
        assert (pool.at_once_total, pool.done_total) == (0, 3)


class Noting:
    """A prompt that answers one query only, and notes what it was asked."""

    def __init__(self):
        self.asked, self.taken = [], []

    def at_once(self, asked):
        text = asked.params.first("query")
        self.asked.append(text)
        return b"{}" if text == "ready" else None

    def took(self, asked, spent_s):
        self.taken.append(asked.params.first("query"))


class Text(bytes):
    """A query string that counts its readers."""

    reads = 0

    def decode(self, *given):
        self.reads += 1
        return super().decode(*given)


def test_a_request_is_tried_once():
    """Outside of a task or in it; what was read of it then is not read again, and what is wrong is told by the call."""
    prompt, pool = Noting(), EnginePool(1, 1)
    endpoint = Endpoint(lambda asked: b"{}", HttpSettings(), pool, prompt=prompt)

    def given(query):
        """The reply outside of a task, else the status in one; queries tried, readings of the parameters."""
        text, prompt.asked = Text(query), []
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": text, "headers": []}
        sent = []

        async def send(message):
            sent.append(message.get("status"))

        at_once = endpoint.at_once(scope)
        if at_once is None:
            asyncio.run(endpoint(scope, None, send))
        return at_once and at_once.body, sent[:1], prompt.asked, text.reads

    assert given(b"query=ready") == (b"{}", [], ["ready"], 1)
    assert given(b"query=slow") == (None, [200], ["slow"], 1)
    assert given(b"query=ready&timeout=0.004") == (None, [200], [], 1)
    assert given(b"query=ready&timeout=x") == (None, [400], [], 2)
    assert given(b"query=%ff") == (None, [400], [], 2)
    assert (pool.at_once_total, pool.done_total) == (1, 2)
    assert prompt.taken == ["slow", "ready"]
    pool.close()


def test_what_stands_around_passes_the_question_on():
    """Who is not an application of this kind has nothing at once, and neither has a guard around it."""
    app = Starlette()
    scope = {"type": "http", "method": "GET", "path": "/api/v1/query", "root_path": "", "headers": []}
    assert not isinstance(app, PromptApp)
    assert at_once_of(app)(scope) is None
    assert BearerGuard(app, "t", {"/api/v1/query"}).at_once(scope) is None
    direct = Direct(app, routes(ScriptedEngine({})))
    assert isinstance(BearerGuard(direct, "t"), PromptApp)
    assert direct.at_once(scope | {"path": "/"}) is None
    assert direct.at_once(scope | {"root_path": "/below"}) is None
    assert direct.at_once(scope | {"type": "websocket"}) is None


def test_small_replies_are_not_compressed(store):
    """As ever: from the same size on."""
    with serving(engine_of(store)) as (address, _):
        for _ in range(2):
            _, headers, body = ask(address, "query", {"query": "up"}, headers={"Accept-Encoding": "gzip"})
            assert "content-encoding" not in headers
            assert json.loads(body)["status"] == "success"
        fields = {"query": "hits_total", "start": 0, "end": END // 1000, "step": 15}
        for _ in range(2):
            _, headers, body = ask(address, "query_range", fields, headers={"Accept-Encoding": "gzip"})
            assert headers["content-encoding"] == "gzip"
            assert len(json.loads(gzip.decompress(body))["data"]["result"]) == 6
