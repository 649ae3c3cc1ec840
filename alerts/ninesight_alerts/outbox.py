"""The outbox: notifications committed before they are sent, and the ledger of every attempt.

    waiting ──claim (lease)──► being sent ──2xx──► delivered
       ▲                          │
       └──── retry, with backoff ─┴── 4xx, or attempts_max ──► dead

Order is kept per receiver and group: only the oldest waiting row of a group can be claimed. A
claim is a lease in the row, so that two processes do not send the same row at once; the lease of
a process that died on this host is free at once, any other when it ends.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from ninesight_alerts.contract import Notification
from ninesight_alerts.database import Database
from ninesight_alerts.tables import attempts, outbox

__all__ = ["Attempt", "Claim", "Outbox", "Owner"]

DETAIL_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lease: one sender in one process on one host."""

    host: str
    """Host name and process-number space: numbers compare only within it."""
    pid: int
    token: str

    @classmethod
    def here(cls) -> Owner:
        """Return a new owner in this process."""
        return cls(_space(), os.getpid(), uuid.uuid4().hex)

    def __str__(self) -> str:
        return f"{self.host}/{self.pid}/{self.token}"

    def knows_dead(self, other: str) -> bool:
        """Say whether the process behind another lease is surely gone."""
        host, _, rest = other.rpartition("/")[0].rpartition("/")
        if host != self.host or not rest.isdigit() or int(rest) == self.pid:
            return False
        try:
            os.kill(int(rest), 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


def _space() -> str:
    space = ""
    with suppress(OSError):
        space = f"#{Path('/proc/self/ns/pid').stat().st_ino}"
    return f"{socket.gethostname()}{space}"


@dataclass(frozen=True)
class Claim:
    """A notification to send now, and which attempt this is (from 1)."""

    notification: Notification
    attempt: int
    summary: str


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended."""

    outcome: str
    """delivered, retry or dead."""
    detail: str
    at_ms: int
    duration_ms: int
    next_ms: int = 0
    """When to try again, for `retry`."""


class Outbox:
    """The sender's side of the tables. Safe to use from many threads and processes."""

    def __init__(self, database: Database, *, owner: Owner | None = None) -> None:
        self._database = database
        self._owner = owner or Owner.here()

    def claim(self, receiver: str, now_ms: int, lease_ms: int) -> Claim | None:
        """Lease the oldest notification that is due for one receiver, or return None."""
        with self._database.read() as connection:
            due = self._due(connection, receiver, now_ms)
        for seq in due:
            with self._database.write() as connection:
                claim = self._lease(connection, seq, now_ms, lease_ms)
            if claim:
                return claim
        return None

    def next_ms(self, receiver: str) -> int | None:
        """Return when the receiver's next waiting notification is due; None if none waits."""
        query = select(func.min(outbox.c.next_ms)).where(
            outbox.c.outcome == "waiting", outbox.c.receiver == receiver
        )
        with self._database.read() as connection:
            found: int | None = connection.scalar(query)
        return found

    def finish(self, claim: Claim, attempt: Attempt) -> None:
        """Write the attempt into the ledger and the outcome into the row, in one transaction."""
        done = attempt.outcome != "retry"
        with self._database.write() as connection:
            _note(connection, claim, attempt)
            connection.execute(
                update(outbox)
                .where(outbox.c.id == claim.notification.id, outbox.c.outcome == "waiting")
                .values(
                    outcome=attempt.outcome if done else "waiting",
                    next_ms=attempt.next_ms,
                    lease_owner=None,
                    lease_until_ms=None,
                    finished_ms=attempt.at_ms + attempt.duration_ms if done else None,
                )
            )

    def bury_strangers(self, receivers: Collection[str], now_ms: int) -> int:
        """Move what waits for receivers that are no longer configured to the dead letters; return how many."""
        stranger = (outbox.c.outcome == "waiting", outbox.c.receiver.not_in(list(receivers)))
        with self._database.write() as connection:
            rows = connection.execute(select(outbox).where(*stranger)).all()
            for row in rows:
                _note(
                    connection,
                    _claimed(row),
                    Attempt("dead", "the receiver is no longer configured", now_ms, 0),
                )
            connection.execute(update(outbox).where(*stranger).values(outcome="dead", finished_ms=now_ms))
        return len(rows)

    def counts(self) -> dict[str, int]:
        """Return how many notifications are waiting, delivered and dead."""
        query = select(outbox.c.outcome, func.count()).group_by(outbox.c.outcome)
        with self._database.read() as connection:
            return {"waiting": 0, "delivered": 0, "dead": 0, **dict(connection.execute(query).all())}

    def _due(self, connection: Connection, receiver: str, now_ms: int) -> list[int]:
        heads = (
            select(func.min(outbox.c.seq))
            .where(outbox.c.outcome == "waiting", outbox.c.receiver == receiver)
            .group_by(outbox.c.group_key)
        )
        query = (
            select(outbox.c.seq, outbox.c.lease_owner, outbox.c.lease_until_ms)
            .where(outbox.c.seq.in_(heads), outbox.c.next_ms <= now_ms)
            .order_by(outbox.c.seq)
        )
        return [
            row.seq
            for row in connection.execute(query)
            if self._free(row.lease_owner, row.lease_until_ms, now_ms)
        ]

    def _free(self, owner: str | None, until_ms: int | None, now_ms: int) -> bool:
        return owner is None or (until_ms or 0) <= now_ms or self._owner.knows_dead(owner)

    def _lease(self, connection: Connection, seq: int, now_ms: int, lease_ms: int) -> Claim | None:
        """Take the lease unless somebody else was faster; the transaction makes look and take one."""
        where = (outbox.c.seq == seq, outbox.c.outcome == "waiting")
        row = connection.execute(select(outbox).where(*where).with_for_update()).one_or_none()
        if row is None or row.next_ms > now_ms or not self._free(row.lease_owner, row.lease_until_ms, now_ms):
            return None
        if row.lease_owner is not None:
            detail = "interrupted: the process that was sending it ended, or took too long"
            _note(connection, _claimed(row, row.attempts), Attempt("retry", detail, now_ms, 0))
        connection.execute(
            update(outbox)
            .where(*where)
            .values(lease_owner=str(self._owner), lease_until_ms=now_ms + lease_ms, attempts=row.attempts + 1)
        )
        return _claimed(row)


def _claimed(row: Any, attempt: int | None = None) -> Claim:
    notification = Notification(row.id, row.receiver, row.group_key, row.status, row.body, row.created_ms)
    return Claim(notification, row.attempts + 1 if attempt is None else attempt, row.summary)


def _note(connection: Connection, claim: Claim, attempt: Attempt) -> None:
    connection.execute(
        insert(attempts).values(
            notification_id=claim.notification.id,
            receiver=claim.notification.receiver,
            status=claim.notification.status,
            summary=claim.summary,
            attempt=claim.attempt,
            at_ms=attempt.at_ms,
            duration_ms=attempt.duration_ms,
            outcome=attempt.outcome,
            detail=attempt.detail[:DETAIL_CHARS_MAX],
        )
    )
