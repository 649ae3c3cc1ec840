"""What the evaluator keeps: one transaction an evaluation, and what a restart reads back.

Committed together: the rules' status, the alerts' states, their history, what receivers were told
and the outbox rows that tell them. Either all of an evaluation is there after a crash or none,
and then the next evaluation does it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from ninesight_alerts.contract import AlertState, Notification
from ninesight_alerts.database import Database
from ninesight_alerts.evaluation import RuleState, RuleStatus
from ninesight_alerts.fingerprint import fingerprint
from ninesight_alerts.grouping import GroupKey, Told
from ninesight_alerts.rows import alert_of, history_row, labels_of_text, rule_row, state_row, text_of_labels
from ninesight_alerts.rules import Rule, RuleGroup
from ninesight_alerts.step import ActiveAlert, States
from ninesight_alerts.tables import attempts, history, outbox, rules, states, told

__all__ = ["Commit", "Ledger", "OutboxEntry", "RuleChange"]

HISTORY_ROWS_MAX = 100_000
OUTBOX_ROWS_MAX = 50_000
ATTEMPTS_ROWS_MAX = 500_000


@dataclass(frozen=True)
class RuleChange:
    """A rule evaluated: its state before and after."""

    group: str
    rule: str
    rule_key: str
    before: States
    after: RuleState


@dataclass(frozen=True)
class OutboxEntry:
    """A notification to keep, with the alert names it tells of."""

    notification: Notification
    summary: str


@dataclass(frozen=True)
class Commit:
    """Everything one evaluation changes."""

    changes: Sequence[RuleChange] = ()
    told: Mapping[GroupKey, Told] | None = None
    """What every receiver knows afterwards, where that changed."""
    told_before: Mapping[GroupKey, Told] | None = None
    entries: Sequence[OutboxEntry] = ()


@dataclass(frozen=True)
class Remembered:
    """What a restart finds of one rule."""

    group: str
    rule: str
    states: dict[tuple[tuple[str, str], ...], ActiveAlert]
    last_evaluation_ms: int | None


class Ledger:
    """The evaluator's side of the tables. Used from one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(self, commit: Commit) -> None:
        """Write everything in one transaction. Raises what the database raises; then nothing is written."""
        with self._database.write() as connection:
            for change in commit.changes:
                self._status(connection, change)
                self._states(connection, change)
            if commit.told is not None:
                self._told(connection, commit.told_before or {}, commit.told)
            if commit.entries:
                connection.execute(insert(outbox), [_outbox_row(entry) for entry in commit.entries])

    def load_rules(self, groups: Sequence[RuleGroup]) -> None:
        """Make the rules table say what is loaded; status of rules that stay is kept."""
        with self._database.write() as connection:
            known = {row.rule_key: row for row in connection.execute(select(rules))}
            connection.execute(delete(rules))
            rows: list[dict[str, Any]] = []
            for group in groups:
                for rule in group.rules:
                    row = rule_row(group, rule, len(rows))
                    rows.append({**row, **_kept_status(known.get(rule.key), rule)})
            if rows:
                connection.execute(insert(rules), rows)

    def remembered(self) -> dict[str, Remembered]:
        """Return the states of every rule by key, rules that are no longer loaded included."""
        with self._database.read() as connection:
            evaluated = dict(connection.execute(select(rules.c.rule_key, rules.c.last_evaluation_ms)).all())
            found: dict[str, Remembered] = {}
            for row in connection.execute(select(states)):
                alert = alert_of(row)
                entry = found.setdefault(
                    row.rule_key, Remembered(row.group_name, row.rule, {}, evaluated.get(row.rule_key))
                )
                entry.states[alert.labels] = alert
        return found

    def told(self) -> dict[GroupKey, Told]:
        """Return what receivers have been told."""
        with self._database.read() as connection:
            return {
                GroupKey(row.receiver, labels_of_text(row.group_labels)): Told(
                    row.first_ms,
                    row.last_ms,
                    {labels_of_text(text): at for text, at in json.loads(row.firing)},
                )
                for row in connection.execute(select(told))
            }

    def prune(self, before_ms: int) -> None:
        """Drop history, finished notifications and attempts older than `before_ms` or over their caps."""
        with self._database.write() as connection:
            connection.execute(delete(history).where(history.c.resolved_ms < before_ms))
            connection.execute(delete(outbox).where(outbox.c.finished_ms < before_ms))
            connection.execute(delete(attempts).where(attempts.c.at_ms < before_ms))
            newest = connection.scalar(select(func.max(history.c.id))) or 0
            connection.execute(delete(history).where(history.c.id <= newest - HISTORY_ROWS_MAX))
            newest = connection.scalar(select(func.max(outbox.c.seq))) or 0
            finished = outbox.c.finished_ms.is_not(None)
            connection.execute(delete(outbox).where(finished, outbox.c.seq <= newest - OUTBOX_ROWS_MAX))
            newest = connection.scalar(select(func.max(attempts.c.id))) or 0
            connection.execute(delete(attempts).where(attempts.c.id <= newest - ATTEMPTS_ROWS_MAX))

    def _status(self, connection: Connection, change: RuleChange) -> None:
        status = change.after.status
        connection.execute(
            update(rules)
            .where(rules.c.rule_key == change.rule_key)
            .values(
                health=status.health,
                last_error=status.last_error,
                last_evaluation_ms=status.last_evaluation_ms,
                evaluation_s=status.evaluation_s,
            )
        )

    def _states(self, connection: Connection, change: RuleChange) -> None:
        before, after = change.before, change.after.states
        gone = [labels for labels in before if labels not in after]
        changed = [alert for labels, alert in after.items() if before.get(labels) != alert]
        stale = [*gone, *(alert.labels for alert in changed if alert.labels in before)]
        if stale:
            connection.execute(
                delete(states).where(
                    states.c.rule_key == change.rule_key,
                    states.c.fingerprint == bindparam("b_fingerprint"),
                    states.c.labels == bindparam("b_labels"),
                ),
                [{"b_fingerprint": fingerprint(item), "b_labels": text_of_labels(item)} for item in stale],
            )
        written = [state_row(change.group, change.rule, change.rule_key, alert) for alert in changed]
        if written:
            connection.execute(insert(states), written)
        for transition in change.after.transitions:
            self._history(connection, change, transition.alert)

    def _history(self, connection: Connection, change: RuleChange, alert: ActiveAlert) -> None:
        row = history_row(state_row(change.group, change.rule, change.rule_key, alert))
        if alert.state is AlertState.FIRING:
            connection.execute(insert(history).values(**row))
        elif alert.state is AlertState.RESOLVED:
            connection.execute(
                update(history)
                .where(
                    history.c.rule_key == change.rule_key,
                    history.c.fingerprint == row["fingerprint"],
                    history.c.labels == row["labels"],
                    history.c.fired_ms == alert.fired_ms,
                )
                .values(resolved_ms=alert.resolved_ms, value=row["value"])
            )

    def _told(
        self, connection: Connection, before: Mapping[GroupKey, Told], after: Mapping[GroupKey, Told]
    ) -> None:
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        for key in sorted(changed & before.keys()):
            where = (told.c.receiver == key.receiver, told.c.group_labels == text_of_labels(key.labels))
            connection.execute(delete(told).where(*where))
        for key in sorted(changed & after.keys()):
            value = after[key]
            connection.execute(
                insert(told).values(
                    receiver=key.receiver,
                    group_labels=text_of_labels(key.labels),
                    first_ms=value.first_ms,
                    last_ms=value.last_ms,
                    firing=json.dumps([[text_of_labels(labels), at] for labels, at in value.firing.items()]),
                )
            )


def _kept_status(row: Any, rule: Rule) -> dict[str, Any]:
    if row is not None and row.expr == rule.expr:
        status = RuleStatus(row.health, row.last_error, row.last_evaluation_ms, row.evaluation_s)
    else:
        status = RuleStatus(last_evaluation_ms=None if row is None else row.last_evaluation_ms)
    return {
        "health": status.health,
        "last_error": status.last_error,
        "last_evaluation_ms": status.last_evaluation_ms,
        "evaluation_s": status.evaluation_s,
    }


def _outbox_row(entry: OutboxEntry) -> dict[str, Any]:
    notification = entry.notification
    return {
        "id": notification.id,
        "receiver": notification.receiver,
        "group_key": notification.group_key,
        "status": notification.status,
        "summary": entry.summary,
        "body": notification.body,
        "created_ms": notification.created_ms,
        "outcome": "waiting",
        "attempts": 0,
        "next_ms": notification.created_ms,
    }
