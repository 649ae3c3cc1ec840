"""Start timestamps: resets that no falling value shows, and series known to have been zero."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query import EngineConfig, EngineSettings, Histogram, LocalEngine, labels_of
from ninesight_query.histogram_columns import to_columns
from ninesight_query.starts import began_anew, overlapping
from ninesight_query.testing import engine_over
from ninesight_store.contract import Batch, SeriesTable
from ninesight_store.memory import MemoryStore

LOAD = """
load 1m
  x_total@st  -30s -30s-1mx1 -30s-1mx3
  x_total     10   20 30     5 15 25 35
  h@st        -30s -90s -30s
  h           {{count:4 sum:8}} {{count:6 sum:9}} {{count:7 sum:10}}
  plain_total 1 2 3
"""


@pytest.mark.parametrize(
    ("then", "now", "began", "overlap"),
    [
        ((60, 30), (120, 30), False, False),
        ((60, 30), (120, 90), True, False),
        ((60, 30), (120, 60), True, False),
        ((60, 0), (120, 60), False, False),
        ((60, 60), (120, 60), False, False),
        ((60, 70), (120, 60), False, False),
        ((60, 30), (120, 0), False, False),
        ((60, 30), (120, 120), False, False),
        ((60, 30), (120, 130), False, False),
        ((60, 30), (120, 40), False, True),
        ((60, 0), (120, 40), False, True),
    ],
)
def test_what_a_start_says_about_a_pair(then, now, began, overlap):
    """(time, start) of two samples: a reset, a contradiction, or neither; 0 is not known."""
    times, starts = (np.array([then[k], now[k]], np.int64) for k in (0, 1))
    assert began_anew(times, starts).tolist() == [began]
    assert overlapping(times, starts).tolist() == [overlap]


def value(engine, query, at_ms):
    """The one value of an instant query."""
    (number,) = engine.instant(query, at_ms).value.values.tolist()
    return number


def test_the_switch_is_off_by_default():
    """Without it nothing of start timestamps shows, and start_timestamp() knows none."""
    assert not EngineSettings().use_start_timestamps
    assert EngineConfig(use_start_timestamps=True).settings().use_start_timestamps
    plain, wise = engine_over(LOAD), engine_over(LOAD, EngineSettings(use_start_timestamps=True))
    assert value(plain, "resets(x_total[10m])", 360_000) == 1
    assert value(wise, "resets(x_total[10m])", 360_000) == 2
    assert len(plain.instant("start_timestamp(x_total)", 360_000).value.labels) == 0
    assert value(wise, "start_timestamp(x_total)", 360_000) == 150
    assert value(wise, "start_timestamp(plain_total)", 120_000) == 0


def test_a_sample_with_a_start_is_enough():
    """The zero at the start is the other point; before it nothing is guessed."""
    wise = engine_over(LOAD, EngineSettings(use_start_timestamps=True))
    assert value(wise, "increase(x_total[50s])", 60_000) == 20
    assert value(wise, "rate(x_total[50s])", 60_000) == 20 / 50
    assert len(engine_over(LOAD).instant("rate(x_total[50s])", 60_000).value.labels) == 0
    assert len(wise.instant("rate(plain_total[50s])", 60_000).value.labels) == 0


def test_histograms_begin_anew_too():
    """A start between two points is a reset, for rate, irate and resets; elsewhere the hints stay."""
    wise = engine_over(LOAD, EngineSettings(use_start_timestamps=True))
    assert value(wise, "resets(h[5m])", 120_000) == 1
    assert value(engine_over(LOAD), "resets(h[5m])", 120_000) == 0
    (found,) = wise.instant("irate(h[5m])", 120_000).value.histograms.values()
    assert found.count == 7 / 60
    (found,) = wise.instant("last_over_time(h[5m])", 120_000).value.histograms.values()
    assert found.hint.name == "NOT_RESET"


def test_floats_beside_histograms_tell_it_too():
    """A window with both kinds: a change of kind is a reset, and so is a new start."""
    load = """
load 1m
  x@st -30s -30s -30s -30s
  x    1    2    {{count:5}} {{count:6}}
