"""What `LocalStore.rollup` answers is what its samples say, wherever they lie: hot, sealed, merged, late, twice."""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_store import (
    ROLLUP_COLUMNS,
    ROLLUP_MS,
    STALE_NAN,
    Batch,
    HistogramColumns,
    LocalStore,
    Maintenance,
    ResetHint,
    SeriesTable,
    StoreSettings,
    labels_of,
    verify,
)
from ninesight_store.histograms import offsets_of
from ninesight_store.schema import FLOATS, POINTS

from .rollups import assert_rollup

HOUR_MS = 3_600_000
SETTINGS = StoreSettings(seal_after_ms=0, merge_hours=2)
NAMES = ("calm", "counter", "gauge", "idle", "nans", "whole", "grows", "resets", "changes", "spread")
SERIES = SeriesTable(tuple(map(labels_of, NAMES)))
COUNT = 6
"""Series of float samples; the others are histograms."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def dense(seed, start_ms, end_ms, step_ms):
    """Samples of every series: some rise for ever, some fall now and then; and histograms."""
    dice = np.random.default_rng(seed)
    times = np.arange(start_ms, end_ms, step_ms)
    count = len(times)
    grown = np.cumsum(dice.integers(0, 5, (2, count)), axis=1) + 0.5
    reset = int(dice.integers(0, count))
    grown[1, reset:] -= grown[1, reset]
    values = np.stack(
        [
            grown[0],
            grown[1],
            dice.lognormal(0, 2, count),
            np.full(count, 7.25),
            np.where(dice.random(count) < 0.3, np.nan, dice.normal(0, 1, count)),
            dice.integers(-9, 9, count).astype(float),
        ]
    )
    rows = np.repeat(np.arange(COUNT, dtype=np.int32), count)
    points = histograms(dice, times)
    return Batch(SERIES, rows, np.tile(times, COUNT), values.ravel(), points)


def histograms(dice, times):
    """Points of the last series: they grow, begin anew, change their form, end, or are gauges."""
    count = len(times)
    rows = np.repeat(np.arange(COUNT, len(SERIES), dtype=np.int32), count)
    size, width = len(rows), 3
    grown = dice.integers(0, 3, (len(SERIES) - COUNT, count, width)).cumsum(axis=1).astype(float)
    for series in (1, 2):
        reset = int(dice.integers(1, count))
        grown[series, reset:] -= grown[series, reset]
    buckets = grown.reshape(size, width)
    schema, hint = np.full(size, 2, np.int32), np.zeros(size, np.int32)
    sums = buckets.sum(axis=1) / 4
    at = 2 * count + dice.integers(0, count, 3)
    schema[at[0]] = 1
    hint[at[1]] = ResetHint.RESET
    sums[at[2]] = STALE_NAN
    hint[3 * count :] = ResetHint.GAUGE
    lengths = np.full(size, width)
    # Now and then a bucket is not there.
    lengths[at] = 2
    offsets = offsets_of(lengths)
    there = np.ones((size, width), np.bool_)
    there[at, width - 1] = False
    return HistogramColumns(
        series=rows,
        timestamps=np.tile(times, len(SERIES) - COUNT),
        schema=schema,
        hint=hint,
        count=buckets.sum(axis=1),
        sum=sums,
        zero_threshold=np.zeros(size),
        zero_count=np.zeros(size),
        positive_offsets=offsets,
        positive_index=np.tile(np.arange(width, dtype=np.int32), (size, 1))[there],
        positive_count=buckets[there],
        negative_offsets=np.zeros(size + 1, np.int64),
        bounds_offsets=np.zeros(size + 1, np.int64),
    )


@st.composite
def lives(draw):
    """What a store lives through, and what is asked of it."""
    step_ms = draw(st.sampled_from([10_000, 15_000, 7_001, 60_000]))
    hours = draw(st.integers(1, 5))
    odd = st.sampled_from([STALE_NAN, float("nan"), 0.0, 3.0, 1e9])
    extra = st.tuples(
        st.integers(0, hours),
        st.lists(
            st.tuples(st.integers(0, len(SERIES) - 1), st.integers(0, hours * HOUR_MS // step_ms), odd),
            max_size=4,
        ),
    )
    extras = draw(st.lists(extra, max_size=4))
    upkeep = draw(
        st.lists(st.sampled_from(["seal", "seal", "merge", "nothing"]), min_size=hours, max_size=hours)
    )
    begin = draw(st.integers(0, 3)) * 1000
    near = st.one_of(
        st.integers(-1000, (hours + 1) * HOUR_MS), st.integers(0, 4 * hours + 4).map(lambda n: n * ROLLUP_MS)
    )
    edges = sorted(draw(st.lists(near, max_size=4)))
    span = sorted([draw(near), draw(near)])
    wanted = draw(st.sets(st.sampled_from(ROLLUP_COLUMNS)))
    return draw(st.integers(0, 2**20)), step_ms, begin, upkeep, extras, edges, span, wanted


def live(store, life):
    """Write hour by hour, with upkeep and late or repeated samples between."""
    seed, step_ms, begin, upkeep, extras, *_ = life
    for hour, verb in enumerate(upkeep):
        start = hour * HOUR_MS + (
            begin if hour == 0 else -(-hour * HOUR_MS // step_ms) * step_ms - hour * HOUR_MS
        )
        store.write(dense(seed + hour, start, (hour + 1) * HOUR_MS, step_ms))
        if verb in {"seal", "merge"}:
            store.seal((hour + 1) * HOUR_MS)
        if verb == "merge":
            store.merge((hour + 1) * HOUR_MS)
        for at, samples in extras:
            if at == hour and samples:
                rows, ticks, values = zip(*samples, strict=True)
                times = np.array(ticks, np.int64) * step_ms
                store.write(Batch(SERIES, np.array(rows, np.int32), times, np.array(values)))


@settings(max_examples=25, deadline=None)
@given(lives())
def test_a_rollup_is_what_its_samples_say(life):
    """Over any span and edges the bins are those of `select`, asked for the first time and the second."""
    *_, edges, span, wanted = life
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        LocalStore(Path(folder) / "store.db", SETTINGS) as store,
    ):
        live(store, life)
        for _ in range(2):
            assert_rollup(store, span, edges, wanted)
        assert_rollup(store)
        assert verify(Path(folder) / "store.db").sound


@pytest.fixture
def decoded(monkeypatch):
    """Kind and series of each chunk that was read sample by sample."""
    from ninesight_store import rollup_reader

    seen = []
    real = rollup_reader.picked_pieces

    def spy(connection, kind, chosen, *rest):
        seen.extend((kind, len(picked.positions)) for _, picked in chosen if len(picked.positions))
        return real(connection, kind, chosen, *rest)

    monkeypatch.setattr(rollup_reader, "picked_pieces", spy)
    return seen


def test_aligned_windows_of_merged_chunks_read_no_sample(tmp_path, decoded):
    """Where edges and span lie on the grid, stored bins suffice; one edge beside it costs the chunk around it."""
    with LocalStore(tmp_path / "store.db", SETTINGS) as store:
        for hour in range(4):
            store.write(dense(hour, hour * HOUR_MS, (hour + 1) * HOUR_MS, 10_000))
            store.seal((hour + 1) * HOUR_MS)
        store.merge(4 * HOUR_MS)
        aligned = np.arange(0, 4 * HOUR_MS, 2 * ROLLUP_MS)
        span = (ROLLUP_MS + 1, 4 * HOUR_MS - 2 * ROLLUP_MS)
        assert_rollup(store, span, aligned)
        # The histogram that is a gauge, of either block.
        assert decoded == [(POINTS, 1), (POINTS, 1)]
        decoded.clear()
        assert_rollup(store, span, [*aligned[:2], 2 * ROLLUP_MS + 1])
        assert sorted(decoded) == [(FLOATS, COUNT), (POINTS, len(SERIES) - COUNT)]


def flipped(path, number, column, bit):
    """Flip a bit of a rollup, as a bad disk would."""
    with sqlite3.connect(path) as raw:
        (blob,) = raw.execute(f"SELECT {column} FROM store_rollups WHERE id = ?", (number,)).fetchone()
        changed = bytearray(blob)
        changed[bit // 8 % len(blob)] ^= 1 << bit % 8
        raw.execute(f"UPDATE store_rollups SET {column} = ? WHERE id = ?", (bytes(changed), number))
    raw.close()


@pytest.fixture
def path(tmp_path):
    """A store with one merged block."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        for hour in range(2):
            store.write(dense(hour, hour * HOUR_MS, (hour + 1) * HOUR_MS, 10_000))
            store.seal((hour + 1) * HOUR_MS)
        store.merge(2 * HOUR_MS)
        stat = store.stat(payload=True)
    assert (stat.rollups, stat.chunks) == (2, 2)
    assert 0 < stat.rollup_bytes < stat.sealed_bytes + stat.sealed_points_bytes
    return path


