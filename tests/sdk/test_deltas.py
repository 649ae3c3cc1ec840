"""Deltas over changes of settings, workers that are killed and servers that start again: each call once."""

import os
import signal
import subprocess
import sys

import ninesight
import pytest
from ninesight.contract import Family, HistogramPoint, Kind, NumberPoint, Snapshot
from ninesight.delta import Deltas
from ninesight.histogram import Histogram
from ninesight.testing import isolated

from .. import needs

PROGRAM = """
import sys
import ninesight
for line in sys.stdin:
    for _ in range(int(line)):
        with ninesight.call("takes-over") as call:
            call.add_stage("queue", 0.25)
    print(ninesight.flush(60), flush=True)
"""


def pushed(otlp, model, name="model_requests_total"):
    """What each push says of a model."""
    found = []
    for push in range(len(otlp.metrics)):
        points = [point for attributes, point, _ in otlp.points(name, push) if attributes["model"] == model]
        found.append(sum(getattr(point, "as_double", 0) or getattr(point, "count", 0) for point in points))
    return found


def test_other_settings_send_nothing_again(otlp, settings):
    """The exporter is a new one; what was delivered is not."""
    with isolated(**settings, otlp_temporality="delta"):
        for step in range(3):
            with ninesight.call("reconfigured"):
                pass
            assert ninesight.flush(30.0)
            ninesight.configure(service_name=f"step-{step}")
        assert ninesight.flush(30.0)
    assert pushed(otlp, "reconfigured") == [1, 1, 1, 0]


@pytest.fixture
def worker(tmp_path, settings):
    """`worker()` starts a process of one server; `ask(n)` has it record n calls and flush."""
    needs.package("fcntl", "file locks as Linux and macOS have them")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NINESIGHT_", "OTEL_"))}
    clean |= {f"NINESIGHT_{key.upper()}": str(value) for key, value in settings.items()}
    clean |= {"NINESIGHT_MULTIPROCESS_DIR": str(tmp_path), "NINESIGHT_OTLP_TEMPORALITY": "delta"}
    running = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean,
        )
        running.append(process)

        def ask(count):
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "True\n"

        process.ask = ask
        return process

    yield start
    for process in running:
        process.kill()
        process.wait(30)
        process.stdin.close()
        process.stdout.close()


def end(process, how):
    """Have a process end: by SIGKILL, or of itself."""
    if how == "killed":
        process.send_signal(signal.SIGKILL)
    else:
        process.stdin.close()
    process.wait(60)


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_who_pushes_next_goes_on_where_the_last_one_was(worker, otlp, how):
    """A worker takes over, then a new server on the same folder; the second to call is the first that was started."""
    second, first = worker(), worker()
    first.ask(3)
    second.ask(4)
    first.ask(0)
    end(first, how)
    second.ask(5)
    end(second, how)
    worker().ask(2)
    counted = pushed(otlp, "takes-over")
    assert [count for count in counted if count] == [3, 4, 5, 2]
    stages = pushed(otlp, "takes-over", "model_stage_duration_seconds")
    assert [count for count in stages if count] == [3, 4, 5, 2]


def of(values, *, name="h", bounds=(), schema_max=None):
    histogram = Histogram(buckets_max=1024 if schema_max is None else 160, bounds=bounds)
    histogram.add(values)
    return Snapshot(
        1, 10, {}, (Family(name, Kind.HISTOGRAM, "s", "", (), (HistogramPoint((), histogram.value()),)),)
    )


def delta_of(before, now):
    deltas = Deltas()
    deltas.delivered(before)
    (point,) = deltas.since(now).families[0].histograms
    return point.value


def test_what_an_older_version_delivered_is_taken_off_as_far_as_it_can_be():
    """Other bounds, another schema, another kind, other values: counts are right, or all of it is new."""
    wide = [1.005**step for step in range(2000)]
    found = delta_of(of(wide, schema_max=True), of([*wide, 2.0, 2.0]))
    assert found.schema == of(wide, schema_max=True).families[0].histograms[0].value.schema < 6
    assert (found.count, [count for _, count in found.positive]) == (2, [2])
    found = delta_of(of([0.1, 0.3], bounds=(0.2,)), of([0.1, 0.3, 0.3], bounds=(0.5,)))
    assert (found.count, found.bounds, found.cumulative) == (1, (), (1,))
    other = delta_of(of([5.0, 6.0]), of([0.1, 0.3, 0.3]))
    assert (other.count, sum(count for _, count in other.positive)) == (3, 3)
    counter = Snapshot(1, 10, {}, (Family("h", Kind.COUNTER, "", "", (NumberPoint((), 9.0),)),))
    assert delta_of(counter, of([0.1])).count == 1
    deltas = Deltas()
    deltas.delivered(of([0.1]))
    assert deltas.since(counter).families[0].numbers == (NumberPoint((), 9.0),)
