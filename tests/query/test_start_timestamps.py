"""Start timestamps: resets that no falling value shows, and series known to have been zero."""

import numpy as np
import pytest
from ninesight_query import EngineConfig, EngineSettings
from ninesight_query.starts import began_anew, overlapping
from ninesight_query.testing import engine_over

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
