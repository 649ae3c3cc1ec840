"""Damage: what a flipped bit costs, who is told, and what stays readable."""

from __future__ import annotations

import gzip
import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ninesight_store import LocalStore, StoreFormatError, StoreSettings, labels_of, verify
from ninesight_store.schema import FORMAT_VERSION
from ninesight_store.testing import Point, batch_of, bits_of, exemplars_of, samples_of

HOUR_MS = 3_600_000
SETTINGS = StoreSettings(seal_after_ms=0, merge_hours=2)
EVER = (0, 2**50)
UP = [labels_of("up", {"job": job}) for job in "abcd"]
LATENCY = [labels_of("latency", {"job": job}) for job in "ab"]


def hour_of(hour, shift=0.0):
    times = range(hour * HOUR_MS, (hour + 1) * HOUR_MS, 60_000)
    series = {labels: [(time, shift + time / 7 + row) for time in times] for row, labels in enumerate(UP)}
    for labels in LATENCY:
        series[labels] = [
            (time, Point(count=float(at + 1), sum=at / 3, positive={at % 5: float(at + 1)}))
            for at, time in enumerate(times)
        ]
    return batch_of(series)


@pytest.fixture
def path(tmp_path):
    """A store with a sealed and a hot hour."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        store.write(hour_of(0))
        store.write(hour_of(1))
        store.seal(HOUR_MS)
    return path


def flip(path, table, column, number, bit):
    """Flip one bit of a blob, as a bad disk would: nothing else of the row changes."""
    with sqlite3.connect(path) as connection:
        (blob,) = connection.execute(f"SELECT {column} FROM {table} WHERE id = ?", (number,)).fetchone()
        changed = bytearray(blob)
        changed[bit // 8 % len(blob)] ^= 1 << bit % 8
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (bytes(changed), number))
    connection.close()


def ids(path, table):
    connection = sqlite3.connect(path)
    found = [row[0] for row in connection.execute(f"SELECT id FROM {table} ORDER BY id")]
    connection.close()
    return found


def test_a_sound_store_verifies(path):
    """Nothing is found in a store that nobody touched, and everything in it was checked."""
    steps = []
    report = verify(path, told=steps.append)
    assert report.sound
    assert (report.rows, report.samples, report.unchecked) == (2, 2 * 6 * 60, 0)
    assert steps[-1].done == steps[-1].total == report.rows + report.chunks


@pytest.mark.parametrize("column", ["times", "ends", "data"])
def test_any_flipped_bit_of_a_chunk_is_found(path, column):
    """Wherever in a chunk's blobs a bit flips, verify names the chunk, its span, and at most its series."""
    chance = random.Random(column)
    for number in ids(path, "store_chunks"):
        for _ in range(6):
            bit = chance.randrange(1 << 20)
            flip(path, "store_chunks", column, number, bit)
            report = verify(path)
            (damage,) = report.damage
            assert (report.damaged, damage.part, damage.id) == (1, "chunk", number)
            assert (damage.start_ms, damage.end_ms) == (0, HOUR_MS - 60_000)
            assert damage.series
            assert set(damage.series) <= {*UP, *LATENCY}
            assert column != "data" or len(damage.series) == 1
            flip(path, "store_chunks", column, number, bit)
    assert verify(path).sound


@pytest.mark.parametrize("column", ["times", "data"])
def test_any_flipped_bit_of_a_hot_row_is_found(path, column):
    """Hot rows are covered like chunks."""
    chance = random.Random(column)
    for number in ids(path, "store_hot"):
        for _ in range(6):
            bit = chance.randrange(1 << 20)
            flip(path, "store_hot", column, number, bit)
            (damage,) = verify(path).damage
            assert (damage.part, damage.id, damage.start_ms) == ("row", number, HOUR_MS)
            flip(path, "store_hot", column, number, bit)


