"""A client that goes away: its query ends, its place is free again, and it is counted."""

import contextlib
import json
import socket
import threading
import time
import urllib.request
from random import Random
from urllib.parse import quote

import pytest
import uvicorn
from ninesight_query import LocalEngine, QueryCancelledError, RemoteEngine, RemoteSettings, cancelling
from ninesight_query.http import EnginePool, HttpSettings, routes
from ninesight_query.testing import store_over
from starlette.applications import Starlette

LOAD = """
load 1m
  up{job="a"} 1x10
  down{job="a"} 1x10
"""


class SlowSource:
    """A store whose reads wait until they are let go, and are counted."""

    def __init__(self):
        self._store = store_over(LOAD)
        self.go = threading.Event()
        self.reads = 0

    def select(self, matchers, start_ms, end_ms):
        self.reads += 1
        self.go.wait(120)
        return self._store.select(matchers, start_ms, end_ms)

    def __getattr__(self, name):
        return getattr(self._store, name)


@contextlib.contextmanager
def serving(source, engine=None, *, workers=1, queue=4):
    """A real server over the source, or over another engine in front of it; yields (port, pool)."""
    pool = EnginePool(workers, queue)
    asked = engine or LocalEngine(source)
    app = Starlette(routes=routes(asked, pool=pool, settings=HttpSettings(), now_ms=lambda: 600_000))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1], pool
    finally:
        source.go.set()
        server.should_exit = True
        thread.join(60)
        pool.close()


def until(condition):
    """Wait for a condition, at most 60 s."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def asking(port, query, method="GET"):
    """Send a request and return the open socket."""
    client = socket.create_connection(("127.0.0.1", port))
    form = f"query={quote(query)}"
    head = f"{method} /api/v1/query{'?' + form if method == 'GET' else ''} HTTP/1.1\r\nHost: x\r\n"
    if method == "POST":
        head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n"
    client.sendall((head + "\r\n" + (form if method == "POST" else "")).encode())
    return client


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_closed_socket_ends_the_evaluation(method):
    """Once the client is gone nothing more is read, whatever the query still needs."""
    source = SlowSource()
    with serving(source) as (port, pool):
        client = asking(port, "sum(up) + sum(down)", method)
        until(lambda: source.reads == 1)
        client.close()
        until(lambda: pool.cancelled_total == 1)
        source.go.set()
        until(lambda: pool.pending == 0)
        assert source.reads == 1
        assert pool.timed_out_total == 0


def test_one_that_went_while_waiting_is_never_evaluated():
    """A query in the queue whose client left takes no worker and no read; others go on."""
    source = SlowSource()
    with serving(source) as (port, pool):
        first = asking(port, "up")
        until(lambda: source.reads == 1)
        second = asking(port, "down")
        until(lambda: pool.pending == 2)
        second.close()
        until(lambda: pool.cancelled_total == 1)
        source.go.set()
        assert b"200 OK" in first.recv(4096)
        first.close()
        until(lambda: pool.pending == 0)
        assert source.reads == 1
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query=up", timeout=60) as reply:
            assert len(json.load(reply)["data"]["result"]) == 1


def test_a_clients_timeout_ends_the_evaluation_too():
    """After `timeout` the answer is 503, and the engine stops at its next look."""
    source = SlowSource()
    with serving(source) as (port, pool):
        query = quote("sum(up) + sum(down)")
        late = socket.create_connection(("127.0.0.1", port))
        late.sendall(f"GET /api/v1/query?query={query}&timeout=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(lambda: source.reads == 1)
        assert b"503" in late.recv(4096)
        late.close()
        assert (pool.timed_out_total, pool.cancelled_total) == (1, 0)
        source.go.set()
        until(lambda: pool.pending == 0)
        assert source.reads == 1


def test_a_server_behind_us_is_told_too():
    """A client of a suite that asks another server goes: the connection to that server closes, and it stops as well."""
    source = SlowSource()
    with contextlib.ExitStack() as stack:
        far_port, far = stack.enter_context(serving(source))
        engine = RemoteEngine(RemoteSettings(f"http://127.0.0.1:{far_port}"))
        stack.callback(engine.close)
        port, near = stack.enter_context(serving(source, engine))
        client = asking(port, "sum(up) + sum(down)")
        until(lambda: source.reads == 1)
        client.close()
        until(lambda: near.cancelled_total == 1)
        # Its worker is free again although the server has not answered.
        until(lambda: near.pending == 0)
        until(lambda: far.cancelled_total == 1)
        source.go.set()
        until(lambda: far.pending == 0)
        assert source.reads == 1


def test_a_remote_question_is_stopped_while_the_server_thinks():
    """QueryCancelledError soon after the switch, the connection closed; the next question takes a new one."""
    stop, closed = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def peer():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            stop.set()
            while connection.recv(65_536):
                pass
            closed.set()

    thread = threading.Thread(target=peer)
    thread.start()
    engine = RemoteEngine(RemoteSettings(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=600.0))
    with cancelling(stop), pytest.raises(QueryCancelledError, match="while its answer was awaited"):
        engine.metadata()
    assert closed.wait(60)
    engine.close()
    thread.join(60)
    listener.close()


def test_many_come_and_go_and_every_place_is_given_back():
    """Clients that leave before, while and after their turn: each is counted once, and no place is lost."""
    source, random = SlowSource(), Random(7)
    with serving(source, workers=2, queue=64) as (port, pool):
        clients = [asking(port, "sum(up) + sum(down)", random.choice(["GET", "POST"])) for _ in range(40)]
        until(lambda: pool.pending == 40)
        random.shuffle(clients)
        for client in clients[:30]:
            client.close()
        until(lambda: pool.cancelled_total == 30)
        source.go.set()
        for client in clients[30:]:
            assert b"200 OK" in client.recv(4096)
            client.close()
        until(lambda: pool.pending == 0)
        assert (pool.done_total, pool.cancelled_total, pool.refused_total) == (40, 30, 0)
        # Two reads of each that was answered, at most one of each of the two that ran when their client left.
        assert 20 <= source.reads <= 22
