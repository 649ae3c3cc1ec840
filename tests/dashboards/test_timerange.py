"""The time range of a page: read from the address, never an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight_dashboards.timerange import PRESETS, duration_ms, grid_of, read_range, write_range

NOW = 1_790_000_000_123


def test_an_address_without_a_range_gives_the_default():
    """Defaults are never written, so an empty search is the default range."""
    chosen = read_range("", now_ms=NOW)
    assert (chosen.start_ms, chosen.end_ms, chosen.live, chosen.preset) == (NOW - 900_000, NOW, True, "15m")
    assert chosen.notes == ()
    assert write_range(chosen) == ""


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_round_trip(preset):
    """What a preset's link says is read as that preset and written as the same address."""
    chosen = read_range(f"?from=now-{preset}&to=now", now_ms=NOW)
    assert chosen.preset == preset
    assert chosen.span_ms == duration_ms(preset)
    assert read_range(write_range(chosen), now_ms=NOW) == chosen


@given(st.integers(1, 4_000_000_000_000), st.integers(10_000, 400 * 86_400_000))
def test_fixed_ranges_round_trip(start_ms, span_ms):
    """A zoomed range written into the address is read back exactly."""
    chosen = read_range(f"?from={start_ms}&to={start_ms + span_ms}", now_ms=NOW)
    if start_ms + span_ms <= 4_102_444_800_000:
        assert (chosen.start_ms, chosen.end_ms, chosen.live) == (start_ms, start_ms + span_ms, False)
        assert read_range(write_range(chosen), now_ms=NOW + 5000) == chosen


@given(st.text(max_size=300))
def test_no_address_is_an_error(search):
    """Whatever stands in the address, there is a range to show, and it runs forward."""
    chosen = read_range("?" + search, now_ms=NOW)
    assert 10_000 <= chosen.span_ms <= 400 * 86_400_000
    grid = grid_of(chosen)
    assert grid.points <= 361


@given(st.text(max_size=40), st.text(max_size=40))
def test_damaged_fields_fall_back_with_a_note(start, end):
    """A field that cannot be read becomes the default and is mentioned."""
    chosen = read_range(f"?from=x{start}&to=x{end}", now_ms=NOW)
    assert chosen.end_ms == NOW
    assert chosen.notes


def test_damaged_ranges_say_what_was_wrong():
    """The note says what must hold and what was given."""
    assert "got 'yesterday-ish'" in read_range("?from=yesterday-ish", now_ms=NOW).notes[0]
    backwards = read_range(f"?from={NOW}&to={NOW - 60_000}", now_ms=NOW)
    assert "run forward" in backwards.notes[0]
    assert backwards.preset == "15m"


def test_dates_are_read_as_iso_8601():
    """A person may write a date; without an offset it is UTC."""
    chosen = read_range("?from=2026-09-21T12:00:00&to=2026-09-21T15:00:00%2B02:00", now_ms=NOW)
    assert (chosen.start_ms, chosen.end_ms) == (1_789_992_000_000, 1_789_995_600_000)


@pytest.mark.parametrize(
    ("span", "step_s", "points"),
    [
        ("5m", 5, 61),
        ("15m", 5, 181),
        ("1h", 10, 361),
        ("6h", 60, 361),
        ("24h", 300, 289),
        ("7d", 1800, 337),
        ("30d", 7200, 361),
    ],
)
def test_grids_have_a_few_hundred_aligned_points(span, step_s, points):
    """The step is round, the grid aligned to it, and ends at most one step ago."""
    grid = grid_of(read_range(f"?from=now-{span}", now_ms=NOW))
    assert grid.step_ms == step_s * 1000
    assert points - 1 <= grid.points <= points
    assert grid.end_ms % grid.step_ms == 0
    assert 0 <= NOW - grid.end_ms < grid.step_ms
    assert grid.rate_window_s == max(60, step_s)


@pytest.mark.parametrize("span", ["2d", "3d", "7d", "30d", "90d", "400d"])
@pytest.mark.parametrize("points_max", [120, 360, 1000])
def test_ranges_of_days_lie_on_quarters_of_an_hour(span, points_max):
    """Ends, steps and windows, so that the engine need not read every sample."""
    grid = grid_of(read_range(f"?from=now-{span}", now_ms=NOW), points_max=points_max)
    assert [each % 900 for each in (grid.start_ms // 1000, grid.step_ms // 1000, grid.rate_window_s)] == [
        0
    ] * 3
    assert grid.end_ms % 900_000 == 0


def test_durations_are_read_whole():
    """15m and 1h30m are durations, 15 and m15 are not."""
    assert duration_ms("1h30m") == 5_400_000
    assert [duration_ms(text) for text in ("15", "m15", "", "1h ")] == [None] * 4
