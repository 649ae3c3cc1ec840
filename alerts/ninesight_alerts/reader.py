"""What others may see: alerts, history, deliveries and rules, read from the database alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, case, exists, inspect, select

from ninesight_alerts.contract import AlertState, AlertView, DeliveryView, RuleView
from ninesight_alerts.database import Database
from ninesight_alerts.rows import labels_of_text
from ninesight_alerts.tables import attempts, history, outbox, rules, states

__all__ = ["DatabaseAlerts"]

LIMIT_MAX = 10_000
ACTIVE_MAX = 10_000

T = TypeVar("T")


class DatabaseAlerts:
    """Fulfils `AlertsReader` from any process. It writes nothing, and an absent database reads as empty.

    Safe to use from many threads.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, read_only=True)
        self._ready = False

    def active(self) -> Sequence[AlertView]:
        """Return pending and firing alerts, firing first, newest first."""
        firing_first = case((states.c.state == AlertState.FIRING.value, 0), else_=1)
        query = (
            select(states)
            .where(states.c.state != AlertState.RESOLVED.value)
            .order_by(firing_first, states.c.active_since_ms.desc(), states.c.id)
            .limit(ACTIVE_MAX)
        )
        return self._read(lambda connection: [_alert(row, row.state) for row in connection.execute(query)])

    def history(self, *, limit: int = 100) -> Sequence[AlertView]:
        """Return alerts that fired, resolved ones included, newest first."""
        query = (
            select(history).order_by(history.c.fired_ms.desc(), history.c.id.desc()).limit(_bounded(limit))
        )

        def read(connection: Connection) -> list[AlertView]:
            return [
                _alert(row, AlertState.FIRING if row.resolved_ms is None else AlertState.RESOLVED)
                for row in connection.execute(query)
            ]

        return self._read(read)

    def deliveries(self, *, limit: int = 100) -> Sequence[DeliveryView]:
        """Return the latest attempts, newest first, and before them what waits for its first attempt."""
        waiting = (
            select(outbox)
            .where(outbox.c.outcome == "waiting", ~exists().where(attempts.c.notification_id == outbox.c.id))
            .order_by(outbox.c.seq.desc())
            .limit(_bounded(limit))
        )
        made = select(attempts).order_by(attempts.c.at_ms.desc(), attempts.c.id.desc()).limit(_bounded(limit))

        def read(connection: Connection) -> list[DeliveryView]:
            views = [
                DeliveryView(row.id, row.receiver, row.status, 0, row.created_ms, "waiting", "", row.summary)
                for row in connection.execute(waiting)
            ]
            views += [_delivery(row) for row in connection.execute(made)]
            return views[: _bounded(limit)]

        return self._read(read)

    def rules(self) -> Sequence[RuleView]:
        """Return every loaded rule in file order."""
        query = select(rules).order_by(rules.c.position)
        return self._read(lambda connection: [_rule(row) for row in connection.execute(query)])

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        self._database.close()

    def _read(self, ask: Callable[[Connection], list[T]]) -> list[T]:
        if not self._database.exists:
            return []
        with self._database.read() as connection:
            if not self._ready:
                self._ready = inspect(connection).has_table("alerts_meta")
            return ask(connection) if self._ready else []


def _bounded(limit: int) -> int:
    return max(0, min(limit, LIMIT_MAX))


def _alert(row: Any, state: str) -> AlertView:
    return AlertView(
        rule=row.rule,
        group=row.group_name,
        state=AlertState(state),
        labels=labels_of_text(row.labels),
        annotations=dict(labels_of_text(row.annotations)),
        value=float(row.value),
        active_since_ms=row.active_since_ms,
        fired_ms=row.fired_ms,
        resolved_ms=row.resolved_ms,
        fingerprint=row.fingerprint,
    )


def _delivery(row: Any) -> DeliveryView:
    return DeliveryView(
        notification_id=row.notification_id,
        receiver=row.receiver,
        status=row.status,
        attempt=row.attempt,
        at_ms=row.at_ms,
        outcome=row.outcome,
        detail=row.detail,
        summary=row.summary,
    )


def _rule(row: Any) -> RuleView:
    return RuleView(
        group=row.group_name,
        name=row.name,
        kind=row.kind,
        expr=row.expr,
        for_ms=row.for_ms,
        labels=dict(labels_of_text(row.labels)),
        annotations=dict(labels_of_text(row.annotations)),
        health=row.health,
        last_error=row.last_error,
        last_evaluation_ms=row.last_evaluation_ms,
        evaluation_s=row.evaluation_s,
        file=row.file,
        interval_ms=row.interval_ms,
        keep_firing_for_ms=row.keep_firing_for_ms,
    )
