"""Whole series at once give what window by window gives."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query.engine import LocalEngine
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_columns import to_columns
from ninesight_query.histogram_grid import Cell, HistogramGrid, grouped
from ninesight_query.histogram_grid_rate import newest_cell, rate_cell
from ninesight_query.histogram_math import divide, total
from ninesight_query.histogram_observe import observe
from ninesight_query.histogram_rate import rate
from ninesight_query.histogram_reset import detect_reset
from ninesight_query.histogram_table import HistogramTable
from ninesight_query.promqltest.compare import histograms_match
from ninesight_store.contract import STALE_NAN, Batch, ResetHint, SeriesTable, labels_of
from ninesight_store.testing import MemoryStore

quick = settings(deadline=None, max_examples=40)
STALE = Histogram(sum=STALE_NAN)
HINTS = [ResetHint.UNKNOWN, ResetHint.UNKNOWN, ResetHint.NOT_RESET, ResetHint.RESET, ResetHint.GAUGE]


@st.composite
def runs(draw):
    """(times, points) of one counter: it grows, begins anew, skips scrapes and goes stale."""
    times, points, seen, now = [], [], [], 0
    for _ in range(draw(st.integers(2, 25))):
        now += draw(st.sampled_from([10_000, 10_000, 10_000, 15_000, 40_000]))
        event = draw(st.integers(0, 11))
        if event == 0:
            points.append(STALE)
        else:
            seen = [] if event == 1 else seen
            seen = seen + draw(st.lists(st.floats(-5, 100).filter(lambda v: abs(v) > 1e-3), max_size=5))
            hint = draw(st.sampled_from(HINTS)) if event == 2 else ResetHint.UNKNOWN
            points.append(dataclasses.replace(observe(seen, 2) if seen else Histogram(schema=2), hint=hint))
        times.append(now)
    if all(point is STALE for point in points):
        points[-1] = observe([1.0], 2)
    return times, points


def table_of(*series):
    """A table of several (times, points)."""
    times = [time for part, _ in series for time in part]
    points = [point for _, part in series for point in part]
    rows = [row for row, (part, _) in enumerate(series) for _ in part]
    offsets = np.cumsum([0, *(len(part) for part, _ in series)])
    return HistogramTable(to_columns(points, times, rows), offsets)


def same(expected, got):
    """Both missing, or equal to a millionth with equal hints."""
    if expected is None or got is None:
        return expected is got
    return histograms_match(expected, got, with_hint=True)


@quick
@given(runs(), st.sampled_from([15_000, 60_000, 200_000]), st.booleans(), st.booleans())
def test_rates_of_whole_series(run, range_ms, is_counter, is_rate):
    """rate_cell equals histogram_rate.rate in every window, notes included."""
    _rates_agree(run, range_ms, is_counter=is_counter, is_rate=is_rate)


def test_a_reset_outside_the_window_leaves_nothing_in_it():
    """The sum of an idle window is 0, not the rounding of what earlier lives of the counter reached."""
    lives = [[0.3, 0.1], [0.008], [], [], [0.1, 0.7], [0.1], []]
    points = [observe(seen, 2) if seen else Histogram(schema=2) for seen in lives]
    _rates_agree((list(range(10_000, 80_000, 10_000)), points), 15_000, is_counter=True, is_rate=False)


def _rates_agree(run, range_ms, **kind):
    times, points = run
    table = table_of(run)
    ends = np.arange(0, times[-1] + 60_000, 7_000)
    cell, notes = rate_cell(table, 0, table.layouts([0])[0][0], ends - range_ms, ends, **kind)
    row = HistogramGrid((1, len(ends)), {0: cell}, {}).row(0)
    said = set()
    for step, end in enumerate(ends.tolist()):
        inside = [
            (time, point)
            for time, point in zip(times, points, strict=True)
            if end - range_ms < time <= end and point is not STALE
        ]
        expected, more = rate([p for _, p in inside], [t for t, _ in inside], end - range_ms, end, **kind)
        said |= more
        assert same(expected, row[step]), step
    assert notes == said


@quick
@given(runs())
def test_the_newest_points_of_a_whole_series(run):
    """newest_cell finds the newest point within the lookback, none after a stale marker."""
    times, points = run
    table = table_of(run)
    ends = np.arange(-5_000, times[-1] + 60_000, 5_000)
    cell, at = newest_cell(table, 0, table.layouts([0])[0][0], ends, 30_000)
    row = HistogramGrid((1, len(ends)), {0: cell}, {}).row(0)
    for step, end in enumerate(ends.tolist()):
        recent = [
            (time, point) for time, point in zip(times, points, strict=True) if end - 30_000 < time <= end
        ]
        expected = recent[-1][1] if recent else None
        assert same(None if expected is STALE else expected, row[step]), step
        if expected is not None and expected is not STALE:
            assert at[step] == recent[-1][0]


@quick
@given(st.lists(runs(), min_size=1, max_size=4), st.booleans())
def test_sums_of_whole_series(several, average):
    """grouped equals total (or its mean) at every step, whatever is absent."""
    table = table_of(*several)
    layouts, _ = table.layouts(range(len(several)))
    ends = np.arange(0, 300_000, 20_000)
    cells = {row: newest_cell(table, row, layout, ends, 50_000)[0] for row, layout in layouts.items()}
    grid = HistogramGrid((len(several), len(ends)), cells, {})
    cell, _ = grouped(list(cells.values()), average=average)
    row = HistogramGrid((1, len(ends)), {0: cell}, {}).row(0)
    for step in range(len(ends)):
        points = [point for point in grid.objects()[:, step] if point is not None]
        expected = total(points).histogram if points else None
        if expected is not None and average:
            expected = divide(expected, len(points))
        assert same(expected, row[step])


@quick
@given(runs())
def test_resets_are_found(run):
    """with_resets makes each unknown hint known by comparing with the point before."""
    table = table_of(run).with_resets()
    kept = [point for point in run[1] if point is not STALE]
    for k, (before, hint) in enumerate(zip(kept, table.times(0)[1].tolist(), strict=True)):
        if before.hint is not ResetHint.UNKNOWN or k == 0:
            assert hint == before.hint
        else:
            began = detect_reset(before, kept[k - 1])
            assert hint == (ResetHint.RESET if began else ResetHint.NOT_RESET)


@pytest.mark.parametrize(
    "odd",
    [
        dataclasses.replace(observe([1.0], 2), zero_threshold=0.5),
        observe([1.0], 1),
        dataclasses.replace(observe([1.0], 2), sum=float("nan")),
        Histogram(schema=-53, count=1, positive=np.array([1.0]), bounds=(2.0,)),
    ],
)
def test_a_series_that_changes_its_layout_is_odd(odd):
    """It is handled point by point, and so is one that is spread too wide."""
    fine = observe([1.0, 2.0], 2)
    table = table_of(([0, 1], [fine, odd]), ([0, 1], [fine, fine]))
    layouts, strange = table.layouts([0, 1])
    assert (list(layouts), strange) == ([1], [0])
    wide = table_of(([0], [observe([1e-9, 1e9], 8)]))
    assert wide.layouts([0]) == ({}, [0])


def test_custom_bounds_that_change_are_odd():
    """Equal schemas are not enough for schema -53."""
    points = [Histogram(schema=-53, count=1, positive=np.array([1.0]), bounds=(b,)) for b in (1.0, 1.0, 2.0)]
    assert table_of(([0, 1], points[:2])).layouts([0])[1] == []
    assert table_of(([0, 1, 2], points)).layouts([0])[1] == [0]


def test_layouts_that_differ_are_not_grouped():
    """A sum over two layouts has to be made of objects."""
    present, hint = np.ones(1, np.bool_), np.zeros(1, np.int32)
    one = Cell(present, hint, (2, 0.0, (), 0, 0), lambda: None)
    other = Cell(present, hint, (3, 0.0, (), 0, 0), lambda: None)
    assert grouped([one, other], average=False) is None


def store_of(series, steps, width):
    """A store with growing native histograms."""
    rng = np.random.default_rng(7)
    points, times, rows = [], [], []
    for row in range(series):
        counts = rng.poisson(2.0, (steps, width)).cumsum(axis=0).astype(np.float64)
        for step in range(steps):
            total_ = float(counts[step].sum())
            points.append(
                Histogram(schema=6, count=total_, sum=total_ / 9, positive_start=-200, positive=counts[step])
            )
            times.append(step * 10_000)
            rows.append(row)
    labels = tuple(labels_of("h", {"model": f"m{row % 10}", "instance": str(row)}) for row in range(series))
    store = MemoryStore()
    store.write(Batch(SeriesTable(labels), histograms=to_columns(points, times, rows)))
    return store


class Remembered:
    """A source that reads once: the query is measured, not the store."""

    def __init__(self, store):
        self.store, self.known = store, {}

    def select(self, matchers, start_ms, end_ms):
        key = (tuple(matchers), start_ms, end_ms)
        if key not in self.known:
            self.known[key] = self.store.select(matchers, start_ms, end_ms)
        return self.known[key]


def test_a_dashboard_query_is_quick():
    """p99 by model of 50 series x 60 buckets over 300 steps: about 40 ms, here held under a second."""
    engine = LocalEngine(Remembered(store_of(50, 340, 60)))
    query = "histogram_quantile(0.99, sum by (model) (rate(h[5m])))"
    engine.range(query, 400_000, 3_390_000, 10_000)
    started = time.process_time()
    answer = engine.range(query, 400_000, 3_390_000, 10_000)
    assert time.process_time() - started < 1.0
    assert answer.value.values.shape == (10, 300)
    assert answer.value.present.all()