@pytest.mark.parametrize("column", ["checksums", "head", "ends", "lost", "sums", "spread"])
def test_a_flipped_bit_of_a_rollup_costs_nothing_but_time(path, column):
    """Reads take the samples instead and count the damage; verify names the rollup and its span."""
    chance = random.Random(column)
    with sqlite3.connect(path) as raw:
        query = f"SELECT id FROM store_rollups WHERE length({column}) > 0"
        numbers = [number for (number,) in raw.execute(query)]
    raw.close()
    for number in numbers:
        for _ in range(4):
            bit = chance.randrange(1 << 20)
            flipped(path, number, column, bit)
            (damage,) = verify(path).damage
            assert (damage.part, damage.id, damage.series) == ("rollup", number, ())
            assert (damage.start_ms, damage.end_ms) == (0, 2 * HOUR_MS - 10_000)
            with LocalStore(path, SETTINGS) as store:
                for _ in range(2):
                    assert_rollup(store)
                # A checksum of a blob that is never read of histograms is not asked for either.
                assert store.stat().counters["parts_damaged"] == 1 or column == "checksums"
            flipped(path, number, column, bit)
    assert verify(path).sound


def test_a_rollup_of_another_chunk_is_damage(path):
    """A rollup with right checksums that is not its chunk's, or of no chunk, is found."""
    with sqlite3.connect(path) as raw:
        chunk, other = (number for (number,) in raw.execute("SELECT id FROM store_rollups ORDER BY id"))
        raw.execute("UPDATE store_rollups SET id = 99 WHERE id = ?", (chunk,))
        raw.execute("UPDATE store_rollups SET id = ? WHERE id = ?", (chunk, other))
    raw.close()
    reasons = {damage.id: damage.reason for damage in verify(path).damage}
    assert reasons == {
        chunk: "the bytes of its head do not match their checksum",
        99: "its chunk is not there",
    }
    with LocalStore(path, SETTINGS) as store:
        assert_rollup(store)


