"""The folder of several workers, piece by piece: merging, crash points of the fold, elections, odd files."""

import math
import os

import ninesight
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight.codec import decode, encode
from ninesight.contract import Family, HistogramPoint, Kind, NumberPoint, Snapshot
from ninesight.errors import RetryableError
from ninesight.faults import Faults
from ninesight.histogram import Histogram
from ninesight.merge import merged
from ninesight.testing import RecordingExporter, isolated, number, total

from .. import needs

needs.package("fcntl", "file locks as Linux and macOS have them")
workers = needs.package("ninesight.workers")

VALUES = st.lists(st.floats(-1e3, 1e3), max_size=40)


def histogram_of(values, buckets_max=160):
    found = Histogram(buckets_max=buckets_max, bounds=(0.1, 1.0))
    found.add(values)
    return found.value()


def snapshot(values=(), *, count=1.0, gauge=1.0, start_ns=5, across="sum"):
    point = (HistogramPoint((("m", "a"),), histogram_of(values)),)
    return Snapshot(
        start_ns,
        9,
        {"who": str(start_ns)},
        (
            Family("c_total", Kind.COUNTER, "", "C.", (NumberPoint((("m", "a"),), count),)),
            Family("g", Kind.GAUGE, "", "G.", (NumberPoint((), gauge),), (), across),
            Family("h", Kind.HISTOGRAM, "s", "H.", (), point),
        ),
    )


@given(VALUES, st.floats(0, 1e300), st.text(max_size=20))
def test_a_snapshot_is_read_back_as_it_was_written(values, count, text):
    """To the last bit, whatever the labels hold; the resource is each process' own."""
    written = snapshot(values, count=count)._replace(resource={})
    labels = (("m", text.encode("utf-8", "replace").decode()),)
    family = written.families[0]._replace(numbers=(NumberPoint(labels, count),))
    written = written._replace(families=(family, *written.families[1:]))
    read, beside = decode(encode(written, added=["x"]))
    assert read == written
    assert beside["added"] == ["x"]


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_merging_is_counting_in_one_process(parts):
    """Counts, sums and buckets of the merged are those of all values together."""
    whole = merged([snapshot(part) for part in parts], buckets_max=160)
    found = whole.families[2].histograms[0].value
    expected = histogram_of([value for part in parts for value in part])
    assert (found.count, found.cumulative, found.low, found.high, found.schema) == (
        expected.count,
        expected.cumulative,
        expected.low,
        expected.high,
        expected.schema,
    )
    assert (found.positive, found.negative) == (expected.positive, expected.negative)
    assert math.isclose(found.sum, expected.sum, rel_tol=1e-9, abs_tol=1e-9)
    assert whole.families[0].numbers[0].value == len(parts)


@pytest.mark.parametrize(("across", "expected"), [("sum", 6.0), ("max", 3.0), ("min", 1.0)])
def test_gauges_become_one_as_their_family_says(across, expected):
    """And the start is the earliest, the resource the first's."""
    parts = [snapshot(gauge=float(step), across=across, start_ns=10 - step) for step in (1, 2, 3)]
    whole = merged(parts)
    assert whole.families[1].numbers[0].value == expected
    assert (whole.start_ns, whole.resource) == (7, {"who": "9"})


