"""BatchBuilder, Counters, Delivery, Schedule and the rest of the small parts."""

import gzip
import threading

import numpy as np
import pytest
from ninesight_collector import BatchBuilder, Counters, HistogramPoint
from ninesight_collector.delivery import Delivery
from ninesight_collector.durations import duration_s
from ninesight_collector.inflate import InflateError, Inflater, InflateSizeError
from ninesight_collector.names import format_float, label_name, metric_name
from ninesight_collector.schedule import Schedule, Task, offset_s
from ninesight_collector.self_sampler import SelfSampler
from ninesight_collector.testing import FixedSampler, check_sampler, latest
from ninesight_store.contract import STALE_BITS, Metadata, labels_of
from ninesight_store.errors import PermanentError, RetryableError
from ninesight_store.testing import RecordingSink, batch_of


def stale(batch):
    """Series with a stale marker, floats and histograms."""
    rows = batch.series_index[batch.values.view(np.uint64) == STALE_BITS].tolist()
    points = batch.histograms
    rows += points.series[points.sum.view(np.uint64) == STALE_BITS].tolist()
    return {batch.series.labels[row] for row in rows}


def test_an_unchanged_set_of_series_keeps_its_table():
    """The same object, so that its digest is made once; a new series makes a new one."""
    builder, a, b = BatchBuilder(), labels_of("a"), labels_of("b")
    builder.add(a, 1, 1.0)
    first = builder.batch(1)
    builder.add(a, 2, 2.0)
    second = builder.batch(2)
    builder.add(b, 3, 3.0)
    third = builder.batch(3)
    assert first.series is second.series
    assert third.series is not second.series
    RecordingSink().write(third)


def test_missing_series_end_once_and_untracked_ones_never():
    """Floats and native histograms; a sample that brought its own time leaves no marker."""
    builder, a, b, h = BatchBuilder(marks_stale=True), labels_of("a"), labels_of("b"), labels_of("h")
    sink = RecordingSink()
    builder.add(a, 1, 1.0)
    builder.add(b, 1, 1.0, tracked=False)
    builder.add_histogram(h, 1, HistogramPoint(schema=3, count=1.0, sum=2.0, positive=((4, 1.0),)))
    assert not stale(builder.batch(1))
    ended = builder.batch(2)
    sink.write(ended)
    assert stale(ended) == {a, h}
    assert set(ended.timestamps.tolist()) == {2}
    assert len(builder.batch(3)) == 0


def test_a_table_does_not_grow_for_ever():
    """Series long gone are renumbered away; rows remembered before are void by generation."""
    builder = BatchBuilder(marks_stale=True)
    sink = RecordingSink()
    for turn in range(2000):
        builder.add(labels_of("x", {"pid": str(turn)}), turn, float(turn))
        batch = builder.batch(turn)
        sink.write(batch)
        assert len(batch.series) <= 260
    assert builder.generation > 0
    values = [(labels, value) for labels, _, value in sink.samples if not np.isnan(value)]
    assert values == [(labels_of("x", {"pid": str(turn)}), float(turn)) for turn in range(2000)]


def test_metadata_travels_when_it_changes():
    """Once, and again when it says something else."""
    builder = BatchBuilder()
    builder.describe(Metadata("a", "gauge"))
    assert builder.batch(1).metadata == (Metadata("a", "gauge"),)
    builder.describe(Metadata("a", "gauge"))
    assert builder.batch(2).metadata == ()
    builder.describe(Metadata("a", "counter"))
    assert builder.batch(3).metadata == (Metadata("a", "counter"),)


def test_counters_take_only_what_is_declared():
    """Unknown names and labels are our bug, not a new series."""
    counters = Counters()
    counters.add("received_samples_total", 3, source="otlp")
    counters.add("received_samples_total", 2, source="host")
    assert counters.total("received_samples_total") == 5
    with pytest.raises(KeyError):
        counters.add("surprises_total")
    with pytest.raises(AssertionError):
        counters.add("received_samples_total", source="x", other="y")


def test_own_counters_become_series():
    """ninesight_collector_*; a scrape's job does not overwrite ours."""
    counters = Counters()
    counters.add("scrapes_total", 4, job="vllm")
    values = latest(check_sampler(SelfSampler(counters, "node")))
    own = {"job": "ninesight", "instance": "node"}
    assert values[labels_of("ninesight_collector_scrapes_total", {**own, "exported_job": "vllm"})] == 4.0
    assert values[labels_of("ninesight_collector_sink_retries_total", own)] == 0.0


