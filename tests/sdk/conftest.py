"""A fresh SDK for each test, and a way to wait for a condition."""

import time

import pytest
from ninesight.testing import isolated


@pytest.fixture
def sdk():
    """`sdk()` gives the snapshot of the moment; nothing was counted before, and no thread stays behind."""
    with isolated() as snapshot:
        yield snapshot


@pytest.fixture
def until():
    """`until(condition)` polls until it holds, and returns what it gave; fails after 15 s."""

    def wait(condition, timeout_s=15.0):
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{condition} did not hold within {timeout_s} s"
            time.sleep(0.01)
        return found

    return wait
