"""What `LocalStore.rollup` answers is what its samples say, wherever they lie: hot, sealed, merged, late, twice."""

from __future__ import annotations

import os
import tempfile
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
    LocalStore,
    Matcher,
    MatchOp,
    SeriesTable,
    StoreSettings,
    labels_of,
    rollup_of,
)

HOUR_MS = 3_600_000
SETTINGS = StoreSettings(seal_after_ms=0, merge_hours=2)
ALL = [Matcher("__name__", MatchOp.REGEX, ".+")]
SERIES = SeriesTable(tuple(labels_of(name) for name in ("calm", "counter", "gauge", "idle", "nans", "whole")))
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def dense(seed, start_ms, end_ms, step_ms):
    """Samples of every series: some rise for ever, some fall now and then."""
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
    rows = np.repeat(np.arange(len(SERIES), dtype=np.int32), count)
    return Batch(SERIES, rows, np.tile(times, len(SERIES)), values.ravel())


def folded(rollup, edges):
    """Put bins together again that were split where a chunk ends."""
    bins = rollup.bins
    out = []
    for row, labels in enumerate(rollup.labels):
        last = None
        for at in range(rollup.offsets[row], rollup.offsets[row + 1]):
            one = {name: getattr(bins, name)[at] for name in vars(bins) if len(getattr(bins, name))}
            key = (labels, -(-one["first_ms"] // ROLLUP_MS), sum(edge < one["first_ms"] for edge in edges))
            assert key[1:] == (-(-one["last_ms"] // ROLLUP_MS), sum(edge < one["last_ms"] for edge in edges))
            if last is None or last[0] != key:
                last = (key, one)
                out.append(last)
                continue
            before = last[1]
            assert one["first_ms"] > before["last_ms"]
            if "lost" in one:
                fallen = before["last"] if one["first"] < before["last"] else 0.0
                before["lost"] += one["lost"] + fallen
            if "sum" in one:
                before["sum"] += one["sum"]
            if "low" in one:
                before["low"] = np.fmin(before["low"], one["low"])
            if "high" in one:
                before["high"] = np.fmax(before["high"], one["high"])
            before["count"] += one["count"]
            before["last"], before["last_ms"] = one["last"], one["last_ms"]
    return out


def assert_same(got, want, edges):
    """Compare bins up to where chunks split them, and stale markers exactly."""
    assert got.labels == want.labels
    mine, theirs = folded(got, edges), folded(want, edges)
    assert [key for key, _ in mine] == [key for key, _ in theirs]
    for (key, one), (_, other) in zip(mine, theirs, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-9, err_msg=f"{key} {name}")
    np.testing.assert_array_equal(got.stale_offsets, want.stale_offsets)
    np.testing.assert_array_equal(got.stale_ms, want.stale_ms)


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
    edges = np.array(edges, np.int64)
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        LocalStore(Path(folder) / "store.db", SETTINGS) as store,
    ):
        live(store, life)
        want = rollup_of(store.select(ALL, *span), edges, wanted)
        for _ in range(2):
            assert_same(store.rollup(ALL, *span, edges, wanted), want, edges.tolist())
        whole = rollup_of(store.select(ALL, -HOUR_MS, 2**40), edges[:0])
        assert_same(store.rollup(ALL, -HOUR_MS, 2**40, edges[:0]), whole, [])


@pytest.fixture
def decoded(monkeypatch):
    """The chunks that were read sample by sample."""
    from ninesight_store import rollup_reader

    seen = []
    real = rollup_reader.picked_pieces

    def spy(connection, kind, chosen, *rest):
        seen.extend(meta.id for meta, picked in chosen if len(picked.positions))
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
        for edges, chunks in ((aligned, 0), (np.append(aligned[:3], 2 * ROLLUP_MS + 1), 1)):
            span = (ROLLUP_MS + 1, 4 * HOUR_MS - 2 * ROLLUP_MS)
            want = rollup_of(store.select(ALL, *span), edges)
            assert_same(store.rollup(ALL, *span, edges), want, edges.tolist())
            assert len(decoded) == chunks
