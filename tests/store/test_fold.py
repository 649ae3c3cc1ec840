"""Folding: many small rows become few, and no answer tells."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_store import (
    Batch,
    FoldReport,
    LocalStore,
    Maintenance,
    MemoryStore,
    SeriesTable,
    StoreSettings,
    labels_of,
    verify,
)
from ninesight_store.schema import hot
from ninesight_store.testing import Point, batch_of, bits_of, samples_of

EVER = (-(2**50), 2**50)
HOUR_MS = 3_600_000
SETTINGS = StoreSettings(seal_after_ms=0, merge_hours=2, seal_samples_max=300)
FLOATS = [labels_of("m", {"i": str(i)}) for i in range(8)]
POINTS = [labels_of("h", {"i": str(i)}) for i in range(3)]
LAYOUTS = [
    FLOATS[0:4],
    FLOATS[2:6],
    [FLOATS[3], FLOATS[1], FLOATS[0]],
    FLOATS[6:8],
    FLOATS[7:8],
    POINTS[:2],
    POINTS,
    [*FLOATS[0:2], POINTS[0]],
]


def target(number, at_ms, value=0.0, series=3):
    """A scrape of one target."""
    return batch_of(
        {labels_of("m", {"t": str(number), "i": str(i)}): [(at_ms, value + i)] for i in range(series)}
    )


def rows_of(store):
    with store._database.reading() as connection:
        return connection.execute(sa.select(hot.c.id, hot.c.layout_id, hot.c.count).order_by(hot.c.id)).all()


def content(store):
    return bits_of(store.select([], *EVER))


writes = st.tuples(
    st.just("write"),
    st.integers(0, len(LAYOUTS) - 1),
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 99)), min_size=4, max_size=4),
    st.booleans(),
)
upkeep = st.tuples(st.sampled_from(["fold", "fold", "fold", "seal"]), st.integers(0, 1), st.booleans())


def batch(layout, second, given, begun):
    """A scrape: all at one time or scattered, floats or points, with start timestamps or without."""
    samples = {}
    for labels, (jitter, pointed, value) in zip(LAYOUTS[layout], given, strict=False):
        point = labels[0][1] == "h" or (pointed and value < 20)
        at_ms = HOUR_MS - 15_000 + 1000 * second + (jitter if pointed else 0)
        samples[labels] = [(at_ms, Point(value, 1.0, {value % 5: 1.0}) if point else float(value))]
    made = batch_of(samples)
    return replace(made, start_timestamps=made.timestamps - 7) if begun and len(made.timestamps) else made


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, len(LAYOUTS) - 1), min_size=1, max_size=3),
    st.lists(st.one_of(writes, writes, writes, writes, writes, upkeep), min_size=8, max_size=60),
)
def test_a_history_answers_as_if_it_had_never_been_folded(chosen, steps):
    """Late and repeated samples, layouts that share series, floats and points, two processes: nothing is told apart."""
    model = MemoryStore()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        with LocalStore(path, SETTINGS) as store, LocalStore(path, SETTINGS) as other:
            for verb, *rest in steps:
                if verb == "write":
                    made = batch(chosen[rest[0] % len(chosen)], *rest[1:])
                    store.write(made)
                    model.write(made)
                elif verb == "fold":
                    (store, other)[rest[0]].fold(fresh=rest[1])
                    assert content(store) == content(model)
                else:
                    (store, other)[rest[0]].seal(HOUR_MS * (1 + rest[1]))
            store.fold(fresh=True)
            span = (HOUR_MS - 9000, HOUR_MS + 3000)
            assert content(store) == content(other) == content(model)
            assert bits_of(store.select([], *span)) == bits_of(model.select([], *span))
            store.seal(2 * HOUR_MS)
            assert content(store) == content(model)
            assert not store.damage()
            assert not other.damage()
        assert verify(path).sound


def test_an_hour_of_scrapes_is_a_few_rows(url):
    """Turn by turn old rows become one, and few of these one again: an hour is a few rows, written anew four times at most."""
    with LocalStore(url, SETTINGS) as store:
        for scrape in range(360):
            for number in range(2):
                store.write(target(number, 10_000 * scrape, value=scrape))
            if scrape % 6 == 5:
                store.fold()
        counters = store.stat().counters
        assert len(rows_of(store)) <= 2 * 32
        assert counters["rows_folded"] == 720 - len(rows_of(store))
        assert counters["samples_folded"] <= 4 * counters["samples_written"]
        got = samples_of(store.select([], *EVER))
        assert len(got) == 6
        for labels, pairs in got.items():
            extra = float(dict(labels)["i"])
            assert pairs == [(10_000 * scrape, scrape + extra) for scrape in range(360)]
        assert store.fold(fresh=True).conflicts == 0
        store.seal(HOUR_MS)
        assert samples_of(store.select([], *EVER)) == got


def test_rows_are_folded_that_were_there_the_last_time(url):
    """What came since the call before stays as it is: readers that keep what they read may not have seen it."""
    with LocalStore(url, SETTINGS) as store:
        for scrape in range(5):
            store.write(target(0, scrape))
        assert store.fold() == FoldReport()
        for scrape in range(5, 8):
            store.write(target(0, scrape))
        assert store.fold() == FoldReport(rows_before=5, rows_after=1, samples=15)
        assert [count for _, _, count in rows_of(store)] == [15, 3, 3, 3]
        assert rows_of(store)[0].id == 5


def test_a_row_does_not_pass_one_that_overwrites_it(url):
    """A fold ends where another layout writes a series of its own at the same time, or its histogram."""
    for between in (
        {labels_of("m", {"t": "0", "i": "1"}): [(2, 50.0)], "else": [(2, 1.0)]},
        {labels_of("m", {"t": "0", "i": "1"}): [(2, Point(1, 1.0, {1: 1}))]},
    ):
        with LocalStore(url, SETTINGS) as store:
            store.retain(2**49)
            for scrape in range(4):
                store.write(target(0, scrape))
            store.write(batch_of(between))
            for scrape in range(4, 6):
                store.write(target(0, scrape))
            before = content(store)
            assert store.fold(fresh=True) == FoldReport(4, 1, 12)
            assert content(store) == before
            for scrape in range(6, 8):
                store.write(target(0, scrape))
            before = content(store)
            # Those behind it follow one another; they do not join the one before it.
            assert store.fold(fresh=True) == FoldReport(4, 1, 12)
            assert content(store) == before


def test_layouts_that_follow_each_other_pass(url):
    """Rows of related layouts that do not overlap in time are no obstacle: a target that lost a series goes on."""
    with LocalStore(url, SETTINGS) as store:
        for scrape in range(8):
            store.write(target(0, scrape, series=2 + scrape % 2))
        before = content(store)
        assert store.fold(fresh=True) == FoldReport(8, 2, 20)
        assert content(store) == before


def test_covers_stay_where_all_was_seen(tmp_path):
    """Folding here or elsewhere leaves what is kept as it is, if that had seen all that was folded; else it is read anew."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store, LocalStore(path, SETTINGS) as other:

        def kept(at):
            return at.cover([], 0, HOUR_MS).samples_in(0, HOUR_MS)

        for scrape in range(6):
            store.write(target(0, scrape))
        assert (kept(store), kept(other)) == (18, 18)
        assert store.fold(fresh=True).rows_before == 6
        assert (kept(store), kept(other)) == (18, 18)
        for scrape in range(6, 12):
            store.write(target(0, scrape))
        assert kept(store) == 36
        assert other.fold(fresh=True).rows_before == 6
        assert (kept(store), store._covers.anew) == (36, 1)
        # The other had not seen the last six.
        assert (kept(other), other._covers.anew) == (36, 2)
        store.write(target(0, 12))
        assert (kept(store), kept(other)) == (39, 39)
        assert (store._covers.anew, other._covers.anew) == (1, 2)