@pytest.mark.parametrize(
    ("table", "column", "part"),
    [
        ("store_chunks", "end_ms", "chunk"),
        ("store_chunks", "layout_id", "chunk"),
        ("store_chunks", "count", "chunk"),
        ("store_hot", "start_ms", "row"),
        ("store_hot", "hour", "row"),
        ("store_hot", "layout_id", "row"),
    ],
)
def test_a_changed_header_is_found(path, table, column, part):
    """What a query finds a row by is covered as well."""
    with sqlite3.connect(path) as connection:
        number = ids(path, table)[0]
        connection.execute(f"UPDATE {table} SET {column} = {column} + 1 WHERE id = ?", (number,))
    connection.close()
    assert {(one.part, one.id) for one in verify(path).damage} == {(part, number)}


def test_a_damaged_chunk_costs_one_series_its_hour(path):
    """Reads leave out the damaged series of the chunk, return all else, and say so in stat and damage."""
    with LocalStore(path, SETTINGS) as store:
        before = samples_of(store.select([], *EVER))
    flip(path, "store_chunks", "data", ids(path, "store_chunks")[0], 40)
    with LocalStore(path, SETTINGS) as store:
        after = samples_of(store.select([], *EVER))
        (lost,) = [labels for labels in UP if after[labels] != before[labels]]
        assert after[lost] == before[lost][60:]
        assert [after[labels] == before[labels] for labels in before].count(False) == 1
        assert store.stat().counters["parts_damaged"] == 1
        (damage,) = store.damage()
        assert damage.series == (lost,)
        assert "checksum" in str(damage)


def test_damage_is_never_sealed_or_merged_away(path):
    """A damaged row or chunk stays as it is; the others are sealed and merged, and maintenance goes on."""
    row = ids(path, "store_hot")[0]
    chunk = ids(path, "store_chunks")[0]
    flip(path, "store_hot", "data", row, 77)
    flip(path, "store_chunks", "data", chunk, 77)
    with LocalStore(path, SETTINGS) as store:
        store.write(hour_of(1, shift=1.0))
        store.seal(4 * HOUR_MS)
        assert ids(path, "store_hot") == [row]
        store.merge(4 * HOUR_MS)
        store.merge(4 * HOUR_MS)
        assert chunk in ids(path, "store_chunks")
        got = samples_of(store.select([], *EVER))
        assert [pair for pair in got[UP[1]] if pair[0] >= HOUR_MS] == samples_of_batch(UP[1])
        assert store.seal(4 * HOUR_MS).rows == 0


def samples_of_batch(labels):
    row = UP.index(labels)
    return [(time, 1.0 + time / 7 + row) for time in range(HOUR_MS, 2 * HOUR_MS, 60_000)]


def test_a_damaged_layout_or_series_leaves_the_rest(path):
    """A list of series or a label set that is damaged costs its own samples or name, never the store."""
    with LocalStore(path, SETTINGS) as store:
        whole = samples_of(store.select([], *EVER))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE store_series SET labels = CAST(x'ff5b22' AS TEXT) WHERE id = 1")
        (layout,) = connection.execute("SELECT min(layout_id) FROM store_chunks").fetchone()
        connection.execute("UPDATE store_layouts SET ids = x'0900000001' WHERE id = ?", (layout,))
    connection.close()
    with LocalStore(path, SETTINGS) as store:
        got = samples_of(store.select([], *EVER))
        assert labels_of("ninesight_damaged_series", {"id": "1"}) in store.series([], *EVER)
        assert sum(map(len, got.values())) >= 60 * 4
        assert any(got.get(labels) == pairs for labels, pairs in whole.items())
        store.seal(4 * HOUR_MS)
        store.retain(4 * HOUR_MS)
        assert store.stat().series == 6
    assert {one.part for one in verify(path).damage} >= {"layout", "series"}


