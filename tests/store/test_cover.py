"""Covers: what a selector reads as matrices, kept between queries, always the same as a fresh select."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ninesight_store import (
    FAR_FUTURE,
    STALE_NAN,
    Batch,
    LocalStore,
    Matcher,
    MatchOp,
    SeriesTable,
    StoreSettings,
    labels_of,
)
from ninesight_store.testing import batch_of

HOUR = 3_600_000
ALL = (Matcher("__name__", MatchOp.EQUAL, "m"),)
SOME = (*ALL, Matcher("k", MatchOp.REGEX, "[0-4]"))


def samples_of_cover(cover, start_ms, end_ms):
    """{labels: [(time, bits)]} within a span."""
    found = {}
    for sheet in cover.sheets:
        assert (np.diff(sheet.owner) >= 0).all()
        for place, row in enumerate(sheet.rows.tolist()):
            times = sheet.times[sheet.owner[place]]
            inside = (times >= start_ms) & (times <= end_ms) & (times < FAR_FUTURE)
            bits = sheet.values[place][inside].view(np.uint64).tolist()
            assert cover.labels[row] not in found
            if inside.any():
                found[cover.labels[row]] = list(zip(times[inside].tolist(), bits, strict=True))
    return found


def samples_of_columns(columns):
    """The same of a select."""
    found = {}
    for row, labels in enumerate(columns.labels):
        own = slice(int(columns.offsets[row]), int(columns.offsets[row + 1]))
        bits = columns.values[own].view(np.uint64).tolist()
        if bits:
            found[labels] = list(zip(columns.timestamps[own].tolist(), bits, strict=True))
    return found


def check(store, matchers, start_ms, end_ms):
    """A cover holds what a select gives, and says how many samples that are."""
    cover = store.cover(matchers, start_ms, end_ms)
    wanted = samples_of_columns(store.select(matchers, start_ms, end_ms))
    assert samples_of_cover(cover, start_ms, end_ms) == wanted
    if all(len(sheet.times) == 1 for sheet in cover.sheets):
        assert cover.samples_in(start_ms, end_ms) == sum(map(len, wanted.values()))
    assert cover.start_ms <= start_ms
    assert cover.end_ms >= end_ms
    return cover


def tick(series, at_ms, value=1.0, step=0):
    """One sample of some series, `step` apart."""
    return batch_of({labels_of("m", {"k": str(k)}): [(at_ms + k * step, value + k)] for k in series})


@pytest.fixture
def store(url):
    with LocalStore(url, StoreSettings(seal_after_ms=0, merge_hours=2)) as opened:
        yield opened


def test_an_unchanged_store_hands_out_the_same_cover(store):
    """Nothing is read twice while nothing is written; a narrower span is served by a wider cover."""
    for k in range(10):
        store.write(tick(range(8), HOUR + k * 10_000))
    first = check(store, ALL, HOUR, HOUR + 60_000)
    assert store.cover(ALL, HOUR, HOUR + 60_000) is first
    assert store.cover(ALL, HOUR + 20_000, 5 * HOUR) is first
    assert store.cover(SOME, HOUR, HOUR + 60_000) is not first


def test_a_cover_at_hand_is_the_one_that_would_be_read(tmp_path):
    """It is there after it was read, and not after any commit, of this process or another."""
    url = f"sqlite:///{tmp_path}/watched.db"
    with LocalStore(url) as store, LocalStore(url) as other:
        store.write(tick(range(8), HOUR))
        assert store.kept_covers()(ALL, HOUR, HOUR + 60_000) is None
        read = check(store, ALL, HOUR, HOUR + 60_000)
        assert store.kept_covers()(ALL, HOUR, HOUR + 60_000) is read
        assert store.kept_covers()(SOME, HOUR, HOUR + 60_000) is None
        for writer in (store, other):
            writer.write(tick(range(8), store.now_ms() // HOUR * HOUR))
            assert store.kept_covers()(ALL, HOUR, HOUR + 60_000) is None
            again = check(store, ALL, HOUR, HOUR + 60_000)
            assert store.kept_covers()(ALL, HOUR, HOUR + 60_000) is again
        store.retain(store.now_ms() + 100_000 * HOUR)
        assert store.kept_covers()(ALL, HOUR, HOUR + 60_000) is None


def test_newer_rows_are_appended(store):
    """A cover of the newest data goes on with what is written, and with series that pause."""
    store.write(tick(range(20), HOUR, step=3))
    first = check(store, ALL, 0, 9 * HOUR)
    store.write(tick(range(0, 20, 3), HOUR + 10_000, step=3))
    second = check(store, ALL, 0, 9 * HOUR)
    assert second is not first
    store.write(tick(range(20), HOUR + 20_000, step=3))
    check(store, ALL, 0, 9 * HOUR)
    assert store._covers.cache.misses == 1


def test_what_is_late_or_written_again_is_seen(store):
    """A sample before the newest one, and one in its place, are in the cover."""
    store.write(tick(range(5), HOUR + 50_000))
    check(store, ALL, 0, 9 * HOUR)
    store.write(tick(range(2), HOUR + 10_000, value=7.0))
    check(store, ALL, 0, 9 * HOUR)
    store.write(tick(range(5), HOUR + 50_000, value=STALE_NAN))
    check(store, ALL, 0, 9 * HOUR)


def test_sealing_and_merging_here_change_nothing(store):
    """What this process seals and merges is not read again, before and after more was written."""
    for hour in range(4):
        for k in range(4):
            store.write(tick(range(5), hour * HOUR + k * 10_000, step=2))
            check(store, ALL, 0, 9 * HOUR)
        store.seal((hour + 1) * HOUR)
        check(store, ALL, 0, 9 * HOUR)
        store.merge((hour + 1) * HOUR)
        check(store, ALL, 0, 9 * HOUR)
    assert store._covers.cache.misses == 1
    assert store._covers.anew == 1


def test_rows_that_were_sealed_unseen_are_read(store):
    """A row that was written and sealed since the last look is not lost to the cover."""
    store.write(tick(range(5), 10_000))
    check(store, ALL, 0, 9 * HOUR)
    store.write(tick(range(5), 20_000))
    store.seal(HOUR)
    assert len(next(iter(samples_of_cover(check(store, ALL, 0, 9 * HOUR), 0, HOUR).values()))) == 2
    assert store._covers.anew == 2


def test_a_cover_is_cut_to_what_is_asked_for(store):
    """Windows that move on leave the past behind; a longer window still gets all."""
    newest = 0
    for k in range(120):
        newest = k * 120_000
        store.write(tick(range(3), newest))
        cover = check(store, ALL, newest - 300_000, newest)
    assert cover.start_ms > newest - 2 * HOUR - 600_000
    assert store._covers.anew == 1
    check(store, ALL, 0, newest)


def test_new_series_are_seen(store):
    """A series that appears later is in the cover of a selector that was asked before."""
    store.write(tick(range(3), HOUR))
    assert len(check(store, ALL, 0, 9 * HOUR).labels) == 3
    store.write(tick(range(6), HOUR + 10_000))
    assert len(check(store, ALL, 0, 9 * HOUR).labels) == 6


def test_other_processes_are_seen(store, url):
    """What another store of the same file writes, seals and merges changes the answers here."""
    with LocalStore(url, store.settings) as other:
        for k in range(4):
            other.write(tick(range(3), k * HOUR))
            check(store, ALL, 0, 9 * HOUR)
        other.seal(9 * HOUR)
        other.write(tick(range(3), 5 * HOUR))
        check(store, ALL, 0, 9 * HOUR)
        other.merge(9 * HOUR)
        check(store, ALL, 0, 9 * HOUR)
        other.retain(20 * 24 * HOUR)
        assert not check(store, ALL, 0, 9 * HOUR).labels


def test_what_was_retired_is_gone(store):
    """Retention ends all covers."""
    store.write(tick(range(3), 0))
    store.write(tick(range(3), 40 * HOUR))
    store.seal(50 * HOUR)
    assert samples_of_cover(check(store, ALL, 0, 50 * HOUR), 0, HOUR)
    store.retain(16 * 24 * HOUR)
    assert not samples_of_cover(check(store, ALL, 0, 50 * HOUR), 0, HOUR)


def test_start_timestamps_are_left_out(store):
    """A cover has no place for start timestamps; the samples are there."""
    batch = tick(range(2), HOUR)
    store.write(replace(batch, start_timestamps=np.array([5, 5], np.int64)))
    assert len(check(store, ALL, 0, 9 * HOUR).labels) == 2


def test_memory_is_bounded(tmp_path):
    """Covers beyond the bound go, the least recently asked first; a huge one is not kept at all."""
    with LocalStore(tmp_path / "small.db", StoreSettings(cover_cache_bytes_max=20_000)) as store:
        for k in range(30):
            store.write(tick(range(4), HOUR + k * 10_000))
        for k in range(20):
            matchers = (*ALL, Matcher("k", MatchOp.NOT_EQUAL, f"x{k}"))
            check(store, matchers, 0, 9 * HOUR)
            assert store._covers.cache.nbytes <= 20_000
        assert store.cover(matchers, 0, 9 * HOUR) is store.cover(matchers, 0, 9 * HOUR)
        for k in range(400):
            store.write(tick(range(4), 2 * HOUR + k * 10_000))
        huge = check(store, ALL, 0, 9 * HOUR)
        assert store.cover(ALL, 0, 9 * HOUR) is not huge


def test_many_targets_share_their_timestamps(store):
    """Series of one target share a row of times, small targets share a sheet."""
    names = [labels_of("m", {"k": str(k % 35), "target": f"{k // 35:02}"}) for k in range(350)]
    rows = np.arange(350, dtype=np.int32)
    for at in range(0, 600_000, 10_000):
        times = at + rows.astype(np.int64) // 35
        store.write(Batch(SeriesTable(tuple(names)), rows, times, np.full(350, float(at))))
    wide = check(store, ALL, 0, HOUR)
    assert [len(sheet.times) for sheet in wide.sheets] == [1] * 10
    narrow = check(store, (*ALL, Matcher("k", MatchOp.REGEX, "3|5")), 0, HOUR)
    assert [(len(sheet.times), len(sheet.rows)) for sheet in narrow.sheets] == [(10, 20)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sets(st.integers(0, 6), min_size=1), st.integers(0, 40)),
        st.tuples(st.just("late"), st.sets(st.integers(0, 6), min_size=1), st.integers(0, 40)),
        st.tuples(st.sampled_from(["seal", "merge", "retain", "other"])),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, span=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_whatever_happens_a_cover_is_a_select(tmp_path_factory, steps, span):
    """Any order of writes, late writes, sealing, merging and retention leaves covers equal to selects."""
    path = tmp_path_factory.mktemp("cover") / "store.db"
    options = StoreSettings(seal_after_ms=0, merge_hours=2, retention_ms=20 * HOUR)
    with LocalStore(path, options) as store, LocalStore(path, options) as other:
        now = 0
        for step in steps:
            if step[0] == "write":
                now += step[2] * 200_000
                store.write(tick(sorted(step[1]), now, value=now))
            elif step[0] == "late":
                store.write(tick(sorted(step[1]), max(0, now - step[2] * 200_000), value=-now))
            elif step[0] == "other":
                other.write(tick(range(4), now + 5_000))
            else:
                getattr(store, step[0])(now + HOUR)
            start, end = sorted(part * HOUR // 2 for part in span)
            check(store, ALL, start, end)
            check(store, SOME, max(0, now - HOUR), now)
