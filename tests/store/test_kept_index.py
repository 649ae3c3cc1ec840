"""The kept index: opening with it gives what reading every series gives, whatever happened before and since."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_store import (
    LocalStore,
    Maintenance,
    Matcher,
    MatchOp,
    StoreError,
    StoreSettings,
    backup,
    labels_of,
    restore,
    verify,
)
from ninesight_store.index_snapshot import SnapshotState, packed, unpacked
from ninesight_store.testing import batch_of, bits_of

HOUR_MS = 3_600_000
SETTINGS = StoreSettings(seal_after_ms=0, merge_hours=2, retention_ms=4 * HOUR_MS)
EVER = (0, 2**50)

writes = st.tuples(
    st.just("write"), st.integers(0, 6), st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)
)
steps = st.lists(
    st.one_of(writes, writes, st.tuples(st.sampled_from(["upkeep", "keep", "reopen"]))),
    min_size=3,
    max_size=14,
)


def labels(number):
    return labels_of(f"m{number % 3}", {"pod": f'p{number}é"', "zone": "ab"[number % 2]})


def answers(store):
    """What the index says: series, hours, layouts, and every sample."""
    with store._database.reading() as connection:
        known = store._catalog.refresh(connection)
        ids = known.series.numbers().tolist()
        per_hour = [
            list(zip(found.labels, found.ids.tolist(), strict=True))
            for found in (known.series.selection([], (hour, hour)) for hour in range(12))
        ]
        lists = {number: known.layouts[number].ids.tolist() for number in known.layouts.numbers()}
    named = dict(zip(ids, known.series.labels_of(ids), strict=True))
    assert {one: known.series.id_of(one) for one in named.values()} == {one: n for n, one in named.items()}
    zones = [store.select([Matcher("zone", MatchOp.REGEX, each)], *EVER) for each in ("a", ".*b", "")]
    return named, per_hour, lists, [bits_of(columns) for columns in zones]


def rebuilt(path, tmp):
    """Answers of a copy whose kept index was taken away."""
    copy = Path(tmp) / "copy.db"
    copy.unlink(missing_ok=True)
    backup(path, copy)
    with closing(sqlite3.connect(copy)) as raw, raw:
        raw.execute("DELETE FROM store_index")
    with LocalStore(copy, SETTINGS, read_only=True) as store:
        found = answers(store)
        assert "index_loads" not in store.stat().counters
    return found


@settings(max_examples=60, deadline=None)
@given(history=steps)
def test_a_kept_index_answers_as_one_built_anew(history):
    """Series that came, lived on or were dropped before and after it was kept are as the tables have them."""
    with tempfile.TemporaryDirectory() as tmp:
        path, now, kept = Path(tmp) / "store.db", 0, False

        def opened():
            return LocalStore(path, SETTINGS, now_ms=lambda: now)

        store = opened()
        try:
            for step, *rest in history:
                if step == "write":
                    now += rest[0] * HOUR_MS // 4
                    store.write(batch_of({labels(n): [(now, float(n))] for n in rest[1]}))
                elif step == "upkeep":
                    store.seal()
                    store.merge()
                    store.retain()
                elif step == "keep":
                    kept |= store.keep_index()
                else:
                    store.close()
                    store = opened()
        finally:
            store.close()
        want = rebuilt(path, tmp)
        for read_only in (True, False):
            with LocalStore(path, SETTINGS, read_only=read_only, now_ms=lambda: now) as fresh:
                named, per_hour, lists, samples = answers(fresh)
                assert (named, lists, samples) == (want[0], want[2], want[3])
                # Hours are a superset: rows that went may be remembered, none that is there may be missed.
                assert all(
                    set(map(tuple, there)) <= set(map(tuple, said))
                    for there, said in zip(want[1], per_hour, strict=True)
                )
                assert fresh.stat().counters.get("index_loads", 0) == kept
                fresh.write(
                    batch_of({labels(n): [(now, -1.0)] for n in range(11)})
                ) if not read_only else None
                if not read_only:
                    assert len(fresh.select([], now, now).labels) == 11
        assert verify(path).sound


def churned(store, hours=6):
    for hour in range(hours):
        store.write(
            batch_of(
                {labels_of("m", {"pod": f"{hour}-{n}"}): [(hour * HOUR_MS, 1.0)] for n in range(40)}
                | {"all": [(hour * HOUR_MS, 1.0)]}
            )
        )
        store.seal((hour + 1) * HOUR_MS)


def test_opening_takes_the_kept_index_on_both_databases(url):
    """It is loaded once, in processes that write and that only read, and grows with what came since."""
    with LocalStore(url, SETTINGS) as store:
        assert not store.keep_index()
        churned(store)
        want = answers(store)
        assert store.keep_index()
        assert not store.keep_index()
        assert store.stat().counters["index_kept"] == 1
    for read_only in (True, False):
        with LocalStore(url, SETTINGS, read_only=read_only) as store:
            assert answers(store) == want
            assert store.stat().counters["index_loads"] == 1
            assert "index_rebuilds" not in store.stat().counters
    with LocalStore(url, SETTINGS) as store, LocalStore(url, SETTINGS, read_only=True) as other:
        store.write(batch_of({"new": [(5 * HOUR_MS, 1.0)]}))
        assert labels_of("new") in other.series([], 5 * HOUR_MS, 5 * HOUR_MS)
        gone = store.retain(8 * HOUR_MS)
        assert gone.series == 4 * 40
        assert answers(other)[0] == answers(store)[0]
    with LocalStore(url, SETTINGS, read_only=True) as late:
        assert late.stat().counters["index_loads"] == 1
        assert late.stat().series == 2 * 40 + 2
    assert verify(url).sound


def test_maintenance_keeps_it_once_an_hour(url):
    """Each hour's upkeep ends with the index kept; a turn within the hour writes nothing."""
    now = 0
    with LocalStore(url, SETTINGS, now_ms=lambda: now) as store:
        upkeep = Maintenance(store)
        for hour in range(3):
            now = hour * HOUR_MS
            store.write(batch_of({labels_of("m", {"hour": str(hour)}): [(now, 1.0)]}))
            upkeep.turn()
            upkeep.turn()
        assert store.stat().counters["index_kept"] == 3
        assert upkeep.stat().errors == 0
    with LocalStore(url, SETTINGS, read_only=True) as store:
        assert store.stat().counters["index_loads"] == 1


