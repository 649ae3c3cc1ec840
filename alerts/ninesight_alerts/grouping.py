"""Which message goes to whom, and when: alerts to groups, groups to notifications. Pure.

What a receiver has been told is remembered per group (`Told`), so that a restart tells nothing
twice and forgets nothing. A group is told when an alert starts to fire, when a told alert
resolves, and again after `repeat_interval`; a new group waits `group_wait` first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ninesight_query.contract import Labels

from ninesight_alerts.contract import AlertState
from ninesight_alerts.go_format import go_quote
from ninesight_alerts.step import ActiveAlert

__all__ = ["GroupKey", "Message", "Plan", "ReceiverRoute", "Routing", "Told", "group_key", "plan"]


@dataclass(frozen=True, slots=True)
class ReceiverRoute:
    """What routing needs to know of a receiver."""

    name: str
    send_resolved: bool = True
    max_alerts: int = 1000
    """A message carries at most this many alerts; the rest is counted in `truncatedAlerts`."""


@dataclass(frozen=True)
class Routing:
    """How alerts become messages. Every receiver gets every group."""

    receivers: tuple[ReceiverRoute, ...]
    group_by: tuple[str, ...] = ("alertname", "model")
    """`...` groups by all labels: one message an alert."""
    group_wait_ms: int = 0
    repeat_interval_ms: int = 4 * 3_600_000
    """0 never repeats."""


class GroupKey(NamedTuple):
    """One receiver's group."""

    receiver: str
    labels: Labels


@dataclass(frozen=True)
class Told:
    """What a receiver has been told of a group."""

    first_ms: int
    """When the group began."""
    last_ms: int | None = None
    """When it was last told; None while it waits."""
    firing: Mapping[Labels, int] = field(default_factory=dict)
    """Alerts told as firing and not yet as resolved, with the time they fired."""


@dataclass(frozen=True)
class Message:
    """What is to be told now."""

    route: ReceiverRoute
    group: Labels
    alerts: tuple[ActiveAlert, ...]
    """Firing ones first, then those that resolved, each sorted by labels."""

    @property
    def status(self) -> str:
        """`firing` while any alert fires, else `resolved`."""
        return "firing" if any(alert.state is AlertState.FIRING for alert in self.alerts) else "resolved"


class Plan(NamedTuple):
    """Messages to send, what is told afterwards, and when to look again (None: at the next change)."""

    messages: tuple[Message, ...]
    told: Mapping[GroupKey, Told]
    due_ms: int | None


def group_key(group: Labels) -> str:
    """Return the group's name as Alertmanager writes it for its root route.

    >>> group_key((("alertname", "TooSlow"), ("model", "m")))
    '{}:{alertname="TooSlow", model="m"}'
    """
    return f"{{}}:{{{', '.join(f'{name}={go_quote(value)}' for name, value in group)}}}"


def plan(alerts: Iterable[ActiveAlert], told: Mapping[GroupKey, Told], now_ms: int, routing: Routing) -> Plan:
    """Return what to send at `now_ms`. Pending alerts are ignored."""
    firing: dict[Labels, list[ActiveAlert]] = defaultdict(list)
    ended: dict[Labels, list[ActiveAlert]] = defaultdict(list)
    for alert in _distinct(alerts):
        kind = firing if alert.state is AlertState.FIRING else ended
        kind[_group_of(alert.labels, routing.group_by)].append(alert)
    messages: list[Message] = []
    after: dict[GroupKey, Told] = {}
    due: list[int] = []
    for route in routing.receivers:
        known = {key.labels for key in told if key.receiver == route.name}
        for group in sorted(known | firing.keys()):
            key = GroupKey(route.name, group)
            before = told.get(key) or Told(now_ms)
            active = firing.get(group, [])
            following, message = _told(route, group, active, ended.get(group, []), before, now_ms, routing)
            if message:
                messages.append(message)
            if following.firing or (following.last_ms is None and active):
                after[key] = following
                due += _due(following, routing)
    return Plan(tuple(messages), after, min(due, default=None))


def _told(
    route: ReceiverRoute,
    group: Labels,
    firing: list[ActiveAlert],
    ended: list[ActiveAlert],
    before: Told,
    now_ms: int,
    routing: Routing,
) -> tuple[Told, Message | None]:
    """Return what the receiver knows of one group afterwards, and the message that tells it."""
    over = [alert for alert in ended if before.firing.get(alert.labels) == alert.fired_ms]
    current = {alert.labels: alert.fired_ms for alert in firing if alert.fired_ms is not None}
    # An alert that vanished without a word (its rule was removed while nothing ran) is forgotten.
    kept = {labels: fired_ms for labels, fired_ms in before.firing.items() if current.get(labels) == fired_ms}
    if before.last_ms is None and now_ms - before.first_ms < routing.group_wait_ms:
        return before, None
    fresh = any(labels not in kept for labels in current)
    repeats = bool(current and routing.repeat_interval_ms and before.last_ms is not None)
    again = repeats and now_ms - (before.last_ms or 0) >= routing.repeat_interval_ms
    if not (fresh or again or (over and route.send_resolved)):
        return Told(before.first_ms, before.last_ms, kept), None
    alerts = sorted(firing, key=_by_labels) + (sorted(over, key=_by_labels) if route.send_resolved else [])
    return Told(before.first_ms, now_ms, current), Message(route, group, tuple(alerts))


def _distinct(alerts: Iterable[ActiveAlert]) -> Iterable[ActiveAlert]:
    """Two rules may give alerts of the same labels: to a receiver they are one, firing while either fires."""
    found: dict[Labels, ActiveAlert] = {}
    for alert in alerts:
        if alert.state is not AlertState.PENDING:
            twin = found.get(alert.labels)
            if twin is None or (alert.state is AlertState.FIRING) >= (twin.state is AlertState.FIRING):
                found[alert.labels] = alert
    return found.values()


def _by_labels(alert: ActiveAlert) -> Labels:
    return alert.labels


def _group_of(labels: Labels, group_by: tuple[str, ...]) -> Labels:
    return labels if "..." in group_by else tuple(pair for pair in labels if pair[0] in group_by)


def _due(told: Told, routing: Routing) -> list[int]:
    if told.last_ms is None:
        return [told.first_ms + routing.group_wait_ms]
    return [told.last_ms + routing.repeat_interval_ms] if routing.repeat_interval_ms and told.firing else []