def test_delivery_accounts_for_every_sample():
    """received = written + dropped + waiting, over retryable, permanent and surprising failures."""
    failures = [
        RetryableError("later"),
        PermanentError("never"),
        OSError("surprise"),
        RetryableError("later"),
    ]
    sink, counters = RecordingSink(fail_with=failures), Counters()
    delivery = Delivery(sink, counters, batches_max=2)
    results = [delivery.deliver(batch_of({"a": [(turn, 1.0)]}), source="host") for turn in range(5)]
    assert results == [False, False, False, False, True]
    delivery.flush()
    delivery.abandon()
    written = sum(len(batch) for batch in sink.batches)
    assert counters.get("dropped_samples_total", reason="refused") == 1
    assert counters.get("dropped_samples_total", reason="buffer_full") == 1
    assert counters.get("sink_retries_total") == 3
    assert written + counters.total("dropped_samples_total") == counters.total("received_samples_total") == 5
    assert counters.get("retry_batches") == 0


def test_a_task_is_never_run_twice_at_once(until):
    """Turns that fall due while one runs are left out and counted; a task that breaks goes on."""
    entered, leave, broken = threading.Event(), threading.Event(), []
    counters = Counters()

    def slow():
        entered.set()
        leave.wait(120)

    def breaks():
        broken.append(1)
        raise ValueError("broken")

    schedule = Schedule([Task("slow", 0.01, slow), Task("breaks", 0.01, breaks)], counters, workers=2)
    schedule.start()
    assert entered.wait(60)
    until(lambda: counters.get("overruns_total", task="slow") >= 3 and len(broken) >= 3)
    leave.set()
    assert schedule.stop(60)


def test_stop_does_not_wait_for_a_turn_that_never_began(until):
    """One worker, two tasks: the one still queued is cancelled, and stop returns as soon as the other ends."""
    entered, leave, queued = threading.Event(), threading.Event(), []

    def holds():
        entered.set()
        leave.wait(120)

    schedule = Schedule(
        [Task("holds", 60, holds), Task("queued", 60, lambda: queued.append(1))], Counters(), workers=1
    )
    schedule.start()
    assert entered.wait(60)
    until(lambda: len(schedule._running) == 2)
    threading.Timer(0.1, leave.set).start()
    assert schedule.stop(60)
    assert not queued


def test_offsets_are_fixed_and_spread():
    """By name, within the interval, and never later than 5 s."""
    offsets = [offset_s(f"http://10.0.0.{n}:9/metrics", 3600) for n in range(100)]
    assert offsets == [offset_s(f"http://10.0.0.{n}:9/metrics", 3600) for n in range(100)]
    assert 0 <= min(offsets) < 1
    assert 4 < max(offsets) <= 5
    assert offset_s("x", 0.1) <= 0.1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (0.0, "0.0"),
        (0.005, "0.005"),
        (1e-5, "1e-05"),
        (999999.0, "999999.0"),
        (1e6, "1e+06"),
        (2.5e6, "2.5e+06"),
        (1e100, "1e+100"),
        (-2.0, "-2.0"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_bounds_have_prometheus_spelling(value, text):
    """As Prometheus 3 normalises `le` and `quantile`."""
    assert format_float(value) == text


def test_names_are_sanitised():
    """What Prometheus cannot have becomes an underscore."""
    assert metric_name("a.b-c:d") == "a_b_c:d"
    assert metric_name("1a") == "_1a"
    assert label_name("http.status") == "http_status"
    assert label_name("a:b") == "a_b"


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("250ms", 0.25), ("1m30s", 90), ("1.5h", 5400), ("1d", 86400)]
)
def test_durations_as_people_write_them(text, seconds):
    """With a unit, also several."""
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["15", "", "s", "-1s", "1 s", "1w", 15, None, "0s"])
def test_durations_without_a_unit_are_refused(text):
    """15 of what?"""
    with pytest.raises(ValueError, match="a duration must be"):
        duration_s(text)


def test_inflating_stops_at_the_cap():
    """In pieces too, and never more memory than the cap."""
    packed = gzip.compress(b"a" * 1000)
    whole = Inflater(1000)
    assert b"".join(whole.feed(packed[n : n + 3]) for n in range(0, len(packed), 3)) == b"a" * 1000
    whole.end()
    with pytest.raises(InflateSizeError):
        Inflater(999).feed(packed)
    with pytest.raises(InflateError):
        Inflater(999).feed(b"nothing")


def test_a_fixed_sampler_keeps_the_contract():
    """The fake that others use is a sampler too."""
    batch = check_sampler(FixedSampler({labels_of("a"): 1.0}))
    assert latest(batch) == {labels_of("a"): 1.0}
