"""One zone for axes, tables and the header, across changes of daylight saving time."""

from ninesight_dashboards.figure import x_of
from ninesight_dashboards.timerange import Grid
from ninesight_dashboards.zone import zone_of

AUTUMN = 1_792_890_000_000
"""2026-10-25 01:00 UTC: Berlin goes from UTC+2 to UTC+1."""
HOUR = 3_600_000


def test_a_zone_speaks_wall_clock():
    """Times are written on the 24-hour clock of the zone, with its offset in the label."""
    berlin = zone_of("Europe/Berlin")
    assert berlin.clock(AUTUMN - 1000) == "02:59:59"
    assert berlin.stamp(AUTUMN) == "2026-10-25 02:00:00"
    assert berlin.label(AUTUMN - 1000) == "Europe/Berlin (UTC+2)"
    assert zone_of("Asia/Kolkata").label(AUTUMN) == "Asia/Kolkata (UTC+5:30)"


def test_an_unknown_zone_is_utc():
    """A browser's zone is not trusted: path-like and unknown names fall back."""
    assert [zone_of(name).name for name in ("Mars/Olympus", "../etc/passwd", "", "/etc/passwd")] == [
        "UTC"
    ] * 4


def test_a_window_over_a_change_has_two_offsets():
    """The change is found to the second, and axes are given explicit times there."""
    berlin = zone_of("Europe/Berlin")
    segments = berlin.segments(AUTUMN - 2 * HOUR, AUTUMN + 2 * HOUR)
    assert [offset for _, offset in segments] == [2 * HOUR, HOUR]
    assert abs(segments[1][0] - AUTUMN) <= 1000
    x = x_of(Grid(AUTUMN - HOUR, AUTUMN + HOUR, HOUR), berlin)["x"]
    assert x == ["2026-10-25 02:00:00.000", "2026-10-25 02:00:00.000", "2026-10-25 03:00:00.000"]


def test_a_window_without_a_change_needs_no_list():
    """Start and step are enough, which keeps pages small."""
    assert x_of(Grid(0, 10_000, 5_000), zone_of("UTC")) == {"x0": "1970-01-01 00:00:00.000", "dx": 5_000}
