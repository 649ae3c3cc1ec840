"""The examples of docs/integrations, started in their real frameworks, and a client that keeps a log."""

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ninesight.buckets import upper_bound
from prometheus_client.parser import text_string_to_metric_families

from ...ports import free_port
from .sockets import listening, processes_of

PAGES = Path(__file__).resolve().parents[3] / "docs" / "integrations"
ROOT = PAGES.parents[1]
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"


def code_of(page):
    """The one complete example of a page."""
    (code,) = re.findall(r"^```python\n(.*?)^```", (PAGES / page).read_text(), re.MULTILINE | re.DOTALL)
    return code


@pytest.fixture
def example(tmp_path):
    """`example("flask.md")` writes the page's example as app.py and returns its folder."""

    def write(page):
        (tmp_path / "app.py").write_text(code_of(page))
        return tmp_path

    return write


@pytest.fixture
def framework(real):
    """`framework("torch")` gives the Python of the environment that `make frameworks` made for it."""
    folder = Path(os.environ.get("NINESIGHT_FRAMEWORKS") or ROOT / ".frameworks")
    return lambda name: real(f"{name} (make frameworks)", str(folder / name / "bin" / "python"))


class Client:
    """Asks a server and keeps a log: (what was asked, status, seconds)."""

    def __init__(self, port, metrics_port=None, metrics_path="/metrics"):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.metrics_url = f"http://127.0.0.1:{metrics_port or port}{metrics_path}"
        self.log = []

    def post(self, path, body, **headers):
        """Send JSON, read the whole answer; return (status, body)."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json", **headers}
        )
        start = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, said = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, said = error.code, error.read()
        self.log.append((body, status, time.perf_counter() - start))
        return status, said

    def many(self, asks, threads=4):
        """Send (path, body, headers) from several threads."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda ask: self.post(ask[0], ask[1], **(ask[2] if ask[2:] else {})), asks))

    def answers(self):
        """True once the metrics can be scraped."""
        with contextlib.suppress(OSError):
            return self.samples() is not None
        return False

    def samples(self):
        """Every sample of a scrape: {(name, labels as a frozenset of pairs): value}."""
        with urllib.request.urlopen(self.metrics_url, timeout=30) as answer:
            text = answer.read().decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def total(self, name, **labels):
        """The sum over samples that carry these labels."""
        return sum(
            value
            for (found, pairs), value in self.samples().items()
            if found == name and labels.items() <= pairs
        )

    def quantile(self, q, name="model_request_duration_seconds", **labels):
        """(lower, upper) of a quantile, from the native histograms of the protobuf scrape, merged."""
        request = urllib.request.Request(self.metrics_url, headers={"accept": PROTOBUF})
        with urllib.request.urlopen(request, timeout=30) as answer:
            buckets = native_buckets(answer.read(), name, labels)
        rank = max(1, math.ceil(q * sum(buckets.values())))
        for (index, schema), count in sorted(buckets.items()):
            rank -= count
            if rank <= 0:
                return upper_bound(index - 1, schema), upper_bound(index, schema)
        raise AssertionError(f"{name}{labels} is empty")

    def check_durations(self, model, seconds_of, path_ok=lambda status: status < 300, **labels):
        """Our percentiles lie between what the work must have taken and what the client waited."""
        served = [(seconds_of(body), took) for body, status, took in self.log if path_ok(status)]
        least, waited = sorted(item[0] for item in served), sorted(item[1] for item in served)
        for q in (0.5, 0.9, 0.99):
            place = max(1, math.ceil(q * len(served))) - 1
            low, high = self.quantile(q, model=model, **labels)
            # Server time is within the client's, request by request, and so is each of its quantiles; but for a
            # pause of the machine after the last byte has left: the client has its answer, the call still runs.
            pause_s = 0.02 if q < 0.99 else 0.2
            assert low <= waited[place] + pause_s, (q, low, waited[place])
            assert high >= least[place] * 0.99, (q, high, least[place])


def native_buckets(data, name, labels):
    """Buckets {(index, schema): count} of a family's histograms with these labels, by an independent decoder."""
    found, at = {}, 0
    while at < len(data):
        size, at = varint(data, at)
        family = fields(data[at : at + size])
        at += size
        if family[1][0] != name.encode():
            continue
        for metric in map(fields, family[4]):
            pairs = {
                fields(pair)[1][0].decode(): fields(pair).get(2, [b""])[0].decode() for pair in metric[1]
            }
            if labels.items() <= pairs.items() and 7 in metric:
                native = fields(metric[7][0])
                for index, count in spans(native):
                    key = (index, native[5][0] >> 1)
                    found[key] = found.get(key, 0) + count
    return found


def spans(native):
    deltas, at = [], 0
    packed = native.get(13, [b""])[0]
    while at < len(packed):
        value, at = varint(packed, at)
        deltas.append(zigzag(value))
    index = count = 0
    for span in map(fields, native.get(12, [])):
        index += zigzag(span.get(1, [0])[0])
        for _ in range(span[2][0]):
            count += deltas.pop(0)
            yield index, count
            index += 1


def zigzag(value):
    return value >> 1 if value % 2 == 0 else -((value + 1) >> 1)


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 1:
            value, at = data[at : at + 8], at + 8
        else:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


@pytest.fixture
def serve(until):
    """`serve(folder, "-m", "uvicorn", ...)` starts Python with `{port}` filled in; returns a client of it."""
    running = []

    def start(
        folder,
        *words,
        python=sys.executable,
        metrics_port=False,
        metrics_path="/metrics",
        timeout_s=90.0,
        loopback_only=True,
        **environment,
    ):
        port, other = free_port(), free_port()
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NINESIGHT_", "OTEL_"))}
        environment = {
            name: value.format(port=port, metrics_port=other) for name, value in environment.items()
        }
        process = subprocess.Popen(
            [python, *(word.format(port=port) for word in words)],
            cwd=folder,
            env={**clean, "NINESIGHT_MULTIPROCESS_DIR": str(folder / "shared"), **environment},
            start_new_session=True,
        )
        running.append(process)
        client = Client(port, other if metrics_port else None, metrics_path)
        client.session = process.pid

        def up():
            assert process.poll() is None, "the server ended by itself"
            return client.answers()

        until(up, timeout_s)
        if loopback_only:
            open_to_all = [each for each in listening(processes_of(process.pid)) if not each.loopback]
            assert not open_to_all, "a test's server listens on loopback only"
        return client

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        # A framework's workers may be groups of their own; the session is still the one we started.
        for pid in processes_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(20)
