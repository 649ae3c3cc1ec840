"""Rollups sum up what is stored, sample for sample."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from ninesight_store import (
    ROLLUP_MS,
    STALE_NAN,
    Batch,
    Matcher,
    MatchOp,
    MemoryStore,
    SeriesTable,
    labels_of,
    rollup_of,
)
from ninesight_store.contract import STALE_BITS

SERIES = SeriesTable((labels_of("a", {"i": "1"}), labels_of("a", {"i": "2"}), labels_of("b")))
ALL = [Matcher("__name__", MatchOp.REGEX, ".+")]
FIELDS = ("first_ms", "last_ms", "count", "first", "last", "lost", "sum", "low", "high")


def is_stale(value):
    """Bit for bit."""
    return int(np.float64(value).view(np.uint64)) == STALE_BITS


@st.composite
def histories(draw):
    """Samples (row, time, value), unique by row and time, many of them at the ends of bins."""
    step = draw(st.sampled_from([10_000, 60_000, 7_001]))
    values = st.one_of(st.floats(-10, 10), st.sampled_from([float("nan"), float("inf"), STALE_NAN, 3.0, 4.0]))
    ticks = st.tuples(st.integers(0, 2), st.integers(-5, 4 * ROLLUP_MS // step))
    cells = draw(st.dictionaries(ticks, values, max_size=60))
    return [(row, tick * step, value) for (row, tick), value in sorted(cells.items())]


def naive(samples, edges):
    """The bins of one series, sample by sample."""
    bins = []
    for time, value in samples:
        key = (-(-time // ROLLUP_MS), sum(edge < time for edge in edges))
        if not bins or bins[-1][0] != key:
            bins.append((key, []))
        bins[-1][1].append((time, value))
    out = []
    for _, held in bins:
        values = [value for _, value in held]
        known = [value for value in values if not np.isnan(value)] or [float("nan")]
        lost = sum(before for before, after in pairwise(values) if after < before)
        first, last = held[0], held[-1]
        with np.errstate(invalid="ignore"):
            total = np.sum(np.array(values))
        out.append((first[0], last[0], len(held), first[1], last[1], lost, total, min(known), max(known)))
    return out


@given(histories(), st.lists(st.integers(-100_000, 4 * ROLLUP_MS), max_size=5))
def test_bins_hold_what_their_samples_say(history, edges):
    """Every column of every bin is that of the samples in it; no bin reaches over an edge."""
    store = MemoryStore()
    rows, times, values = (np.array(part) for part in zip(*history, strict=True)) if history else ([], [], [])
    store.write(
        Batch(SERIES, np.array(rows, np.int32), np.array(times, np.int64), np.array(values, np.float64))
    )
    edges = sorted(edges)
    rolled = rollup_of(store.select(ALL, -(2**40), 2**40), np.array(edges, np.int64))
    for at, labels in enumerate(rolled.labels):
        row = SERIES.labels.index(labels)
        mine = [(time, value) for owner, time, value in history if owner == row]
        expected = naive([sample for sample in mine if not is_stale(sample[1])], edges)
        low, high = rolled.offsets[at], rolled.offsets[at + 1]
        got = [getattr(rolled.bins, name)[low:high] for name in FIELDS]
        assert high - low == len(expected)
        for column, wanted in zip(got, zip(*expected, strict=True), strict=False):
            np.testing.assert_allclose(column, np.array(wanted), rtol=1e-9, atol=1e-9)
        marks = rolled.stale_ms[rolled.stale_offsets[at] : rolled.stale_offsets[at + 1]]
        assert marks.tolist() == [time for time, value in mine if is_stale(value)]
