"""The pure step: pending, firing, resolved."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_alerts import AlertSample, AlertState, StepSettings, step

A = (("alertname", "A"),)
B = (("alertname", "A"), ("model", "b"))
MINUTE = 60_000


def run(presence, settings, *, every_ms=MINUTE, labels=A):
    """Step through a row of booleans; return all states and transitions by time."""
    states, seen = {}, []
    for at, present in enumerate(presence):
        samples = [AlertSample(labels, float(at))] if present else []
        states, transitions, problem = step(states, samples, at * every_ms, settings)
        assert problem == ""
        seen.append((states.get(labels), [item.alert.state for item in transitions]))
    return seen


def test_without_for_an_alert_fires_at_once():
    """Firing at the first evaluation, resolved at the first without the element."""
    seen = run([1, 0], StepSettings())
    assert [told for _, told in seen] == [[AlertState.FIRING], [AlertState.RESOLVED]]
    assert (seen[0][0].active_since_ms, seen[0][0].fired_ms, seen[1][0].resolved_ms) == (0, 0, MINUTE)


def test_it_is_pending_until_for_has_passed():
    """`for: 2m` at one evaluation a minute fires at the third."""
    seen = run([1, 1, 1], StepSettings(for_ms=2 * MINUTE))
    assert [told for _, told in seen] == [[AlertState.PENDING], [], [AlertState.FIRING]]
    assert seen[2][0].active_since_ms == 0
    assert seen[2][0].fired_ms == 2 * MINUTE


def test_a_gap_while_pending_begins_anew():
    """One absence forgets a pending alert without a word."""
    seen = run([1, 1, 0, 1, 1], StepSettings(for_ms=2 * MINUTE))
    assert [told for _, told in seen] == [[AlertState.PENDING], [], [], [AlertState.PENDING], []]
    assert seen[2][0] is None


def test_keep_firing_for_holds_an_alert_over_a_gap():
    """An absence shorter than keep_firing_for does not resolve, and one seen again starts it anew."""
    seen = run([1, 0, 0, 1, 0, 0, 0, 0], StepSettings(keep_firing_for_ms=3 * MINUTE))
    told = [told for _, told in seen]
    assert told[0] == [AlertState.FIRING]
    assert told[1:7] == [[]] * 6
    assert told[7] == [AlertState.RESOLVED]


def test_resolved_is_kept_for_15_minutes():
    """A resolved alert is there for 15 minutes, then gone."""
    seen = run([1] + [0] * 18, StepSettings())
    assert [state is not None for state, _ in seen] == [True] * 17 + [False] * 2


def test_back_after_resolving_is_a_new_alert():
    """It gets new times, and fires again."""
    seen = run([1, 0, 1], StepSettings())
    assert seen[2][1] == [AlertState.FIRING]
    assert (seen[2][0].active_since_ms, seen[2][0].resolved_ms) == (2 * MINUTE, None)


def test_nan_is_present():
    """The comparison has decided already: an element with the value NaN is an element."""
    states, transitions, _ = step({}, [AlertSample(A, math.nan)], 0, StepSettings())
    assert math.isnan(states[A].value)
    assert [item.alert.state for item in transitions] == [AlertState.FIRING]


def test_value_and_annotations_follow_the_element():
    """An alert shows what it was last given."""
    states, _, _ = step({}, [AlertSample(A, 1.0, (("s", "one"),))], 0, StepSettings())
    states, transitions, _ = step(states, [AlertSample(A, 2.0, (("s", "two"),))], 1, StepSettings())
    assert (states[A].value, states[A].annotations, transitions) == (2.0, (("s", "two"),), ())


def test_over_the_limit_all_alerts_are_dropped():
    """The rule has a problem, what had fired resolves, and below the limit it begins anew."""
    settings = StepSettings(limit=1)
    states, _, _ = step({}, [AlertSample(A, 1.0)], 0, settings)
    states, transitions, problem = step(states, [AlertSample(A, 1.0), AlertSample(B, 1.0)], 1, settings)
    assert "limit allows 1 alerts, the rule has 2" in problem
    assert [(item.alert.labels, item.alert.state) for item in transitions] == [(A, AlertState.RESOLVED)]
    states, transitions, problem = step(states, [AlertSample(A, 1.0)], 2, settings)
    assert (problem, [item.alert.state for item in transitions]) == ("", [AlertState.FIRING])


SETTINGS = st.builds(
    StepSettings, st.integers(0, 4).map(lambda n: n * MINUTE), st.integers(0, 4).map(lambda n: n * MINUTE)
)
PRESENCE = st.lists(st.booleans(), max_size=30)


@settings(deadline=None)
@given(PRESENCE, SETTINGS)
def test_firing_means_present_for_long_enough(presence, settings):
    """Whatever fires was there at every evaluation since it became active."""
    for at, (state, told) in enumerate(run(presence, settings)):
        if AlertState.FIRING in told:
            since = state.active_since_ms // MINUTE
            assert all(presence[since : at + 1])
            assert state.fired_ms - state.active_since_ms >= settings.for_ms


@settings(deadline=None)
@given(PRESENCE, SETTINGS)
def test_firing_and_resolved_alternate(presence, settings):
    """Nobody hears of an end without a beginning, or of two beginnings."""
    told = [kind for _, kinds in run(presence, settings) for kind in kinds if kind is not AlertState.PENDING]
    assert told == [AlertState.FIRING, AlertState.RESOLVED] * (len(told) // 2) + [AlertState.FIRING] * (
        len(told) % 2
    )


@settings(deadline=None)
@given(PRESENCE, SETTINGS)
def test_a_state_agrees_with_what_was_seen(presence, settings):
    """Present is pending or firing; absent is none, resolved, or held no longer than keep_firing_for."""
    for at, (state, _) in enumerate(run(presence, settings)):
        if presence[at]:
            assert state.state in {AlertState.PENDING, AlertState.FIRING}
        elif state is not None and state.state is AlertState.FIRING:
            absent = at - max(back for back in range(at) if presence[back]) - 1
            assert absent * MINUTE < settings.keep_firing_for_ms
        else:
            assert state is None or state.state is AlertState.RESOLVED


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20), SETTINGS)
def test_alerts_do_not_touch_each_other(presence, settings):
    """Two alerts of a rule live as two rules of one alert each would."""
    alone = [
        run([pair[at] for pair in presence], settings, labels=labels) for at, labels in enumerate((A, B))
    ]
    states = {}
    for at, pair in enumerate(presence):
        samples = [
            AlertSample(labels, float(at)) for labels, there in zip((A, B), pair, strict=True) if there
        ]
        states, _, _ = step(states, samples, at * MINUTE, settings)
        assert (states.get(A), states.get(B)) == (alone[0][at][0], alone[1][at][0])
