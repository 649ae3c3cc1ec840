"""anchored and smoothed beside a slow evaluator that walks sample by sample."""

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query import EngineSettings, LocalEngine, labels_of
from ninesight_query.testing import engine_over
from ninesight_store.contract import STALE_NAN, Batch, SeriesTable
from ninesight_store.memory import MemoryStore

LOOKBACK_MS = 60_000
STEP_MS = 10_000


def line(first, second, at, *, counter):
    """The value at a time between two points (time, value)."""
    (t1, y1), (t2, y2) = first, second
    if counter and y2 < y1:
        y1 = 0.0
    return y1 + (y2 - y1) * (at - t1) / (t2 - t1)


def slow_range(name, extension, points, start, end):
    """One series, one window; None where there is no answer."""
    counter = name != "delta"
    beyond = LOOKBACK_MS if extension == "smoothed" else 0
    seen = [(t, v) for t, v in points if start - LOOKBACK_MS < t <= end + beyond]
    earlier = [p for p in seen if p[0] <= start]
    if extension == "anchored":
        inside = [p for p in seen if p[0] > start]
        if not inside:
            return None
        path = [v for _, v in (earlier[-1:] + inside)]
    else:
        inside = [p for p in seen if start < p[0] < end]
        later = [p for p in seen if p[0] >= end][:1]
        if not (inside or later) or (not earlier and not inside and later[0][0] > end):
            return None
        path = [v for _, v in inside]
        if earlier:
            at_start = earlier[-1][0] == start
            path.insert(
                0,
                earlier[-1][1]
                if at_start
                else line(earlier[-1], (inside + later)[0], start, counter=counter),
            )
        if later:
            at_end = later[0][0] == end
            path.append(
                later[0][1] if at_end else line((earlier + inside)[-1], later[0], end, counter=counter)
            )
    pairs = list(itertools.pairwise(path))
    if name == "resets":
        return float(sum(b < a for a, b in pairs))
    if name == "changes":
        return float(sum(b != a for a, b in pairs))
    total = path[-1] - path[0]
    if counter:
        total += sum(a for a, b in pairs if b < a)
    return total / ((end - start) / 1000) if name == "rate" else total


def slow_instant(points, at):
    seen = [(t, v) for t, v in points if at - LOOKBACK_MS < t <= at + LOOKBACK_MS]
    earlier, later = [p for p in seen if p[0] <= at], [p for p in seen if p[0] > at]
    if not earlier:
        return None
    if earlier[-1][0] == at or not later:
        return earlier[-1][1]
    return line(earlier[-1], later[0], at, counter=False)


VALUES = st.integers(0, 9).map(float)
SERIES = st.lists(st.tuples(st.integers(1, 60), VALUES), max_size=14, unique_by=lambda p: p[0]).map(
    lambda pairs: sorted((t * 5_000, v) for t, v in pairs)
)
GRID = [(t * 5_000, float(t * 7 % 10)) for t in range(1, 61, 2)]


def stored(series, stale_at=None):
    """An engine over some series of (time, value)."""
    rows = [(k, t, v) for k, points in enumerate(series) for t, v in points]
    if stale_at is not None:
        rows.append((0, stale_at, STALE_NAN))
    rows.sort(key=lambda row: row[1])
    store = MemoryStore()
    if rows:
        table = SeriesTable(tuple(labels_of("x_total", {"k": str(k)}) for k in range(len(series))))
        store.write(
            Batch(
                table,
                np.array([k for k, _, _ in rows], np.int32),
                np.array([t for _, t, _ in rows], np.int64),
                np.array([v for _, _, v in rows], np.float64),
            )
        )
    return LocalEngine(store, EngineSettings(lookback_ms=LOOKBACK_MS))


def answered(engine, query, start, end):
    """What the engine gives at each step, by series."""
    matrix = engine.range(query, start, end, STEP_MS).value
    return {
        int(dict(labels)["k"]): [
            float(v) if there else None
            for v, there in zip(matrix.values[row], matrix.present[row], strict=True)
        ]
        for row, labels in enumerate(matrix.labels)
    }


