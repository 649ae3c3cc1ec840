"""A fresh SDK for each test, and a way to wait for a condition."""

import importlib.util
import time
from pathlib import Path

import pytest
from ninesight.testing import isolated

from .. import needs


@pytest.fixture
def sdk():
    """`sdk()` gives the snapshot of the moment; nothing was counted before, and no thread stays behind."""
    with isolated() as snapshot:
        yield snapshot


@pytest.fixture
def until():
    """`until(condition)` polls until it holds, and returns what it gave; fails after 60 s."""

    def wait(condition, timeout_s=60.0):
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{condition} did not hold within {timeout_s} s"
            time.sleep(0.01)
        return found

    return wait


def _receivers():
    """The module beside this one; tests are not a package."""
    path = Path(__file__).with_name("otlp_receivers.py")
    spec = importlib.util.spec_from_file_location("otlp_receivers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["http", "grpc"])
def otlp(request):
    """A real OTLP receiver of each protocol."""
    if request.param == "grpc":
        needs.package("grpc", "pip install ninesight[grpc]")
    receivers = _receivers()
    found = receivers.GrpcReceiver() if request.param == "grpc" else receivers.HttpReceiver()
    yield found
    found.stop()


@pytest.fixture
def settings(otlp):
    """Settings that push to the receiver when a test flushes."""
    return {
        "otlp_endpoint": otlp.endpoint,
        "otlp_protocol": otlp.protocol,
        "export_interval_s": 3600.0,
    }
