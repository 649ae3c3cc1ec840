"""The beat of groups."""

from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_alerts.schedule import Schedule


def test_all_are_due_at_once_then_each_at_its_beat():
    """The earlier one goes first; the beat does not drift with how long an evaluation takes."""
    schedule = Schedule([1_000, 3_000], 10.0)
    order = []
    now = 10.0
    for _ in range(6):
        at = schedule.next()
        now = max(now, schedule.beats[at].due) + 0.2
        order.append((at, round(schedule.beats[at].due, 3)))
        schedule.beats[at].done(now)
    assert order == [(0, 10.0), (1, 10.0), (0, 11.0), (0, 12.0), (0, 13.0), (1, 13.0)]
    assert [beat.missed for beat in schedule.beats] == [0, 0]


def test_beats_that_pass_while_busy_are_counted():
    """They are skipped, not made up for."""
    schedule = Schedule([1_000], 0.0)
    schedule.beats[0].done(3.5)
    assert (schedule.beats[0].due, schedule.beats[0].missed) == (4.0, 3)


def test_no_group_is_never_due():
    """Nothing to do is None."""
    assert Schedule([], 0.0).next() is None


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), max_size=20))
def test_the_beat_stays_on_its_grid(busy):
    """Done plus missed beats are all beats there were, and the next one lies ahead."""
    schedule = Schedule([500], 0.0)
    beat, now = schedule.beats[0], 0.0
    for spent in busy:
        now = max(now, beat.due) + spent
        beat.done(now)
        assert beat.due > now - 1e-9
    assert round(beat.due / 0.5) == len(busy) + beat.missed
