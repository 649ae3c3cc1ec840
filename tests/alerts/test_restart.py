"""What a restart finds: states, times, and what receivers were told."""

import pytest
from ninesight_alerts import AlertState
from ninesight_alerts.grouping import ReceiverRoute, Routing
from ninesight_alerts.testing import element

from .world import RULES, World

SLOW = {element(model="m"): 250.0}


@pytest.fixture
def world(url):
    with World(None, url=url) as made:
        yield made.start()


def test_for_does_not_begin_anew(world):
    """A pending alert fires when its time has passed, restarts or not."""
    world.engine.answers["slow"] = SLOW
    world.evaluate(0)
    world.restart(15_000)
    world.evaluate(15_000)
    world.restart(30_000)
    world.evaluate(30_000)
    (firing,) = world.reader().active()
    assert (firing.state, firing.active_since_ms) == (AlertState.FIRING, 0)


def test_a_told_alert_is_not_told_again(world):
    """The restart remembers what receivers know; the end is told by the new process."""
    world.engine.answers["slow"] = SLOW
    world.evaluate(0)
    world.evaluate(30_000)
    world.restart(40_000)
    world.evaluate(45_000)
    assert world.waiting() == [("msg_1", "firing")]
    world.restart(50_000).engine.answers["slow"] = {}
    world.evaluate(60_000)
    assert world.waiting() == [("msg_1", "firing"), ("msg_2", "resolved")]


def test_a_pending_alert_is_forgotten_after_a_long_outage(world):
    """After an hour nobody knows whether it was true all the time."""
    world.engine.answers["slow"] = SLOW
    world.evaluate(0)
    world.restart(3_600_001)
    world.evaluate(3_600_001)
    (pending,) = world.reader().active()
    assert (pending.state, pending.active_since_ms) == (AlertState.PENDING, 3_600_001)


def test_a_firing_alert_survives_any_outage(world):
    """It fires until an evaluation says otherwise."""
    world.engine.answers["slow"] = SLOW
    world.evaluate(0)
    world.evaluate(30_000)
    world.restart(10**10)
    assert [alert.state for alert in world.evaluator.alerts()] == [AlertState.FIRING]


def test_alerts_of_a_removed_rule_resolve(world):
    """Nobody is left with an alert that can never end."""
    world.engine.answers["slow"] = SLOW
    world.evaluate(0)
    world.evaluate(30_000)
    world.rules = RULES.replace("TooSlow", "Other")
    world.restart(60_000)
    assert world.waiting()[-1] == ("msg_2", "resolved")
    reader = world.reader()
    assert (reader.active(), [rule.name for rule in reader.rules()]) == ([], ["Other"])
    assert reader.history()[0].resolved_ms == 60_000
    world.restart(61_000)
    assert len(world.waiting()) == 2


def test_a_changed_expression_keeps_the_alert(world):
    """The rule is the same by group, name and labels."""
    world.engine.answers["slow"] = SLOW
    world.evaluate(0)
    world.rules = RULES.replace("expr: slow", "expr: slower")
    world.engine.answers["slower"] = SLOW
    world.restart(15_000)
    world.evaluate(30_000)
    assert world.reader().active()[0].state is AlertState.FIRING


def test_a_new_receiver_hears_of_what_fires(world):
    """At the restart that brings it."""
    world.engine.answers["slow"] = SLOW
    world.evaluate(0)
    world.evaluate(30_000)
    world.routing = Routing((ReceiverRoute("hook"), ReceiverRoute("second")))
    world.restart(31_000)
    deliveries = world.reader().deliveries()
    assert sorted((view.receiver, view.status) for view in deliveries) == [
        ("hook", "firing"),
        ("second", "firing"),
    ]
