"""What the collector's tests share: a real server, and waiting for a condition with a deadline."""

import contextlib
import socket
import threading
import time

import pytest
import uvicorn
from starlette.applications import Starlette


def wait_until(condition, timeout_s=60.0, what="the condition"):
    """Return the first true result of `condition`, or fail after the timeout."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError(f"{what} did not hold within {timeout_s}s")


@contextlib.contextmanager
def serving(routes):
    """Serve Starlette routes on a free loopback port; gives its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(Starlette(routes=routes), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started, what="the server's start")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()


@pytest.fixture
def serve():
    """`with serve(routes) as address:`."""
    return serving


@pytest.fixture
def until():
    """`until(condition)` waits for it, with a deadline."""
    return wait_until
