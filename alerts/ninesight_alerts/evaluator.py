"""Evaluates rule groups: engine, step, one commit, then the senders and the record are told.

    due ─► evaluate each rule ─► plan messages ─► COMMIT ─► memory ─► wake senders ─► record ALERTS

What is in memory only follows what is committed. If the commit does not succeed, nothing has
happened: the next evaluation starts from the old states and reaches the same transitions.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ninesight_query.contract import Engine

from ninesight_alerts.answers import Surroundings, alert_series
from ninesight_alerts.contract import AlertState, Notification, Record, RecordedSample
from ninesight_alerts.evaluation import ERROR_CHARS_MAX, RuleState, RuleStatus, evaluate_rule
from ninesight_alerts.grouping import GroupKey, Message, Plan, Routing, Told, group_key, plan
from ninesight_alerts.ledger import Commit, Ledger, OutboxEntry, Remembered, RuleChange
from ninesight_alerts.rules import Rule, RuleGroup
from ninesight_alerts.step import ActiveAlert, States, Transition, resolved
from ninesight_alerts.webhook import summary, webhook_body

__all__ = ["Evaluator", "EvaluatorSettings", "EvaluatorStats"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluatorSettings:
    """What an evaluator needs beside rules and routing."""

    external_url: str = ""
    outage_ms_max: int = 3_600_000
    """A pending alert not evaluated for longer than this begins anew, as in Prometheus."""


@dataclass(slots=True)
class EvaluatorStats:
    """Counts since the start."""

    evaluations: int = 0
    """Rule evaluations."""
    evaluation_errors: int = 0
    commit_errors: int = 0
    record_errors: int = 0
    notifications: int = 0
    """Notifications committed to the outbox."""


class Evaluator:
    """Owns the alert states. Not safe for use from two threads at once."""

    def __init__(
        self,
        groups: Sequence[RuleGroup],
        engine: Engine,
        ledger: Ledger,
        routing: Routing,
        *,
        record: Record | None = None,
        wake: Callable[[], None] = lambda: None,
        settings: EvaluatorSettings | None = None,
        new_id: Callable[[], str] = lambda: f"msg_{uuid.uuid4().hex}",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stats = EvaluatorStats()
        self.groups = tuple(groups)
        self._engine = engine
        self._ledger = ledger
        self._routing = routing
        self._record = record
        self._wake = wake
        self._settings = settings or EvaluatorSettings()
        self._around = Surroundings(external_url=self._settings.external_url)
        self._new_id = new_id
        self._monotonic = monotonic
        self._states: dict[str, RuleState] = {}
        self._told: Mapping[GroupKey, Told] = {}
        self._due_ms: int | None = None

    @property
    def due_ms(self) -> int | None:
        """When `tick` has something to send though no alert changed; None if nothing waits."""
        return self._due_ms

    def alerts(self) -> tuple[ActiveAlert, ...]:
        """Return every alert in memory, in rule order."""
        return tuple(alert for state in self._states.values() for alert in state.states.values())

    def restore(self, now_ms: int) -> None:
        """Load what an earlier process committed; alerts of rules that are gone resolve now.

        Must be called once before anything else. Raises what the database raises.
        """
        remembered = self._ledger.remembered()
        self._ledger.load_rules(self.groups)
        self._told = self._ledger.told()
        changes = []
        for group in self.groups:
            for rule in group.rules:
                old = remembered.pop(rule.key, None)
                state = _restored(old, now_ms, self._settings.outage_ms_max)
                self._states[rule.key] = state
                if old is not None and state.states != old.states:
                    changes.append(RuleChange(group.name, rule.name, rule.key, old.states, state))
        changes += [_ended(key, old, now_ms) for key, old in remembered.items()]
        self._commit(changes, now_ms, look=True)

    def evaluate(self, group: RuleGroup, now_ms: int) -> None:
        """Evaluate one group at `now_ms` and commit what follows. Never raises; failures are counted."""
        changes: list[RuleChange] = []
        samples: list[RecordedSample] = []
        for rule in group.rules:
            before = self._states[rule.key]
            after = evaluate_rule(
                group, rule, before, self._engine, now_ms, around=self._around, monotonic=self._monotonic
            )
            self.stats.evaluations += 1
            if rule.kind == "recording":
                # At once: the group's next rule may ask for it.
                after = self._recorded(rule, after)
            else:
                samples += after.samples
            if after.status.health != "ok":
                self.stats.evaluation_errors += 1
            if after.status.health != "ok" and after.status.last_error != before.status.last_error:
                log.warning("group %s, rule %s: %s", group.name, rule.name, after.status.last_error)
            changes.append(RuleChange(group.name, rule.name, rule.key, before.states, after))
        if self._committed(changes, now_ms):
            self._write(tuple(samples))

    def tick(self, now_ms: int) -> None:
        """Send what is due by time alone: group waits and repeats. Never raises."""
        self._committed([], now_ms, look=True)

    def prune(self, before_ms: int) -> None:
        """Drop what was finished before `before_ms`. Never raises."""
        try:
            self._ledger.prune(before_ms)
        except Exception as error:
            self.stats.commit_errors += 1
            log.warning("dropping old alert history: %s", error)

    def _committed(self, changes: Sequence[RuleChange], now_ms: int, *, look: bool = False) -> bool:
        try:
            self._commit(changes, now_ms, look=look)
        except Exception as error:
            self.stats.commit_errors += 1
            log.error("alert states were not committed and stay as they were: %s", error)
            return False
        return True

    def _commit(self, changes: Sequence[RuleChange], now_ms: int, *, look: bool = False) -> None:
        """Commit what changed and what is to be told of it; `look` plans though no alert changed."""
        states = dict(self._states)
        states.update({change.rule_key: change.after for change in changes})
        planned: Plan | None = None
        entries: list[OutboxEntry] = []
        moved = any(change.after.transitions for change in changes)
        if moved or look or (self._due_ms is not None and now_ms >= self._due_ms):
            alerts = [alert for state in states.values() for alert in state.states.values()]
            # Rules that are gone keep no states, but their alerts' end is told.
            alerts += [
                item.alert
                for change in changes
                for item in change.after.transitions
                if item.alert.labels not in change.after.states
            ]
            planned = plan(alerts, self._told, now_ms, self._routing)
            exprs = {labels: rule.expr for rule in self._rules() for labels in states[rule.key].states}
            entries = [self._entry(message, exprs, now_ms) for message in planned.messages]
        told = None if planned is None else planned.told
        self._ledger.commit(Commit(changes, told, self._told, entries))
        keys = {rule.key for rule in self._rules()}
        self._states = {
            key: replace(state, transitions=(), samples=()) for key, state in states.items() if key in keys
        }
        if planned is not None:
            self._told, self._due_ms = planned.told, planned.due_ms
        if entries:
            self.stats.notifications += len(entries)
            self._wake()

    def _rules(self) -> list[Rule]:
        return [rule for group in self.groups for rule in group.rules]

    def _entry(
        self, message: Message, exprs: Mapping[tuple[tuple[str, str], ...], str], now_ms: int
    ) -> OutboxEntry:
        body = webhook_body(message, exprs, self._settings.external_url)
        key = group_key(message.group)
        return OutboxEntry(
            Notification(self._new_id(), message.route.name, key, message.status, body, now_ms),
            summary(message),
        )

    def _recorded(self, rule: Rule, after: RuleState) -> RuleState:
        problem = self._write(after.samples)
        if not problem:
            return after
        status = replace(
            after.status, health="err", last_error=f"recording {rule.name}: {problem}"[:ERROR_CHARS_MAX]
        )
        return replace(after, status=status)

    def _write(self, samples: tuple[RecordedSample, ...]) -> str:
        """Record; return "" or why that was not possible."""
        if self._record is None or not samples:
            return ""
        try:
            self._record(samples)
        except Exception as error:
            self.stats.record_errors += 1
            log.warning("recording %d samples: %s", len(samples), error)
            return str(error) or type(error).__name__
        return ""


def _restored(old: Remembered | None, now_ms: int, outage_ms_max: int) -> RuleState:
    if old is None:
        return RuleState()
    away_ms = now_ms - (old.last_evaluation_ms if old.last_evaluation_ms is not None else now_ms)
    states: States = {
        labels: alert
        for labels, alert in old.states.items()
        if alert.state is not AlertState.PENDING or away_ms <= outage_ms_max
    }
    # The series an earlier process wrote end with a marker like our own.
    written = tuple(sample.labels for sample in alert_series(tuple(states.values()), now_ms))
    return RuleState(states, RuleStatus(last_evaluation_ms=old.last_evaluation_ms), written)


def _ended(key: str, old: Remembered, now_ms: int) -> RuleChange:
    """A rule that is no longer loaded: its firing alerts resolve, so that nobody is left waiting."""
    over = [resolved(alert, now_ms) for alert in old.states.values() if alert.state is AlertState.FIRING]
    transitions = tuple(Transition(alert, now_ms) for alert in over)
    return RuleChange(old.group, old.rule, key, old.states, RuleState({}, transitions=transitions))