def test_a_row_that_was_kept_in_memory_is_not_taken_for_what_it_became(url):
    """A folded row has the id of one that readers may keep: they read it anew."""
    with LocalStore(url, SETTINGS) as store:
        for scrape in range(64):
            store.write(target(0, scrape, value=scrape))
            before = content(store)
            store.fold(fresh=scrape % 3 == 0)
            assert content(store) == before
        assert len(rows_of(store)) < 10


class Meanwhile:
    """A writer that lets something happen before each of its transactions."""

    def __init__(self, writer, happens):
        self._writer, self._happens = writer, happens

    def alone(self, work):
        self._happens()
        self._writer.alone(work)

    def move(self, work, row_last=0):
        self._happens()
        self._writer.move(work, row_last)


@pytest.mark.parametrize("verb", ["seal", "fold"])
def test_a_fold_that_comes_too_late_is_given_up(url, verb):
    """Where another process sealed or folded the same rows meanwhile nothing changes, and it is counted."""
    with LocalStore(url, SETTINGS) as store, LocalStore(url, SETTINGS) as other:
        for scrape in range(6):
            store.write(target(0, scrape))
        before = content(store)
        act = {"seal": lambda: other.seal(HOUR_MS), "fold": lambda: other.fold(fresh=True)}[verb]
        store._folder._writer = Meanwhile(store._writer, act)
        assert store.fold(fresh=True) == FoldReport(conflicts=1)
        assert store.stat().counters["conflicts"] == 1
        assert content(store) == content(other) == before
        store._folder._writer = store._writer
        assert store.fold(fresh=True) == FoldReport()


