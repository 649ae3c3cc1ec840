"""Whatever happens in between (seal, merge, retain, reopen, backup, late and repeated samples), what was written is read."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ninesight_store import (
    Batch,
    LocalStore,
    Matcher,
    MatchOp,
    Metadata,
    StoreSettings,
    backup,
    labels_of,
    verify,
)
from ninesight_store.testing import MemoryStore, Point, batch_of, bits_of, exemplars_of

HOUR_MS = 3_600_000
LABELS = [labels_of("m", {"i": str(i)}) for i in range(4)]
BITS = [0x7FF0000000000002, 0x7FF8000000000000, 0x8000000000000000, 0, 0x3FF0000000000000, 0x4010000000000000]
EVER = (-10 * HOUR_MS, 10 * HOUR_MS)
SETTINGS = StoreSettings(
    retention_ms=3 * HOUR_MS, seal_after_ms=0, merge_hours=3, seal_samples_max=12, row_cache_bytes_max=4000
)

values = st.one_of(
    st.sampled_from([float(np.uint64(bits).view(np.float64)) for bits in BITS]),
    st.floats(allow_nan=False),
    st.integers(0, 1000).map(float),
)
counts = st.one_of(st.integers(0, 50).map(float), st.sampled_from([0.5, -0.0, 2.0**60]))
buckets = st.dictionaries(st.integers(-5, 5), counts, max_size=4)
custom_bounds = st.lists(st.integers(-10, 10), unique=True, min_size=1, max_size=3).map(
    lambda bounds: tuple(float(bound) for bound in sorted(bounds))
)
exponential = st.builds(Point, counts, values, buckets, buckets, st.integers(-4, 8), values, counts)
custom = st.builds(
    lambda count, total, own, bounds: Point(count, total, own, schema=-53, bounds=bounds),
    counts,
    values,
    st.dictionaries(st.integers(0, 4), counts, max_size=3),
    custom_bounds,
)
# Few distinct times: repeats, late samples and samples of other hours are the rule, not the exception.
times = st.integers(-2, 5).flatmap(
    lambda hour: st.sampled_from([0, 1, 1000, 15_000, HOUR_MS - 1]).map(lambda ms: hour * HOUR_MS + ms)
)
samples = st.tuples(times, st.one_of(values, exponential, custom))
batches = st.dictionaries(
    st.sampled_from(LABELS), st.lists(samples, min_size=1, max_size=6), min_size=1, max_size=4
)
kinds = st.sampled_from(["counter", "gauge", "histogram"])
metadata = st.lists(
    st.builds(Metadata, st.sampled_from("mno"), kinds, st.sampled_from(["", "seconds"])), max_size=2
)
traces = st.lists(
    st.tuples(
        st.just(0),
        st.dictionaries(st.sampled_from("ab"), st.text("xyz", max_size=2), max_size=2),
        values,
        times,
    ),
    max_size=3,
)


@st.composite
def writes(draw):
    """Batches with all that may ride along."""
    batch = batch_of(draw(batches), draw(metadata))
    starts = None
    if draw(st.booleans()) and len(batch.timestamps):
        starts = batch.timestamps - draw(st.integers(0, 2)) * 1000
    return replace(batch, start_timestamps=starts, exemplars=exemplars_of(draw(traces)))


steps = st.lists(
    st.one_of(
        writes(),
        writes(),
        st.tuples(st.just("seal"), st.integers(-1, 6)),
        st.tuples(st.just("merge"), st.integers(-1, 9)),
        st.tuples(st.just("retain"), st.integers(-1, 7)),
        st.just(("reopen", 0)),
        st.just(("backup", 0)),
        st.just(("select", 0)),
    ),
    min_size=1,
    max_size=14,
)


@given(steps=steps, span=st.tuples(times, times).map(sorted))
@settings(
    max_examples=int(os.environ.get("NINESIGHT_STORE_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_history_selects_like_the_memory_store(steps, span):
    """Writes, duplicates, late samples, seals, merges and reopening in any order leave the same columns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        truth, store, horizon = MemoryStore(), LocalStore(path, SETTINGS), EVER[0]
        try:
            for number, step in enumerate(steps):
                if isinstance(step, Batch):
                    truth.write(step)
                    store.write(step)
                    continue
                verb, hour = step
                if verb == "reopen":
                    store.close()
                    store = LocalStore(path, SETTINGS)
                elif verb == "select":
                    store.select([], *span)
                elif verb == "backup":
                    copy = Path(folder) / f"copy{number}.db"
                    backup(path, copy)
                    with LocalStore(copy, SETTINGS, read_only=True) as other:
                        compare(other, truth, span, horizon)
                else:
                    getattr(store, verb)(hour * HOUR_MS)
                    if verb == "retain":
                        horizon = max(horizon, hour * HOUR_MS - SETTINGS.retention_ms)
            compare(store, truth, span, horizon)
            if horizon == EVER[0]:
                assert store.series([], *EVER) == truth.series([], *EVER)
            assert verify(path).sound
        finally:
            store.close()


def compare(store, truth, span, horizon):
    """Both stores give the same, from the time on before which retention may have dropped anything."""
    some = [Matcher("i", MatchOp.REGEX, "1|3")]
    for begin, end in (EVER, span):
        start = max(begin, horizon)
        for matchers in ([], some):
            assert bits_of(store.select(matchers, start, end)) == bits_of(truth.select(matchers, start, end))
            assert repr(store.exemplars([matchers], start, end)) == repr(
                truth.exemplars([matchers], start, end)
            )
        assert set(store.series([], start, end)) >= set(truth.select([], start, end).labels)
    assert list(store.metadata()) == list(truth.metadata())
