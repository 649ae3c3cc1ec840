"""A reply goes out in one piece, and everything that is no small reply goes out as it comes."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest
import uvicorn
from ninesight_suite.one_write import Gathered, OneWriteProtocol


class Recorder:
    """A transport that notes what it is told."""

    def __init__(self):
        self.told = []

    def write(self, data):
        self.told.append(data)

    def close(self):
        self.told.append("close")

    def is_closing(self):
        return "close" in self.told


def gathered(steps):
    """What a transport is told, turn by turn, when some steps are taken in the first one."""

    async def run():
        transport = Recorder()
        steps(Gathered(transport, asyncio.get_running_loop()))
        first = list(transport.told)
        await asyncio.sleep(0)
        return first, transport.told

    return asyncio.run(run())


def test_what_is_written_in_one_turn_is_one_write():
    """Nothing in the turn itself, one piece after it."""

    def steps(transport):
        transport.write(b"head")
        transport.write(b"body")
        assert not transport.is_closing()

    assert gathered(steps) == ([], [b"headbody"])


def test_closing_and_flushing_write_first():
    """What is held is never lost, and never written twice."""

    def steps(transport):
        transport.write(b"a")
        transport.flush()
        transport.write(b"b")
        transport.close()

    assert gathered(steps) == ([b"a", b"b", "close"], [b"a", b"b", "close"])


def test_a_closed_transport_is_told_nothing():
    """A client that left while replies waited for their turn: they go nowhere, and raise nothing."""

    def steps(transport):
        transport.write(b"a")
        transport._transport.close()
        transport.flush()
        transport.write(b"b")

    assert gathered(steps) == (["close"], ["close"])


def test_what_is_written_now_comes_behind_what_is_held():
    """In order, and without waiting for the end of the turn."""

    def steps(transport):
        transport.write(b"a")
        transport.write_now(b"b")

    assert gathered(steps) == ([b"a", b"b"], [b"a", b"b"])


def test_much_is_not_held():
    """From 64 KiB on the transport has it at once, with what came before."""

    def steps(transport):
        transport.write(b"head")
        transport.write(b"x" * (1 << 16))

    first, after = gathered(steps)
    assert [len(piece) for piece in first] == [4 + (1 << 16)]
    assert after == first


@contextlib.contextmanager
def serving(app):
    """An application on the protocol, on a real server; yields its port."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=OneWriteProtocol, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


def start(length=None):
    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def body(data, *, more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


def read_until(client, end):
    """Read until the bytes end so."""
    got = b""
    while not got.endswith(end):
        piece = client.recv(1 << 16)
        assert piece, got[-200:]
        got += piece
    return got


@pytest.mark.parametrize("size", [2, 100_000, 3_000_000])
def test_replies_are_whole(size):
    """Small and large ones, one request after another and two at a time on one connection."""

    async def app(scope, receive, send):
        await send(start(size))
        await send(body(b"y" * (size - 1) + b"z"))

    ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(app) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        for times in (1, 2):
            client.sendall(ask * times)
            got = b""
            while got.count(b"z") < times:
                got += client.recv(1 << 20)
            assert got.count(b"HTTP/1.1 200 OK") == times
            assert got.count(b"y") == times * (size - 1)
        client.sendall(ask[:-2] + b"Connection: close\r\n\r\n")
        got = read_until(client, b"z")
        assert b"connection: close" in got.lower()
        assert client.recv(10) == b""


def test_a_stream_is_not_held_back():
    """Each part arrives while the next one is not written yet."""
    go = threading.Event()

    async def app(scope, receive, send):
        await send(start())
        await send(body(b"first", more=True))
        await asyncio.to_thread(go.wait, 20)
        await send(body(b"second"))

    with serving(app) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in read_until(client, b"first\r\n")
        go.set()
        assert b"second" in read_until(client, b"0\r\n\r\n")