"""
    wise = engine_over(load, EngineSettings(use_start_timestamps=True))
    assert value(wise, "resets(x[5m])", 180_000) == 3
    assert value(engine_over(load), "resets(x[5m])", 180_000) == 1


def test_contradicting_starts_are_told():
    """One warning a metric, for rate and increase, only where the window holds the pair."""
    load = "load 1m\n  x_total@st -2m -2m -2m -2m _ _ _ _ _ _\n  x_total 60 120 180 240 300+0x5"
    wise = engine_over(load, EngineSettings(use_start_timestamps=True))
    said = "PromQL warning: sample has start time that overlaps with previous sample timestamp for metric "
    assert wise.instant("rate(x_total[3m])", 180_000).warnings == (said + '"x_total" (1:6)',)
    assert wise.instant("rate(x_total[3m])", 540_000).warnings == ()


@pytest.mark.parametrize("count", [1, 40])
def test_series_of_one_grid_are_worked_on_together(count):
    """Shared and ragged tiles give the same: many series on one grid, each with its own starts."""
    lines = "\n".join(
        f'  y_total{{k="{k}"}}@st -{k + 1}s -{k + 1}s _ -{k + 1}s\n  y_total{{k="{k}"}} 5 6 7 {k}'
        for k in range(count)
    )
    wise = engine_over("load 1m\n" + lines, EngineSettings(use_start_timestamps=True))
    answer = wise.instant("resets(y_total[5m])", 180_000).value
    assert answer.values.tolist() == [2.0] * count


@st.composite
def histories(draw):
    """Samples of a counter: (time, value, start), the start unknown, steady, new, a delta's, or nonsense."""
    at_ms, value, start, out = 60_000, 0, 0, []
    for kind in draw(
        st.lists(st.sampled_from(["grow", "fall", "none", "new", "delta", "odd"]), min_size=1, max_size=12)
    ):
        before, at_ms = at_ms, at_ms + draw(st.sampled_from([1_000, 15_000, 60_000]))
        value = draw(st.integers(0, 9)) if kind in ("fall", "delta") else value + draw(st.integers(0, 9))
        if kind in ("new", "delta"):
            start = draw(st.integers(before, at_ms - 1)) if kind == "new" else before
        told = {"none": 0, "odd": at_ms + draw(st.sampled_from([0, 1, -70_000]))}.get(kind, start)
        out.append((at_ms, value, told))
    return out


def increase_by_hand(points, start_ms, end_ms):
    """Prometheus' increase of one window, pair by pair."""
    inside = [point for point in points if start_ms < point[0] <= end_ms]
    if not inside:
        return None
    (first_ms, first, begun), (last_ms, last, _) = inside[0], inside[-1]
    grown = last - first
    for (then_ms, then, then_start), (now_ms, now, start) in itertools.pairwise(inside):
        anew = 0 < start < now_ms and (start > then_ms or (start == then_ms and 0 < then_start < then_ms))
        if now < then or anew:
            grown += then
    gap_s = (last_ms - first_ms) / 1000 / (len(inside) - 1) if len(inside) > 1 else 0.0
    to_start_s, to_end_s = (first_ms - start_ms) / 1000, (end_ms - last_ms) / 1000
    sampled_s = (last_ms - first_ms) / 1000
    if begun and start_ms < begun < first_ms:
        grown, sampled_s, to_start_s = grown + first, (last_ms - begun) / 1000, 0.0
    elif len(inside) == 1:
        return None
    else:
        if to_start_s >= gap_s * 1.1:
            to_start_s = gap_s / 2
        if grown > 0:
            to_start_s = min(to_start_s, sampled_s * first / grown)
    if to_end_s >= gap_s * 1.1:
        to_end_s = gap_s / 2
    return grown * (sampled_s + to_start_s + to_end_s) / sampled_s


@settings(max_examples=60, deadline=None)
@given(history=histories(), others=st.integers(0, 30), range_s=st.sampled_from([20, 61, 200, 1_000]))
def test_increase_is_as_by_hand(history, others, range_s):
    """Floats and histograms, alone and among series of the same grid, give what pair by pair gives."""
    times, values, starts = (np.array(each, np.int64) for each in zip(*history, strict=True))
    labels = [labels_of("x_total"), *(labels_of("y_total", {"k": str(k)}) for k in range(others))]
    store = MemoryStore()
    store.write(
        Batch(
            SeriesTable(tuple(labels)),
            np.repeat(np.arange(len(labels)), len(times)).astype(np.int32),
            np.tile(times, len(labels)),
            np.tile(values.astype(np.float64), len(labels)),
            start_timestamps=np.tile(starts, len(labels)),
        )
    )
    points = [Histogram(count=float(value), sum=float(value)) for value in values]
    columns = to_columns(points, times.tolist(), [0] * len(times))
    store.write(Batch(SeriesTable((labels_of("h"),)), histograms=replace(columns, start_timestamps=starts)))
    engine = LocalEngine(store, EngineSettings(use_start_timestamps=True))
    grid = np.arange(0, 1_000_001, 10_000)
    wanted = [increase_by_hand(history, at - range_s * 1000, at) for at in grid.tolist()]
    query = f'increase({{__name__=~"x_total|y_total"}}[{range_s}s])'
    for row in _rows(engine.range(query, 0, 1_000_000, 10_000).value, 1 + others):
        assert row == [None if each is None else pytest.approx(each) for each in wanted]
    matrix = engine.range(f"increase(h[{range_s}s])", 0, 1_000_000, 10_000).value
    counts = [
        matrix.histograms[0, k].count if (0, k) in matrix.histograms else None for k in range(len(grid))
    ]
    assert counts == [None if each is None else pytest.approx(each) for each in wanted]


def _rows(matrix, number):
    if not len(matrix.labels):
        return [[None] * len(matrix.timestamps)] * number
    assert len(matrix.labels) == number
    return [
        [float(value) if there else None for value, there in zip(*pair, strict=True)]
        for pair in zip(matrix.values, matrix.present, strict=True)
    ]
