"""Alerts to groups, groups to messages, without a clock or a database."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_alerts import AlertState
from ninesight_alerts.grouping import GroupKey, ReceiverRoute, Routing, group_key, plan

from .builders import alert, over

HOUR = 3_600_000
ROUTING = Routing((ReceiverRoute("hook"),))


def statuses(planned):
    return [(message.route.name, message.status, len(message.alerts)) for message in planned.messages]


def test_a_firing_alert_is_told_once():
    """The first plan has the message, the next none."""
    first = plan([alert(model="m")], {}, 0, ROUTING)
    assert statuses(first) == [("hook", "firing", 1)]
    assert first.messages[0].group == (("alertname", "A"), ("model", "m"))
    assert plan([alert(model="m")], first.told, 1000, ROUTING).messages == ()


def test_pending_is_not_told():
    """Only what fires is told."""
    assert plan([alert(state=AlertState.PENDING)], {}, 0, ROUTING) == ((), {}, None)


def test_the_end_is_told_and_the_group_forgotten():
    """A resolved alert that was told is told once more; then nothing is remembered."""
    first = plan([alert()], {}, 0, ROUTING)
    second = plan([over(alert(), 500)], first.told, 500, ROUTING)
    assert statuses(second) == [("hook", "resolved", 1)]
    assert second.told == {}
    assert plan([over(alert(), 500)], second.told, 600, ROUTING).messages == ()


def test_one_message_carries_all_of_a_group():
    """A new alert in a group tells the whole group; one that ended is told beside those that fire."""
    one, two = alert(model="m", instance="1"), alert(model="m", instance="2", fired=10)
    first = plan([one], {}, 0, ROUTING)
    second = plan([one, two], first.told, 10, ROUTING)
    assert statuses(second) == [("hook", "firing", 2)]
    third = plan([over(one, 20), two], second.told, 20, ROUTING)
    assert [item.state for item in third.messages[0].alerts] == [AlertState.FIRING, AlertState.RESOLVED]
    assert third.messages[0].status == "firing"


def test_groups_are_made_by_the_labels_of_group_by():
    """Other labels do not split; a missing one is left out; `...` splits by all."""
    alerts = [alert(model="a", pod="1"), alert(model="a", pod="2"), alert(model="b"), alert()]
    assert len(plan(alerts, {}, 0, ROUTING).messages) == 3
    assert len(plan(alerts, {}, 0, Routing((ReceiverRoute("hook"),), ("...",))).messages) == 4
    assert [
        message.group for message in plan(alerts, {}, 0, Routing((ReceiverRoute("hook"),), ())).messages
    ] == [()]


def test_a_new_group_waits_group_wait():
    """Nothing is told before; `due_ms` says when; what resolves in between is never told."""
    routing = Routing((ReceiverRoute("hook"),), group_wait_ms=100)
    first = plan([alert()], {}, 0, routing)
    assert (first.messages, first.due_ms) == ((), 100)
    assert plan([alert()], first.told, 99, routing).messages == ()
    assert statuses(plan([alert()], first.told, 100, routing)) == [("hook", "firing", 1)]
    assert plan([over(alert(), 50)], first.told, 50, routing) == ((), {}, None)


def test_a_group_that_goes_on_is_told_again():
    """After repeat_interval, and never with 0."""
    first = plan([alert()], {}, 0, ROUTING)
    assert first.due_ms == 4 * HOUR
    assert plan([alert()], first.told, 4 * HOUR - 1, ROUTING).messages == ()
    assert statuses(plan([alert()], first.told, 4 * HOUR, ROUTING)) == [("hook", "firing", 1)]
    never = Routing((ReceiverRoute("hook"),), repeat_interval_ms=0)
    first = plan([alert()], {}, 0, never)
    assert (first.due_ms, plan([alert()], first.told, 1000 * HOUR, never).messages) == (None, ())


def test_a_receiver_may_not_want_to_hear_of_the_end():
    """With send_resolved false the group is forgotten in silence, and told when it is back."""
    routing = Routing((ReceiverRoute("hook", send_resolved=False),))
    first = plan([alert()], {}, 0, routing)
    second = plan([over(alert(), 1)], first.told, 1, routing)
    assert (second.messages, second.told) == ((), {})
    assert len(plan([alert(fired=2)], second.told, 2, routing).messages) == 1


def test_every_receiver_is_told_for_itself():
    """A receiver that is new in the configuration hears of what already fires."""
    both = Routing((ReceiverRoute("hook"), ReceiverRoute("other")))
    first = plan([alert()], {}, 0, ROUTING)
    assert statuses(plan([alert()], first.told, 1, both)) == [("other", "firing", 1)]


def test_an_alert_that_fires_anew_is_told_anew():
    """The time it fired makes it another alert."""
    first = plan([alert(fired=0)], {}, 0, ROUTING)
    assert len(plan([alert(fired=5)], first.told, 5, ROUTING).messages) == 1


def test_twins_of_two_rules_are_one_alert():
    """While either fires there is no end."""
    first = plan([alert(), alert()], {}, 0, ROUTING)
    assert statuses(first) == [("hook", "firing", 1)]
    assert plan([over(alert(), 5), alert()], first.told, 5, ROUTING).messages == ()


@pytest.mark.parametrize(
    ("group", "text"),
    [
        ((), "{}:{}"),
        ((("alertname", "A"), ("model", "m")), '{}:{alertname="A", model="m"}'),
        ((("model", 'a"b\\c\n'),), '{}:{model="a\\"b\\\\c\\n"}'),
    ],
)
def test_the_group_key_is_written_as_alertmanager_does(group, text):
    """Sorted labels, quoted values."""
    assert group_key(group) == text


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), max_size=25))
def test_a_receiver_knows_what_fires(rows):
    """After every step the union of what was told equals what fires, and each end was told once."""
    told, knows, fired = {}, {}, {}
    for at, row in enumerate(rows):
        alerts = []
        for number, firing in enumerate(row):
            name = f"{number}"
            if firing:
                fired.setdefault(name, at)
                alerts.append(alert(instance=name, fired=fired[name]))
            elif name in fired:
                alerts.append(over(alert(instance=name, fired=fired.pop(name)), at))
        planned = plan(alerts, told, at, Routing((ReceiverRoute("hook"),), repeat_interval_ms=0))
        told = planned.told
        for message in planned.messages:
            for item in message.alerts:
                if item.state is AlertState.FIRING:
                    knows[item.labels] = item.fired_ms
                else:
                    assert knows.pop(item.labels) == item.fired_ms
        assert knows == {item.labels: item.fired_ms for item in alerts if item.state is AlertState.FIRING}
        assert told.keys() == ({GroupKey("hook", (("alertname", "A"),))} if knows else set())