def test_a_merge_mends_a_damaged_rollup(path):
    """Late samples bring a block to be merged again; its rollup is made anew and goes with retention."""
    flipped(path, 5, "ends", 99)
    with LocalStore(path, SETTINGS) as store:
        late = Batch(SERIES, np.zeros(1, np.int32), np.full(1, 123_456, np.int64), np.ones(1))
        store.write(late)
        store.seal(2 * HOUR_MS)
        store.merge(2 * HOUR_MS)
        assert_rollup(store)
        assert store.stat().rollups
    assert verify(path).sound
    with LocalStore(path, SETTINGS) as store:
        store.retain(SETTINGS.retention_ms + 9 * HOUR_MS)
        assert (store.stat().rollups, store.stat().chunks) == (0, 0)


def test_every_database_answers_from_rollups(url):
    """SQLite and PostgreSQL keep rollups with their chunks, verify them, and drop them with retention."""
    with LocalStore(url, SETTINGS) as store:
        for hour in range(3):
            store.write(dense(hour, hour * HOUR_MS, (hour + 1) * HOUR_MS, 10_000))
            store.seal((hour + 1) * HOUR_MS)
        store.merge(2 * HOUR_MS)
        for _ in range(2):
            assert_rollup(store, (ROLLUP_MS + 1, 3 * HOUR_MS), [HOUR_MS, HOUR_MS + 1])
        assert store.stat().rollups == 2
        report = verify(url)
        assert report.sound
        assert report.rollups == 2
        store.retain(SETTINGS.retention_ms + 9 * HOUR_MS)
        assert store.stat().rollups == 0


def test_maintenance_fills_in_what_older_formats_lack(path):
    """Chunks without rollups get them a bounded number of samples at a time, the same as merging would have made."""
    with sqlite3.connect(path) as raw:
        before = raw.execute("SELECT * FROM store_rollups ORDER BY id").fetchall()
        raw.execute("DELETE FROM store_rollups")
    raw.close()
    now_ms = 9 * HOUR_MS
    with LocalStore(path, replace(SETTINGS, seal_samples_max=1), now_ms=lambda: now_ms) as store:
        assert_rollup(store)
        # A chunk a call: of any size, but only one.
        reports = [store.fill_rollups() for _ in range(4)]
        assert [report.rollups for report in reports] == [1, 1, 0, 0]
        assert [report.done for report in reports] == [False, True, True, True]
        assert store.stat().counters["rollups_filled"] == 2
        assert_rollup(store)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT * FROM store_rollups ORDER BY id").fetchall() == before
        raw.execute("DELETE FROM store_rollups WHERE id = (SELECT max(id) FROM store_rollups)")
    raw.close()
    with LocalStore(path, SETTINGS, now_ms=lambda: now_ms) as store:
        maintenance = Maintenance(store)
        maintenance.turn()
        assert maintenance.stat().errors == 0
        assert store.stat().rollups == 2
    assert verify(path).sound


def test_without_merging_sealing_sums_up(tmp_path):
    """A store that leaves its hours alone has rollups of them at once."""
    path = tmp_path / "store.db"
    with LocalStore(path, replace(SETTINGS, merge_hours=0)) as store:
        store.write(dense(1, 0, HOUR_MS, 10_000))
        store.seal(HOUR_MS)
        assert store.stat().rollups == 2
        assert_rollup(store)
    assert verify(path).sound