@pytest.fixture
def kept(tmp_path):
    """A store with a kept index, and its answers."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        churned(store)
        store.keep_index()
        return path, answers(store)


def altered(path, statement, *values):
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(statement, values)


def test_a_flipped_bit_anywhere_costs_only_time(kept):
    """Wherever in it a bit flips, the index is built anew, that is counted and told, and no answer changes."""
    path, want = kept
    chance = random.Random(5)
    with closing(sqlite3.connect(path)) as raw:
        parts = raw.execute("SELECT id, data, checksum FROM store_index").fetchall()
    assert len(parts) == 2
    for number, data, checksum in parts:
        for _ in range(10):
            changed = bytearray(data)
            at = chance.randrange(8 * len(data))
            changed[at // 8] ^= 1 << at % 8
            altered(path, "UPDATE store_index SET data = ? WHERE id = ?", bytes(changed), number)
            assert [(one.part, one.id) for one in verify(path).damage] == [("index", number)]
            with LocalStore(path, SETTINGS, read_only=True) as store:
                assert answers(store) == want
                counters = store.stat().counters
                assert (counters["index_damaged"], counters["index_rebuilds"]) == (1, 1)
                assert "built from the series" in str(store.damage()[0])
            altered(path, "UPDATE store_index SET data = ? WHERE id = ?", data, number)
        altered(path, "UPDATE store_index SET checksum = ? WHERE id = ?", checksum ^ 1, number)
        assert not verify(path).sound
        altered(path, "UPDATE store_index SET checksum = ? WHERE id = ?", checksum, number)
    assert verify(path).sound


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM store_index WHERE id = 0",
        "DELETE FROM store_index WHERE id = 1",
        "UPDATE store_index SET id = 7 WHERE id = 1",
        "UPDATE store_info SET value = 3 WHERE key = 'series_next'",
        "UPDATE store_info SET value = 0 WHERE key = 'layout_generation'",
        "UPDATE store_series SET key = x'00' WHERE id = (SELECT max(id) FROM store_series)",
    ],
)
def test_an_index_that_does_not_fit_the_tables_is_not_used(kept, statement):
    """Missing parts, and one that knows more or other series than the tables, are refused."""
    path, _ = kept
    altered(path, statement)
    assert "index" in {one.part for one in verify(path).damage}
    with LocalStore(path, SETTINGS, read_only=True) as store:
        counters = store.stat().counters
        assert (counters["index_damaged"], counters["index_rebuilds"]) == (1, 1)


def test_the_next_upkeep_mends_it(kept):
    """A damaged index is replaced when it is kept again, and a copy is then restored without a word."""
    path, want = kept
    altered(path, "UPDATE store_index SET data = x'00' WHERE id = 1")
    copy = path.with_name("copy.db")
    backup(path, copy)
    with pytest.raises(StoreError, match="index 1"):
        restore(copy, path.with_name("no.db"))
    restore(copy, path.with_name("some.db"), allow_damage=True)
    with LocalStore(path.with_name("some.db"), SETTINGS, read_only=True) as store:
        assert answers(store) == want
    copy.unlink()
    with LocalStore(path, SETTINGS) as store:
        assert store.keep_index()
    backup(path, copy)
    restore(copy, path.with_name("whole.db"))
    with LocalStore(path.with_name("whole.db"), SETTINGS, read_only=True) as store:
        assert answers(store) == want
        assert store.stat().counters["index_loads"] == 1


@pytest.mark.parametrize("table", ["store_series", "store_layouts"])
def test_damage_of_the_tables_is_never_kept(kept, table):
    """While labels or a layout cannot be read, what was kept when they could stays, and serves them."""
    path, want = kept
    column = {"store_series": "labels", "store_layouts": "ids"}[table]
    altered(path, f"UPDATE {table} SET {column} = x'00' WHERE id = (SELECT min(id) FROM {table})")
    with LocalStore(path, SETTINGS) as store:
        assert answers(store) == want
    before = shutil.copy(path, path.with_name("without.db"))
    altered(before, "DELETE FROM store_index")
    with LocalStore(before, SETTINGS) as store:
        assert store.stat().counters["parts_damaged"] == 1
        assert not store.keep_index()


def test_an_index_of_two_mebibytes_is_kept_in_parts(tmp_path):
    """No row is larger than a mebibyte, and many parts are put together again."""
    path, chance = tmp_path / "store.db", random.Random(1)
    many = {labels_of("m", {"id": chance.randbytes(400).hex()}): [(0, 1.0)] for _ in range(3000)}
    with LocalStore(path, SETTINGS) as store:
        store.write(batch_of(many))
        store.keep_index()
        want = answers(store)
    with closing(sqlite3.connect(path)) as raw:
        sizes = [size for (size,) in raw.execute("SELECT length(data) FROM store_index ORDER BY id")]
    assert len(sizes) >= 4
    assert max(sizes) == 2**20
    with LocalStore(path, SETTINGS, read_only=True) as store:
        assert answers(store) == want
        assert store.stat().counters["index_loads"] == 1


def test_a_kept_index_that_breaks_its_own_rules_is_refused(kept):
    """A digest that fits does not help columns that no index could have."""
    path, _ = kept
    with LocalStore(path, SETTINGS, read_only=True) as store:
        store.stat()
        state = store._catalog.state()
    series, layouts = state.series, state.layouts

    def changed(of, **columns):
        return type(of)(**(vars(of) | columns))

    for broken in (
        SnapshotState(changed(series, ids=series.ids[::-1]), layouts),
        SnapshotState(changed(series, lengths=series.lengths[:-1]), layouts),
        SnapshotState(changed(series, flat=series.flat + 10_000), layouts),
        SnapshotState(changed(series, lengths=np.zeros_like(series.lengths), flat=series.flat[:0]), layouts),
        SnapshotState(changed(series, next_id=2), layouts),
        SnapshotState(
            changed(series, pairs=(series.pairs[0], series.pairs[1], ["x"] * len(series.pairs[2]))), layouts
        ),
        SnapshotState(changed(series, pairs=([], series.pairs[1], series.pairs[2])), layouts),
        SnapshotState(series, changed(layouts, numbers=layouts.numbers[::-1])),
        SnapshotState(series, changed(layouts, flat=layouts.flat[:-1])),
        SnapshotState(series, changed(layouts, next_id=1)),
        SnapshotState(series, changed(layouts, first=layouts.first.astype(np.int64))),
    ):
        with pytest.raises(ValueError, match=r"must|cannot|not match"):
            unpacked(*packed(broken))
    head, body = packed(state)
    for other in (
        b"",
        b"[]",
        b"{}",
        head.replace(b'"version":1', b'"version":2'),
        head.replace(b"[", b"{", 1),
    ):
        with pytest.raises(ValueError, match=r"."):
            unpacked(other, body)
    index, table = unpacked(head, body)
    assert (len(index), len(table)) == (len(series.ids), len(layouts.numbers))


def test_one_that_could_not_be_written_leaves_the_one_before(kept):
    """Replacing it is one transaction: an error half-way is told, and what was kept stays."""
    path, _ = kept
    trigger = (
        "CREATE TRIGGER no BEFORE INSERT ON store_index WHEN NEW.id = 1 BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    altered(path, trigger)
    with LocalStore(path, SETTINGS) as store:
        store.write(batch_of({"new": [(5 * HOUR_MS, 1.0)]}))
        with pytest.raises(StoreError, match="no"):
            store.keep_index()
        store.write(batch_of({"newer": [(5 * HOUR_MS, 1.0)]}))
        want = answers(store)
    altered(path, "DROP TRIGGER no")
    with LocalStore(path, SETTINGS, read_only=True) as store:
        assert answers(store) == want
        assert store.stat().counters["index_loads"] == 1
