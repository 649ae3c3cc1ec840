"""What is refused for its age, what is dropped for its size, and rows of many small batches."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from ninesight_store import Amount, FullError, LateError, LocalStore, PermanentError, StoreSettings, labels_of
from ninesight_store.testing import Point, batch_of, exemplars_of, samples_of

HOUR_MS = 3_600_000
EVER = (0, 2**50)
NOW = 100 * HOUR_MS


@pytest.fixture
def store(url):
    settings = StoreSettings(late_ms_max=2 * HOUR_MS, seal_after_ms=0, merge_hours=2)
    with LocalStore(url, settings, now_ms=lambda: NOW) as made:
        yield made


def test_late_samples_within_the_window_are_kept_in_order(store):
    """Out of order and late, down to the edge of the window, hot or sealed: all come back sorted."""
    edge = NOW - 2 * HOUR_MS
    for time in (NOW, NOW - 1000, edge, NOW - HOUR_MS):
        store.write(batch_of({"m": [(time, float(time))]}))
    store.seal(NOW)
    store.write(batch_of({"m": [(edge + 5, 1.0), (edge, 2.0)]}))
    got = samples_of(store.select([], *EVER))[labels_of("m")]
    assert [time - edge for time, _ in got] == [0, 5, HOUR_MS, 2 * HOUR_MS - 1000, 2 * HOUR_MS]
    assert got[0][1] == 2.0, "of one timestamp the sample written last wins"


def test_older_samples_are_refused_and_the_rest_is_kept(store):
    """The error says the rule, how many, and the way out; floats, points and start timestamps stay aligned."""
    old = NOW - 2 * HOUR_MS - 1
    samples = {
        "m": [(old, 1.0), (NOW, 2.0), (old - 1, 3.0), (NOW - 5, 4.0)],
        "h": [(old, Point(1, 1.0, {1: 1})), (NOW, Point(2, 2.0, {2: 2}))],
    }
    batch = batch_of(samples)
    points = replace(batch.histograms, start_timestamps=np.array([1, 2], np.int64))
    batch = replace(batch, start_timestamps=np.array([1, 2, 3, 4], np.int64), histograms=points)
    batch = replace(batch, exemplars=exemplars_of([(0, {"a": "1"}, 1.0, old), (0, {"a": "2"}, 1.0, NOW)]))
    with pytest.raises(LateError) as caught:
        store.write(batch)
    assert (caught.value.refused, caught.value.kept) == (3, 3)
    assert caught.value.late == Amount(samples=2, points=1, exemplars=1)
    assert caught.value.fresh == Amount(samples=2, points=1, exemplars=1)
    assert caught.value.oldest_ms == NOW - 2 * HOUR_MS
    words = "at most 2 h old when they arrive, 3 were older and are refused, 3 others were kept; raise store.late_max"
    assert words in str(caught.value)
    got = store.select([], *EVER)
    assert got.timestamps.tolist() == [NOW - 5, NOW]
    assert got.values.tolist() == [4.0, 2.0]
    assert got.start_timestamps.tolist() == [4, 2]
    assert got.histograms.count.tolist() == [2.0]
    assert got.histograms.start_timestamps.tolist() == [2]
    (traces,) = store.exemplars([[]], *EVER)
    assert len(traces.exemplars) == 1
    counters = store.stat().counters
    assert (counters["samples_refused"], counters["samples_refused_late"]) == (3, 3)
    assert (counters["exemplars_left_out"], counters["exemplars_written"]) == (1, 1)


def test_a_batch_of_late_samples_only_leaves_nothing(store):
    """It is a PermanentError: sending it again would not help. No series is made for it."""
    with pytest.raises(PermanentError):
        store.write(batch_of({"m": [(0, 1.0)]}))
    assert store.stat().series == 0


def hours_of(store):
    return sorted({time // HOUR_MS for time in store.select([], *EVER).timestamps.tolist()})


def fill(store, hours, series=60):
    """Values that no codec makes small."""
    dice = np.random.default_rng(7)
    for hour in hours:
        for minute in range(60):
            time = hour * HOUR_MS + minute * 60_000
            store.write(batch_of({f"m{row}": [(time, float(dice.random()))] for row in range(series)}))


def test_beyond_its_size_the_oldest_hours_go_first(url, caplog):
    """Room is made of whole hours, oldest first; the newest stay, the count is told, and writing goes on."""
    caplog.set_level(logging.WARNING)
    settings = StoreSettings(seal_after_ms=0, merge_hours=0, size_bytes_max=700_000)
    with LocalStore(url, settings) as store:
        for hour in range(24):
            fill(store, [hour])
            store.seal((hour + 1) * HOUR_MS)
            store.relieve()
        hours = hours_of(store)
        assert hours == list(range(hours[0], 24)), "what is left has no hole"
        assert 0 < hours[0] < 22
        dropped = store.stat().counters["samples_dropped_for_size"]
        assert dropped == hours[0] * 60 * 60
        assert store.make_room().samples == 0, "there is room now"
    assert "dropped the oldest" in caplog.text


def test_a_write_at_the_bound_makes_room_itself(tmp_path):
    """Without maintenance a full database drops its oldest hour and takes the batch; no sample is refused."""
    settings = StoreSettings(seal_after_ms=0, size_bytes_max=600_000)
    with LocalStore(tmp_path / "store.db", settings) as store:
        fill(store, range(12), series=150)
        counters = store.stat().counters
        assert counters["samples_written"] == 12 * 60 * 150
        assert counters["samples_dropped_for_size"] > 0
        assert hours_of(store)[-1] == 11
        assert (tmp_path / "store.db").stat().st_size <= 600_000


def test_the_newest_hour_is_never_dropped(tmp_path):
    """Where nothing older is left the write is refused, as a last resort, and may be tried again."""
    settings = StoreSettings(seal_after_ms=0, size_bytes_max=300_000)
    with LocalStore(tmp_path / "store.db", settings) as store:
        with pytest.raises(FullError):
            fill(store, [5], series=400)
        assert hours_of(store) == [5]
        assert "samples_dropped_for_size" not in store.stat().counters


def test_an_hour_crowded_by_small_batches_is_sealed_before_it_ends(url):
    """Rows of the open hour become chunks when they are many; readers see no difference, and merging joins them."""
    # Of a layout that comes again 32 rows do not count: as many may folding leave.
    settings = StoreSettings(seal_after_ms=0, merge_hours=2, hot_rows_max=50 - 32)
    with LocalStore(url, settings) as store:
        sealed = 0
        for tick in range(120):
            store.write(batch_of({"m": [(tick * 1000, float(tick))]}))
            sealed += store.relieve().rows
        assert sealed == 102
        store.write(batch_of({"m": [(5000, -1.0), (200_000, 1.0)]}))
        stat = store.stat()
        assert stat.hot_rows == 19
        assert stat.chunks >= 1
        got = dict(samples_of(store.select([], *EVER))[labels_of("m")])
        assert got == {tick * 1000: float(tick) for tick in range(120)} | {5000: -1.0, 200_000: 1.0}
        assert store.relieve().rows == 0
        store.seal(2 * HOUR_MS)
        store.merge(4 * HOUR_MS)
        assert store.stat().chunks == 1
        assert dict(samples_of(store.select([], *EVER))[labels_of("m")]) == got