def test_damaged_pages_of_the_file(path):
    """Bytes overwritten in the file itself are found, and never hang or crash a read of the rest."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    whole = path.read_bytes()
    used = [at for at in range(4096, len(whole) - 16) if whole[at]]
    chance = random.Random(9)
    found = 0
    for _ in range(30):
        changed = bytearray(whole)
        at = chance.choice(used)
        changed[at : at + 16] = chance.randbytes(16)
        path.write_bytes(bytes(changed))
        try:
            report = verify(path)
        except StoreFormatError:
            found += 1
            continue
        found += not report.sound
        try:
            with LocalStore(path, SETTINGS, read_only=True) as store:
                store.select([], *EVER)
        except StoreFormatError:
            assert not report.sound
    assert found >= 15, "most of the bytes are samples or structure"


def unpacked(tmp_path, name="format1"):
    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress((Path(__file__).parent / f"{name}.db.gz").read_bytes()))
    return path


def test_a_file_of_format_1_is_read_and_upgraded(tmp_path):
    """A store written by format 1 reads the same before and after its upgrade, and new rows are checked."""
    path = unpacked(tmp_path)
    with LocalStore(path, SETTINGS, read_only=True) as store:
        columns = store.select([], *EVER)
        before = bits_of(columns)
    assert [len(columns.labels), len(columns.timestamps), len(columns.histograms)] == [4, 720, 240]
    assert verify(path).unchecked == 6
    with LocalStore(path, SETTINGS) as store:
        assert bits_of(store.select([], *EVER)) == before
        store.seal(9 * HOUR_MS)
        store.merge(9 * HOUR_MS)
        assert bits_of(store.select([], *EVER)) == before
    report = verify(path)
    assert report.sound
    assert report.unchecked == 2, "the block that was merged already stays as it was"
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT value FROM store_info WHERE key = 'format'").fetchone() == (
            FORMAT_VERSION,
        )
    connection.close()


def test_a_file_of_format_2_is_read_and_upgraded(tmp_path):
    """A store written by format 2 reads the same before and after its upgrade, and takes what is new."""
    path = unpacked(tmp_path, "format2")
    with LocalStore(path, SETTINGS, read_only=True) as store:
        before = bits_of(store.select([], *EVER))
        assert store.exemplars([[]], *EVER) == ()
        assert store.stat().exemplars == 0
    assert verify(path).sound
    with LocalStore(path, SETTINGS) as store:
        assert bits_of(store.select([], *EVER)) == before
        batch = batch_of({"m": [(9 * HOUR_MS, 1.0)]})
        traces = exemplars_of([(0, {"trace_id": "a"}, 1.0, 9 * HOUR_MS)])
        store.write(replace(batch, start_timestamps=np.array([7], np.int64), exemplars=traces))
        store.seal(20 * HOUR_MS)
        store.merge(30 * HOUR_MS)
        assert bits_of(store.select([], 0, 9 * HOUR_MS - 1)) == before
        assert store.select([], 9 * HOUR_MS, 9 * HOUR_MS).start_timestamps.tolist() == [7]
        assert len(store.exemplars([[]], *EVER)) == 1
    assert verify(path).sound


def test_damage_without_checksums_is_found_by_decoding(tmp_path):
    """What format 1 wrote has no checksum: bytes that cannot be decoded are left out all the same."""
    path = unpacked(tmp_path)
    with LocalStore(path, SETTINGS) as store:
        whole = store.select([], *EVER)
    with sqlite3.connect(path) as connection:
        number = connection.execute("SELECT min(id) FROM store_chunks WHERE kind = 1").fetchone()[0]
        connection.execute("UPDATE store_chunks SET data = substr(data, 1, 30) WHERE id = ?", (number,))
    connection.close()
    with LocalStore(path, SETTINGS) as store:
        got = store.select([], *EVER)
        assert store.stat().counters["parts_damaged"] == 1
    assert (got.values == whole.values).all()
    assert 0 < len(got.histograms) < len(whole.histograms)
    assert not verify(path).sound
