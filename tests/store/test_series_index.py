"""The series index: the same answers as looking at every series, for what is alive in a span."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_store import LocalStore, Matcher, MatchOp, StoreFormatError, StoreSettings, labels_of
from ninesight_store.hashed_slots import HashedSlots
from ninesight_store.matchers import compile_matchers, labels_match
from ninesight_store.selection import selection_of
from ninesight_store.series_index import SeriesIndex
from ninesight_store.testing import batch_of, samples_of

HOUR_MS = 3_600_000
SETTINGS = StoreSettings(seal_after_ms=0, merge_hours=2, retention_ms=10 * HOUR_MS)

words = st.sampled_from(["", "a", "b", "ab", "ba", "é", "a.b"])
series = st.builds(
    lambda name, pairs: labels_of(name or "m", pairs),
    words,
    st.dictionaries(st.sampled_from(["job", "zone", "a", "z"]), words, max_size=4),
)
matchers = st.lists(
    st.builds(
        Matcher,
        st.sampled_from(["__name__", "job", "zone", "a", "nowhere"]),
        st.sampled_from(list(MatchOp)),
        st.sampled_from(["", "a", "b", "a|b", ".*", ".+", "a.*", "[ab]+", "(a|b)?"]),
    ),
    max_size=3,
)
spans = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=2)


@settings(max_examples=200)
@given(
    known=st.lists(st.tuples(series, spans), unique_by=lambda each: each[0], max_size=25),
    selector=matchers,
    first=st.integers(0, 10),
    width=st.integers(0, 5),
    gone=st.sets(st.integers(1, 25)),
)
def test_selections_are_what_looking_at_every_series_gives(known, selector, first, width, gone):
    """Matchers, order, hours, and what is left after a drop agree with the obvious way."""
    index = SeriesIndex(0)
    for number, (labels, _) in enumerate(known, 1):
        index.extend([(number, labels)], number + 1)
    for number, (_, hours) in enumerate(known, 1):
        for start, length in hours:
            index.alive(np.array([number]), start, start + length)
    left = {number: entry for number, entry in enumerate(known, 1) if number not in gone}
    compiled = compile_matchers(selector)
    hours = (first, first + width)
    for answers, there in ((index, dict(enumerate(known, 1))), (index.only(np.array(sorted(left)), 1), left)):
        found = answers.selection(selector)
        want = sorted((labels, n) for n, (labels, _) in there.items() if labels_match(compiled, labels))
        assert list(zip(found.labels, found.ids.tolist(), strict=True)) == want
        some = answers.selection(selector, hours)
        alive = {
            n
            for n, (_, spans) in there.items()
            if spans and min(s for s, _ in spans) <= hours[1] and max(s + w for s, w in spans) >= hours[0]
        }
        assert list(zip(some.labels, some.ids.tolist(), strict=True)) == [e for e in want if e[1] in alive]
        assert {labels: answers.id_of(labels) for labels, _ in there.values()} == {
            labels: n for n, (labels, _) in there.items()
        }
        assert len(answers) == len(there)
        assert answers.numbers().tolist() == sorted(there)


def test_hashes_that_meet_keep_their_slots_apart():
    """Slots under one hash are all found, fresh or settled; the caller compares."""
    slots = HashedSlots()
    slots.add([7, 8, 7], 0)
    assert slots.find(7) == [0, 2]
    slots.add(list(range(10_000)), 3)
    slots.add([7], 20_000)
    assert slots.find(7) == [0, 2, 10, 20_000]
    assert slots.find(9999) == [10_002]
    assert slots.find(-1) == []


def test_ids_far_apart_take_no_more_memory_than_they_span():
    """A selection's columns begin at its lowest id, and ids outside them are not chosen."""
    chosen = selection_of((labels_of("a"), labels_of("b")), np.array([1_000_003, 1_000_000]))
    assert chosen.nbytes < 1000
    ids = np.array([1, 1_000_000, 1_000_001, 1_000_003, 2_000_000])
    assert chosen.among(ids).tolist() == [False, True, False, True, False]
    assert chosen.ranks(np.array([1_000_000, 1_000_003])).tolist() == [1, 0]


def test_series_that_ended_are_not_looked_at(url):
    """Selecting a span gives the series that have samples in it, in this store and in one opened beside it."""
    with LocalStore(url, SETTINGS) as store, LocalStore(url, read_only=True) as other:
        for hour in range(6):
            store.write(
                batch_of(
                    {
                        labels_of("m", {"pod": str(hour)}): [(hour * HOUR_MS, 1.0)],
                        "all": [(hour * HOUR_MS, 1.0)],
                    }
                )
            )
            if hour % 2:
                store.seal(hour * HOUR_MS)
                store.merge(hour * HOUR_MS)
            for reader in (store, other):
                got = reader.series([Matcher("__name__", MatchOp.EQUAL, "m")], hour * HOUR_MS, hour * HOUR_MS)
                assert got == (labels_of("m", {"pod": str(hour)}),)
                assert len(reader.select([], 0, hour * HOUR_MS).labels) == hour + 2
        with store._database.reading() as connection:
            index = store._catalog.refresh(connection).series
        assert len(index.selection([], (5, 5)).labels) == 2
        late = labels_of("m", {"pod": "0"})
        store.write(batch_of({late: [(5 * HOUR_MS + 7, 2.0)]}))
        for reader in (store, other):
            got = samples_of(reader.select([Matcher("pod", MatchOp.EQUAL, "0")], 5 * HOUR_MS, 6 * HOUR_MS))
            assert got == {late: [(5 * HOUR_MS + 7, 2.0)]}


def test_series_that_retention_dropped_leave_the_index(url):
    """Series without samples leave the memory of every process; those that are left are found as before."""
    with LocalStore(url, SETTINGS) as store, LocalStore(url, read_only=True) as other:
        old = {labels_of("old", {"i": str(i)}): [(i, 1.0)] for i in range(50)}
        store.write(batch_of(old | {"kept": [(0, 1.0), (15 * HOUR_MS, 2.0)]}))
        assert len(other.select([], 0, HOUR_MS).labels) == 51
        assert store.retain(20 * HOUR_MS).series == 50
        for reader in (store, other):
            assert samples_of(reader.select([], 0, 2**50)) == {labels_of("kept"): [(15 * HOUR_MS, 2.0)]}
            assert reader.stat().series == 1
        store.write(batch_of({labels_of("old", {"i": "3"}): [(16 * HOUR_MS, 3.0)]}))
        for reader in (store, other):
            got = samples_of(reader.select([Matcher("i", MatchOp.EQUAL, "3")], 0, 2**50))
            assert got == {labels_of("old", {"i": "3"}): [(16 * HOUR_MS, 3.0)]}


def test_series_that_could_not_be_read_are_asked_for_again(tmp_path):
    """A read that breaks half-way through the new series is an error each time, never an answer without the rest."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        store.write(batch_of({"first": [(0, 1.0)]}))
        other = LocalStore(path, read_only=True)
        assert len(other.select([], 0, HOUR_MS).labels) == 1
        store.write(batch_of({labels_of("m", {"pod": f"pod-{i:06}"}): [(0, 1.0)] for i in range(9000)}))
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (page_bytes,) = raw.execute("PRAGMA page_size").fetchone()
        whole = bytearray(path.read_bytes())
        start = whole.index(b"pod-006000") // page_bytes * page_bytes
        whole[start : start + 8] = b"\xff" * 8
        path.write_bytes(whole)
        with closing(other):
            for _ in range(3):
                with pytest.raises(StoreFormatError):
                    other.select([], 0, HOUR_MS)