def compare(got, series, slow):
    for k, points in enumerate(series):
        wanted = [slow(points, at) for at in range(0, 360_001, STEP_MS)]
        found = got.get(k, [None] * len(wanted))
        for at, (a, b) in enumerate(zip(wanted, found, strict=True)):
            assert (a is None) == (b is None), (k, at, a, b)
            assert a is None or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9), (k, at, a, b)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SERIES, min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(
        [
            ("rate", "anchored"), ("increase", "anchored"), ("delta", "anchored"), ("changes", "anchored"),
            ("resets", "anchored"), ("rate", "smoothed"), ("increase", "smoothed"), ("delta", "smoothed"),
        ]
    ),
    st.sampled_from([5_000, 12_500, 40_000, 90_000]),
    st.sampled_from([0, 7_500]),
)  # fmt: skip
def test_ranges_are_those_of_the_slow_evaluator(series, shared, function, range_ms, offset_ms):
    """Series of one grid and of many, every window position, with an offset."""
    series = [*series, *[GRID] * 15] if shared else series
    name, extension = function
    query = f"{name}(x_total[{range_ms}ms] {extension} offset {offset_ms}ms)"

    def slow(points, at):
        return slow_range(name, extension, points, at - offset_ms - range_ms, at - offset_ms)

    compare(answered(stored(series), query, 0, 360_000), series, slow)


@settings(max_examples=40, deadline=None)
@given(st.lists(SERIES, min_size=1, max_size=3))
def test_instants_are_those_of_the_slow_evaluator(series):
    """A smoothed instant selector."""
    compare(answered(stored(series), "x_total smoothed", 0, 360_000), series, slow_instant)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=8),
    st.sampled_from(["rate", "increase", "delta"]),
    st.sampled_from(["anchored", "smoothed"]),
    st.sampled_from([25, 60, 130]),
)
def test_histograms_of_one_bucket_are_counters(values, name, extension, range_s):
    """A histogram that holds one bucket behaves as the float of its count, in ranges and alone."""
    points = " ".join(str(value) for value in values)
    held = " ".join(f"{{{{count:{v} sum:{v} buckets:[{v}]}}}}" for v in values)
    engine = engine_over(f"load 30s\n  x_total {points}\n  h {held}")
    for query in (f"{name}(%s[{range_s}s] {extension})", "%s smoothed"):
        floats, counts = (
            engine.range(text, 0, 300_000, 15_000).value
            for text in (query % "x_total", f"histogram_count({query % 'h'})")
        )
        assert np.array_equal(floats.present, counts.present)
        assert np.allclose(floats.values[floats.present], counts.values[counts.present], rtol=1e-9, atol=1e-9)


def test_stale_markers_are_passed_over():
    """As ranges do, extended selectors look past the marker."""
    points = [(60_000, 10.0), (120_000, 30.0)]
    engine = stored([points], stale_at=90_000)
    assert answered(engine, "x_total smoothed", 90_000, 90_000) == {0: [20.0]}
    assert answered(engine, "increase(x_total[50s] anchored)", 120_000, 120_000) == {0: [20.0]}


def test_the_same_selector_plain_and_extended():
    """Both share what is read, and keep their own windows."""
    engine = stored([GRID])
    both = answered(engine, "increase(x_total[40s] smoothed) - increase(x_total[40s])", 0, 360_000)[0]
    parts = [answered(engine, f"increase(x_total[40s]{each})", 0, 360_000)[0] for each in (" smoothed", "")]
    for total, first, second in zip(both, *parts, strict=True):
        assert total == (None if first is None or second is None else first - second)


def test_a_pinned_range_is_the_same_at_every_step():
    """`@` with an extension."""
    engine = stored([GRID])
    values = answered(engine, "rate(x_total[40s] smoothed @ 152.5)", 0, 360_000)[0]
    assert set(values) == {slow_range("rate", "smoothed", GRID, 112_500, 152_500)}