def test_histograms_of_other_bounds_are_left_out_and_told():
    """Counts under other bounds cannot be made up."""
    other = Histogram(bounds=(0.5,))
    other.add([1.0])
    family = Family("h", Kind.HISTOGRAM, "s", "H.", (), (HistogramPoint((("m", "a"),), other.value()),))
    told = []
    whole = merged([snapshot([1.0]), Snapshot(1, 2, {}, (family,))], refused=told.append)
    assert whole.families[2].histograms[0].value.count == 1
    assert told == ["h"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b'{"format":1}',
        b'{"format":2,"families":[]}',
        b"[" * 100_000,
        b"\xff",
        b'{"format":1,"start_ns":1,"time_ns":2,"families":[["a","gauge"]]}',
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_snapshot_is_a_value_error(data):
    """Whatever lies in the file."""
    with pytest.raises(ValueError):
        decode(data)


class Stopped(BaseException):
    """Stands for SIGKILL at one file operation."""


def dying(folder, faults, step):
    """A worker whose process ends before its `step`-th change of the folder."""
    left = [step]

    class Dying(workers.Workers):
        def _replace(self, name, data):
            if not name.startswith("worker-"):
                self.tick()
            super()._replace(name, data)

        def tick(self):
            left[0] -= 1
            if left[0] == 0:
                raise Stopped

    return Dying(str(folder), faults)


@pytest.mark.parametrize("crash", ["before", "between", "after"])
def test_a_fold_that_is_killed_neither_loses_nor_doubles(tmp_path, crash, monkeypatch):
    """Before the sum is written, after it, or amid removing the files."""
    faults = Faults()
    dead = workers.Workers(str(tmp_path), faults)
    dead.publish(lambda: snapshot([1.0], count=7.0))
    dead.forget()
    folder = dying(tmp_path, faults, 1 if crash == "before" else 99)
    if crash != "before":
        original = type(tmp_path).unlink
        seen = []

        def unlink(path, missing_ok=False):
            seen.append(path)
            if len(seen) == (1 if crash == "between" else 2):
                raise Stopped
            original(path, missing_ok=missing_ok)

        monkeypatch.setattr(type(tmp_path), "unlink", unlink)
    with pytest.raises(Stopped):
        folder.publish(snapshot)
    folder.forget()
    monkeypatch.undo()
    for _ in range(2):
        heir = workers.Workers(str(tmp_path), faults)
        found = heir.merged(lambda: snapshot(count=0.0))
        assert found.families[0].numbers[0].value == 7.0
        assert found.families[2].histograms[0].value.count == 1
        heir.forget()
    assert faults.internal_errors == 0


def test_the_dead_are_remembered_within_a_bound(tmp_path):
    """Fifty generations, each with labels of its own: the sum is exact, the file is not larger for it."""
    faults = Faults()

    def generation(step):
        labels = (("model", "m"), ("tenant", f"t{step}"), ("outcome", "ok"))
        histogram = histogram_of([float(step + 1)])
        return Snapshot(
            1,
            2,
            {},
            (
                Family("model_requests_total", Kind.COUNTER, "", "R.", (NumberPoint(labels, 1.0),)),
                Family("h", Kind.HISTOGRAM, "s", "H.", (), (HistogramPoint(labels, histogram),)),
            ),
        )

    sizes = []
    for step in range(50):
        worker = workers.Workers(str(tmp_path), faults, retired_points_max=10)
        worker.publish(lambda step=step: generation(step))
        worker.forget()
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
    watcher = workers.Workers(str(tmp_path), faults, retired_points_max=10)
    requests, durations = watcher.merged(lambda: Snapshot(1, 2, {}, ())).families
    watcher.forget()
    assert sum(point.value for point in requests.numbers) == 50
    assert len(requests.numbers) == len(durations.histograms) == 11
    other = (("model", "__other__"), ("tenant", "__other__"), ("outcome", "ok"))
    assert dict(requests.numbers)[other] == 40
    assert sum(point.value.count for point in durations.histograms) == 50
    assert {point.labels: point.value for point in durations.histograms}[other].count == 40
    assert max(sizes) < 2 * sizes[12]


def test_a_broken_file_costs_its_own_counts_only(tmp_path):
    """A power cut may leave one: told once, removed with its worker, the others answer."""
    faults = Faults()
    one, other = (workers.Workers(str(tmp_path), faults) for _ in range(2))
    one.publish(snapshot)
    other.publish(snapshot)
    (broken,) = [path for path in tmp_path.glob("worker-*.json") if path.stem != f"worker-{one._id}"]
    broken.write_bytes(b"\0" * 100)
    assert one.merged(snapshot).families[0].numbers[0].value == 1.0
    assert faults.internal_errors == 1
    other.forget()
    one.merged(snapshot)
    assert not broken.exists()
    one.forget()


def test_one_worker_pushes_for_all_and_another_takes_over(tmp_path):
    """Elected by a lock that the kernel frees; the pushed instance is the host, not a process."""
    faults = Faults()
    one, other = (workers.Workers(str(tmp_path), faults) for _ in range(2))
    assert one.elected()
    assert one.elected()
    assert not other.elected()
    one.resign()
    assert other.elected()
    exporter = RecordingExporter()
    with isolated(multiprocess_dir=str(tmp_path), export_interval_s=3600.0):
        ninesight.export_to(exporter)
        with ninesight.call("pushed"):
            pass
        assert ninesight.flush()
        assert exporter.snapshots == []
        other.resign()
        assert ninesight.flush()
        assert total(exporter.snapshots[-1], "model_requests_total", model="pushed") == 1
        assert exporter.snapshots[-1].resource["service.instance.id"] == os.uname().nodename
    other.forget()


def test_a_folder_that_cannot_be_used_fails_the_scrape_and_no_request(tmp_path):
    """503 with the reason; calls go on, the trouble is counted."""
    from ninesight.wsgi import MetricsWsgiApp

    (tmp_path / "file").write_text("")
    with isolated(multiprocess_dir=str(tmp_path / "file" / "below")) as shown:
        with ninesight.call("goes-on"):
            pass
        with pytest.raises(RetryableError, match="cannot be read"):
            shown()
        assert not ninesight.flush()
        status = []
        MetricsWsgiApp(shown)({"REQUEST_METHOD": "GET"}, lambda *told: status.append(told[0]))
        assert status == ["503 Service Unavailable"]
        assert ninesight.stats().recorded == 1
        assert ninesight.stats().internal_errors >= 1


def test_a_stuck_worker_holds_a_scrape_up_for_so_long_only(tmp_path):
    """One that was stopped amid reading keeps the lock: the others say so after 5 s."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    stuck = workers.Workers(str(tmp_path), Faults())
    waiting = workers.Workers(str(tmp_path), Faults(), clock=lambda: now[0], sleep=sleep)
    waiting.publish(snapshot)
    with stuck._directory(), pytest.raises(RetryableError, match=r"holds directory\.lock for more than 5 s"):
        waiting.merged(snapshot)
    assert waiting.merged(snapshot).families[0].numbers[0].value == 1.0
    waiting.forget()


def test_a_callable_gauge_that_flushes_does_not_hang(tmp_path):
    """It is asked while the worker writes itself."""
    with isolated(multiprocess_dir=str(tmp_path)) as shown:
        ninesight.model("asks").queue_depth(lambda: float(ninesight.flush()))
        assert number(shown(), "model_queue_depth", model="asks", version="1") == 1


def test_nothing_changed_is_written_rarely(tmp_path):
    """An idle worker writes about once a second, a busy one within the flush interval."""
    now = [100.0]
    made = []

    def make():
        made.append(now[0])
        return snapshot()

    worker = workers.Workers(str(tmp_path), Faults(), clock=lambda: now[0])
    for _ in range(40):
        worker.publish_when_due(make, 1)
        now[0] += 0.1
    assert 4 <= len(made) <= 6
    made.clear()
    for step in range(40):
        worker.publish_when_due(make, step + 2)
        now[0] += 0.1
    assert 13 <= len(made) <= 16
    worker.forget()
