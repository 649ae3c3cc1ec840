"""The life of an alert as one pure function, after Prometheus' alerting rules.

                      element present
        (nothing) ─────────────────────► pending ──── present for `for` ────► firing
            ▲                               │                                   │
            └──────── element absent ───────┘                    absent for `keep_firing_for`
            ▲                                                                   ▼
            └───────────────── kept for 15 min, or until it is back ──────── resolved

An element counts as present whatever its value, NaN too: the comparison has already decided.
No clock, no engine, no database here; the caller owns all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from ninesight_query.contract import Labels

from ninesight_alerts.contract import AlertState

__all__ = ["ActiveAlert", "AlertSample", "States", "Step", "StepSettings", "Transition", "step"]

RESOLVED_RETENTION_MS = 15 * 60_000
"""How long a resolved alert stays in the states, as in Prometheus."""


@dataclass(frozen=True, slots=True)
class StepSettings:
    """What a rule says about its alerts' life. Zero means at once; `limit` zero means no limit."""

    for_ms: int = 0
    keep_firing_for_ms: int = 0
    limit: int = 0
    """More pending and firing alerts than this drop all alerts of the rule."""


@dataclass(frozen=True, slots=True)
class AlertSample:
    """One element of the rule's result, labels and annotations already expanded."""

    labels: Labels
    value: float
    annotations: Labels = ()


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """One alert between two evaluations. Times are milliseconds since the epoch."""

    labels: Labels
    state: AlertState
    value: float
    annotations: Labels
    active_since_ms: int
    fired_ms: int | None = None
    resolved_ms: int | None = None
    keep_firing_since_ms: int | None = None
    """Since when the element has been absent while `keep_firing_for` holds the alert."""


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert entered `alert.state` at `at_ms`. A pending alert that vanishes makes none."""

    alert: ActiveAlert
    at_ms: int


States = Mapping[Labels, ActiveAlert]


class Step(NamedTuple):
    """What one evaluation leads to. `problem` is "" or why the rule is unhealthy."""

    states: States
    transitions: tuple[Transition, ...]
    problem: str = ""


def step(states: States, samples: Iterable[AlertSample], now_ms: int, settings: StepSettings) -> Step:
    """Return the states after one evaluation at `now_ms`, and what changed, ordered by labels.

    The samples' labels must be distinct. `states` is not changed.
    """
    present = {sample.labels: sample for sample in samples}
    following: dict[Labels, ActiveAlert] = {}
    transitions: list[Transition] = []
    for labels in sorted(states.keys() | present.keys()):
        before, sample = states.get(labels), present.get(labels)
        after = _gone(before, now_ms, settings) if sample is None else _seen(before, sample, now_ms, settings)
        if after is None:
            continue
        following[labels] = after
        known = before is not None and before.fired_ms == after.fired_ms
        if not known or before is None or before.state is not after.state:
            transitions.append(Transition(after, now_ms))
    return _limited(states, Step(following, tuple(transitions)), now_ms, settings)


def _seen(
    before: ActiveAlert | None, sample: AlertSample, now_ms: int, settings: StepSettings
) -> ActiveAlert:
    """Present: a new alert begins, an old one goes on; both fire when `for` has passed."""
    if before is None or before.state is AlertState.RESOLVED:
        alert = ActiveAlert(sample.labels, AlertState.PENDING, sample.value, sample.annotations, now_ms)
    else:
        alert = replace(before, value=sample.value, annotations=sample.annotations, keep_firing_since_ms=None)
    if alert.state is AlertState.PENDING and now_ms - alert.active_since_ms >= settings.for_ms:
        alert = replace(alert, state=AlertState.FIRING, fired_ms=now_ms)
    return alert


def _gone(before: ActiveAlert | None, now_ms: int, settings: StepSettings) -> ActiveAlert | None:
    """Absent: pending is forgotten, firing resolves unless it is held, resolved ages away."""
    assert before is not None
    if before.state is AlertState.PENDING:
        return None
    if before.state is AlertState.RESOLVED:
        assert before.resolved_ms is not None
        return before if now_ms - before.resolved_ms <= RESOLVED_RETENTION_MS else None
    if settings.keep_firing_for_ms > 0:
        since_ms = now_ms if before.keep_firing_since_ms is None else before.keep_firing_since_ms
        if now_ms - since_ms < settings.keep_firing_for_ms:
            return replace(before, keep_firing_since_ms=since_ms)
    return resolved(before, now_ms)


def resolved(alert: ActiveAlert, now_ms: int) -> ActiveAlert:
    """Return the alert as resolved now."""
    return replace(alert, state=AlertState.RESOLVED, resolved_ms=now_ms, keep_firing_since_ms=None)


def _limited(before: States, reached: Step, now_ms: int, settings: StepSettings) -> Step:
    """Over the limit all alerts of the rule are dropped; those that had fired are told as resolved.

    Prometheus stops sending them, and Alertmanager then resolves them after its timeout.
    """
    active = [alert for alert in reached.states.values() if alert.state is not AlertState.RESOLVED]
    if not settings.limit or len(active) <= settings.limit:
        return reached
    told = {
        alert.labels: resolved(alert, now_ms) for alert in before.values() if alert.state is AlertState.FIRING
    }
    kept = {labels: alert for labels, alert in reached.states.items() if alert.state is AlertState.RESOLVED}
    transitions = tuple(Transition(told[labels], now_ms) for labels in sorted(told))
    problem = f"limit allows {settings.limit} alerts, the rule has {len(active)}; all were dropped: raise the group's limit or narrow expr"
    return Step({**kept, **told}, transitions, problem)
