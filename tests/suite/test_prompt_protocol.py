"""Replies without a task: the same bytes as by one, in the same order, and the connection lives on as ever."""

import contextlib
import logging
import re
import socket
import struct
import threading
import time

import pytest
from ninesight_query import LocalEngine
from ninesight_query.http import BearerGuard, Direct, EnginePool, HttpSettings, routes
from ninesight_query.http.handler import Endpoint
from ninesight_query.http.pace import Pace
from ninesight_query.http.queries import Queries, instant_question, range_question
from ninesight_store import LocalStore, labels_of
from ninesight_store.testing import batch_of
from ninesight_suite.http_server import HttpServer
from ninesight_suite.one_write import OneWriteProtocol
from ninesight_suite.prompt_protocol import PromptProtocol
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

MINUTE = 60_000
END = 40 * MINUTE
DATE = re.compile(rb"date: [^\r]*\r\n")
UP = "/api/v1/query?query=up"
RANGE = "/api/v1/query_range?query=up&start=0&end=2400&step=15"


class Server(HttpServer):
    """The suite's server in a thread."""

    def capture_signals(self):
        """Signals belong to the main thread."""
        return contextlib.nullcontext()


@contextlib.contextmanager
def serving(app, *, tasks=False, **options):
    """An application on the suite's server, or with a task for each request; yields (port, server)."""
    server = Server(app, protocol=OneWriteProtocol if tasks else PromptProtocol, **options)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_on, args=(listener,))
    thread.start()
    until(lambda: server.started)
    try:
        yield listener.getsockname()[1], server
    finally:
        server.stop()
        thread.join(60)
    assert not thread.is_alive()