def test_a_seal_that_read_rows_before_they_were_folded_is_given_up(url):
    """Sealing takes only rows that are what it read; then it is tried again."""
    with LocalStore(url, SETTINGS) as store, LocalStore(url, SETTINGS) as other:
        for scrape in range(6):
            store.write(target(0, scrape))
        before = content(store)
        store._sealer._writer = Meanwhile(store._writer, lambda: other.fold(fresh=True))
        report = store.seal(HOUR_MS)
        assert (report.conflicts, report.rows) == (1, 0)
        assert content(store) == content(other) == before
        store._sealer._writer = store._writer
        assert (store.seal(HOUR_MS).samples, content(store)) == (18, before)


def test_damaged_rows_stay_as_they_are(tmp_path):
    """What cannot be read is not folded away; what shares its layout stays too, all else is folded."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        for scrape in range(6):
            for number in range(2):
                store.write(target(number, scrape, value=scrape))
        with store._database.writing() as connection:
            connection.execute(sa.update(hot).where(hot.c.id == 5).values(data=b"\1" * 24))
        for _ in range(2):
            store.fold(fresh=True)
        assert [one.id for one in store.damage()] == [5]
        assert [row.id for row in rows_of(store)] == [1, 3, 5, 7, 9, 11, 12]
        assert len(store.select([], *EVER).values) == 15 + 18
    assert [one.id for one in verify(path).damage] == [5]


def test_maintenance_folds_and_does_not_seal_what_folding_takes(url):
    """Many rows of few layouts stay hot, folded, until their hour ends; many layouts are sealed."""
    clock = [0]
    with LocalStore(url, replace(SETTINGS, hot_rows_max=50), now_ms=lambda: clock[0]) as store:
        maintenance = Maintenance(store)
        for scrape in range(60):
            clock[0] = 10_000 * scrape
            for number in range(3):
                store.write(target(number, clock[0]))
            if scrape % 6 == 5:
                maintenance.turn()
        stat = store.stat()
        assert (stat.chunks, maintenance.stat().folded_rows) == (0, 180 - stat.hot_rows)
        assert stat.hot_rows < 80
        for number in range(60):
            store.write(target(f"new{number}", clock[0], series=1 + number % 3))
        maintenance.turn()
        assert (store.stat().hot_rows, store.stat().chunks > 0) == (0, True)
        assert maintenance.stat().errors == 0


def test_large_rows_are_left_alone(url):
    """A row is folded only while it is small: reads of few series, and damage, stay cheap."""
    table = SeriesTable(tuple(labels_of("m", {"i": str(i)}) for i in range(20_000)))
    rows = np.arange(20_000, dtype=np.int32)
    with LocalStore(url, SETTINGS) as store:
        for scrape in range(5):
            store.write(Batch(table, rows, np.full(20_000, scrape, np.int64), np.zeros(20_000)))
        assert store.fold(fresh=True) == FoldReport()