def until(condition):
    """Wait for a condition, at most 60 s."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """(the API over a store whose light queries were asked before, its pool)"""
    folder = tmp_path_factory.mktemp("prompt")
    with LocalStore(f"sqlite:///{folder}/one.db", now_ms=lambda: END) as store:
        for k in range(41):
            store.write(
                batch_of({labels_of("up", {"job": job}): [(k * MINUTE, float(job == "a"))] for job in "abcd"})
            )
        pool = EnginePool(2, 1024)
        engine, limits = LocalEngine(store, busy_s=lambda: 0.0), HttpSettings()
        # A busy machine is not what is tested: everything is fast.
        instants = Queries(engine, lambda params: instant_question(params, END), Pace(fast_s=60.0))
        ranges = Queries(engine, lambda params: range_question(params, limits), Pace(fast_s=60.0))
        found = [
            Route(f"/api/v1/{path}", Endpoint(answer, limits, pool, prompt=answer), methods=["GET", "POST"])
            for path, answer in (("query", instants), ("query_range", ranges))
        ]
        found += routes(engine, pool=pool, now_ms=lambda: END)
        app = Direct(Starlette(routes=found), found)
        with serving(app) as (port, _):
            for path in (UP, RANGE, UP.replace("up", "1")):
                exchange(port, asked(path))
        yield app, pool
        pool.close()


def asked(path, method="GET", version="1.1", body=b"", **headers):
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def replies(client, count, *, head=False):
    """Read so many replies; returns their bytes, one by one."""
    got, out = b"", []
    while len(out) < count:
        at = got.find(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", got[: max(at, 0)])
        size = at + 4 + (int(length[1]) if length and not head else 0)
        if at >= 0 and len(got) >= size:
            out.append(got[:size])
            got = got[size:]
            continue
        piece = client.recv(1 << 16)
        assert piece, (out[-1:], got[-200:])
        got += piece
    assert not got
    return out


def exchange(port, request, *, head=False):
    """Ask on a connection of its own; returns (the reply without its date, whether the server closed behind it)."""
    with connect(port) as client:
        client.sendall(request)
        (reply,) = replies(client, 1, head=head)
        client.settimeout(0.05 if b"connection: close" not in reply else 60)
        try:
            closed = client.recv(10) == b""
        except TimeoutError:
            closed = False
    return DATE.sub(b"", reply), closed


ALONE = [
    (asked(UP), True),
    (asked(UP, Accept_Encoding="gzip"), True),
    (asked(RANGE), True),
    (asked(RANGE, Accept_Encoding="gzip"), True),
    (asked(UP + "&timeout=10s&limit=1"), True),
    (asked(UP, Connection="close"), True),
    (asked(UP, version="1.0"), True),
    (asked(UP, version="1.0", Connection="keep-alive"), True),
    (asked(UP, body=b"12345", Content_Length=5), True),
    (asked(UP, Expect="100-continue"), False),
    (asked(UP, "HEAD"), False),
    (asked(UP, "HEAD", Connection="close"), False),
    (asked("/api/v1/query", "POST", body=b"query=1", Content_Length=7), False),
    (asked(UP + "&time=x"), False),
    (asked(UP + "&timeout=0"), False),
    (asked("/api/v1/query"), False),
    (asked("/api/v1/query?query=%ff"), False),
    (asked("/api/v1/labels"), False),
    (asked("/nothing"), False),
    (asked("/-/ready"), False),
]


class Counting:
    """Passes everything on, and counts the tasks."""

    def __init__(self, app):
        self.app, self.at_once, self.tasks = app, app.at_once, 0

    async def __call__(self, scope, receive, send):
        self.tasks += 1
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def both(api):
    """The API on two servers, by tasks and at once: (port, server, application) of each."""
    apps = [Counting(api[0]) for _ in range(2)]
    with serving(apps[0], tasks=True) as by_tasks, serving(apps[1]) as at_once:
        yield [(*by_tasks, apps[0]), (*at_once, apps[1])]


@pytest.mark.parametrize(("request_bytes", "at_once"), ALONE)
def test_the_bytes_are_those_of_a_task(both, request_bytes, at_once):
    """Status, headers in their order, body, and what becomes of the connection."""
    found = []
    for port, server, app in both:
        app.tasks, before = 0, server.server_state.total_requests
        found.append(exchange(port, request_bytes, head=request_bytes.startswith(b"HEAD")))
        assert server.server_state.total_requests == before + 1
    assert found[0] == found[1]
    assert [app.tasks for _, _, app in both] == [1, 0 if at_once else 1]


def test_a_kept_connection_serves_on(api):
    """At once and by tasks in turn, on one connection, whatever came before."""
    app, pool = api
    with serving(app) as (port, server), connect(port) as client:
        before = pool.at_once_total
        for _ in range(3):
            for request in (asked(UP), asked("/api/v1/labels"), asked(UP, body=b"GET /", Content_Length=5)):
                client.sendall(request)
                assert b"200 OK" in replies(client, 1)[0]
        assert pool.at_once_total == before + 6
        assert server.server_state.total_requests == 9


@contextlib.contextmanager
def logged(caplog):
    """Let the fixture hear the server, whose records go no further than its own handlers."""
    log = logging.getLogger("uvicorn.error")
    log.addHandler(caplog.handler)
    try:
        yield
    finally:
        log.removeHandler(caplog.handler)


def numbered(k):
    """A query whose answer is its number: every third one needs a worker."""
    text = f"max_over_time(vector({k})[1m:1m])" if k % 3 == 2 else f"{k}"
    return asked(f"/api/v1/query?query={text}")


def number_in(reply):
    return int(re.search(rb'"(\d+)"\]', reply)[1])


@pytest.mark.parametrize("first", [0, 1, 2])
def test_pipelined_requests_are_answered_in_order(api, first):
    """Many in one piece: those answered at once do not overtake those that wait, and one of a piece is answered so."""
    app, pool = api
    numbers = list(range(first, first + 300))
    with serving(app) as (port, _), connect(port) as client:
        for _ in range(2):
            client.sendall(b"".join(map(numbered, numbers)))
            assert [number_in(reply) for reply in replies(client, len(numbers))] == numbers
    assert pool.pending == 0


def test_others_are_served_during_a_burst():
    """Who sends a thousand requests in one piece is answered one by one, and others in between."""
    calls = []

    class Noting:
        """Answers everything at once, and notes who asked."""

        def at_once(self, scope):
            calls.append(("at once", scope["path"]))
            return Response(scope["path"])

        async def __call__(self, scope, receive, send):
            calls.append(("task", scope["path"]))
            await Response(scope["path"])(scope, receive, send)

    with serving(Noting()) as (port, _), connect(port) as client:
        client.sendall(b"".join(asked(f"/{k}") for k in range(1000)))
        bodies = [reply.rpartition(b"\r\n\r\n")[2] for reply in replies(client, 1000)]
    assert bodies == [b"/%d" % k for k in range(1000)]
    assert [path for _, path in calls] == [f"/{k}" for k in range(1000)]
    # One of each piece that was read; the buffer for reading takes at least 64 KiB.
    assert calls[0][0] == "at once"
    assert sum(way == "at once" for way, _ in calls) < 20


def test_nothing_is_answered_behind_the_last_request(api):
    """What comes in the same piece behind `Connection: close` is neither answered nor worked on."""
    app, pool = api
    found = []
    for tasks in (True, False):
        with serving(app, tasks=tasks) as (port, _), connect(port) as client:
            done = pool.done_total
            client.sendall(asked(UP, Connection="close") + asked("/api/v1/labels") + asked(UP))
            found.append(DATE.sub(b"", b"".join(iter(lambda: client.recv(1 << 16), b""))))
            assert pool.done_total == done
    assert found[0] == found[1]
    assert found[0].count(b"200 OK") == 1


def test_the_token_comes_first_and_refusals_are_counted_once(api):
    """Who may not ask gets the 401 of a task; who may is answered at once."""
    app, pool = api
    guard = BearerGuard(app, "secret")
    with serving(guard) as (port, _):
        before = pool.at_once_total
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            reply, _ = exchange(port, asked(UP, **headers))
            assert reply.startswith(b"HTTP/1.1 401")
            assert b"www-authenticate" in reply
        assert (guard.refused_total, pool.at_once_total) == (3, before)
        reply, _ = exchange(port, asked(UP, Authorization="Bearer secret"))
        assert reply.startswith(b"HTTP/1.1 200")
        assert (guard.refused_total, pool.at_once_total) == (3, before + 1)


def test_what_fails_at_once_is_logged_and_asked_again_by_a_task(caplog):
    """An error there costs no reply."""

    class Failing:
        """Cannot do what it promises."""

        def at_once(self, scope):
            raise ValueError(scope["path"])

        async def __call__(self, scope, receive, send):
            await Response("well")(scope, receive, send)

    with serving(Failing()) as (port, server), logged(caplog):
        assert exchange(port, asked("/x"))[0].endswith(b"well")
        assert server.server_state.total_requests == 1
    assert "answering /x at once" in caplog.text


def test_a_log_of_accesses_holds_every_request(api):
    """Who wants one gets a task for each request: uvicorn writes it."""
    app = Counting(api[0])
    with serving(app) as (port, server):
        server.config.access_log = True
        exchange(port, asked(UP))
    assert app.tasks == 1


def test_too_many_connections_are_refused_as_ever(api):
    """The limit comes before any answer."""
    app, pool = api
    before, found = pool.at_once_total, []
    for tasks in (True, False):
        with serving(app, tasks=tasks) as (port, server):
            server.config.limit_concurrency = 1
            found.append(exchange(port, asked(UP)))
    assert found[0] == found[1]
    assert found[0][0].startswith(b"HTTP/1.1 503")
    assert pool.at_once_total == before


def test_a_silent_connection_is_closed_and_an_idle_one_ends_with_the_server(api):
    """The keep-alive time starts with a reply at once, too; the stop waits for nobody."""
    app, _ = api
    with serving(app, keep_alive_s=1) as (port, server), connect(port) as client:
        client.sendall(asked(UP))
        replies(client, 1)
        assert client.recv(10) == b""
        until(lambda: not server.server_state.connections)
    with serving(app, keep_alive_s=600, drain_s=600) as (port, server), connect(port) as client:
        client.sendall(asked(UP))
        replies(client, 1)
        server.stop()
        assert client.recv(10) == b""


def test_who_leaves_right_after_asking_does_no_harm(api, caplog):
    """A reset before the reply, behind it, and in a burst: the server goes on, and forgets the connections."""
    app, pool = api
    with serving(app) as (port, server), logged(caplog):
        for k in range(90):
            client = connect(port)
            client.sendall(asked(RANGE) * (1 + k % 3 * 20))
            if k % 2:
                client.recv(1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        assert b"200 OK" in exchange(port, asked(UP))[0]
        until(lambda: not server.server_state.connections)
        until(lambda: not server.server_state.tasks)
    assert pool.pending == 0
    assert not caplog.records


def test_who_does_not_read_is_not_answered_for_ever(api):
    """A full buffer holds the requests back; read at last, every one has its reply."""
    app, _ = api
    with serving(app) as (port, server), connect(port) as client:
        client.settimeout(0.5)
        request, sent, part = asked(RANGE, Padding="x" * 4000), 0, b""
        with contextlib.suppress(TimeoutError):
            while sent < 50_000:
                part = request
                while part:
                    part = part[client.send(part) :]
                sent += 1
        assert 0 < server.server_state.total_requests < sent < 50_000
        client.settimeout(60)
        sender = threading.Thread(target=client.sendall, args=(part,))
        sender.start()
        found = replies(client, sent + bool(part))
        sender.join(60)
    assert len({DATE.sub(b"", reply) for reply in found}) == 1
