"""The contract of alerts: pure state steps, channels that deliver, and what readers see.

engine ─samples─► step ─transitions─► outbox (committed) ─► Channel.send ─► ledger
                    │
                    └─► AlertState rows, read by pages and the API
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ninesight_query.contract import Labels
from ninesight_query.histogram import Histogram

__all__ = [
    "AlertState",
    "AlertView",
    "AlertsReader",
    "Channel",
    "DeliveryView",
    "Notification",
    "Receipt",
    "Record",
    "RecordedSample",
    "RuleView",
]


class AlertState(enum.StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    """The expression has been true for less than `for`."""
    FIRING = "firing"
    """The expression has been true for at least `for`."""
    RESOLVED = "resolved"
    """The alert fired, and its expression is no longer true."""


@dataclass(frozen=True)
class Notification:
    """One message for one receiver. The body is fixed when the row is committed; every attempt sends it unchanged."""

    id: str
    """The idempotency key: the same for every attempt, new for every notification."""
    receiver: str
    group_key: str
    status: str
    """firing or resolved."""
    body: bytes
    """UTF-8 JSON, Alertmanager's webhook shape, version 4."""
    created_ms: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the other side answered."""

    status_code: int
    duration_ms: int


class Channel(Protocol):
    """Delivers to one receiver kind."""

    def send(self, notification: Notification) -> Receipt:
        """Deliver once. Raises RetryableError or PermanentError. May be called twice for one notification."""


@dataclass(frozen=True)
class AlertView:
    """An alert as pages and the API show it."""

    rule: str
    group: str
    state: AlertState
    labels: Labels
    annotations: Mapping[str, str]
    value: float
    active_since_ms: int
    """When the expression became true."""
    fired_ms: int | None
    resolved_ms: int | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One attempt to deliver, from the ledger; a notification that waits has no attempt yet."""

    notification_id: str
    receiver: str
    status: str
    """firing or resolved: what the message says."""
    attempt: int
    at_ms: int
    outcome: str
    """delivered, retry, dead or waiting."""
    detail: str
    """HTTP status or error in words, without secrets."""
    summary: str
    """Alert names in the message."""


@dataclass(frozen=True)
class RuleView:
    """A rule with its last evaluation."""

    group: str
    name: str
    kind: str
    """alerting or recording."""
    expr: str
    for_ms: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    health: str
    """ok, err or unknown (not evaluated yet)."""
    last_error: str
    last_evaluation_ms: int | None
    evaluation_s: float
    file: str = ""
    """Where the rule was read from; "" for rules made by code."""
    interval_ms: int = 0
    """How often its group is evaluated."""
    keep_firing_for_ms: int = 0


@dataclass(frozen=True, slots=True)
class RecordedSample:
    """One sample that a rule produced: a recording rule's result, ALERTS or ALERTS_FOR_STATE.

    `value` may be the stale marker (the NaN with the bits 0x7FF0000000000002): the series ended.
    Keep its bits. Where `histogram` is set the sample is a histogram and `value` means nothing.
    """

    labels: Labels
    timestamp_ms: int
    value: float
    histogram: Histogram | None = None


class Record(Protocol):
    """Takes what rules produced, and keeps it where the engine finds it again."""

    def __call__(self, samples: tuple[RecordedSample, ...], /) -> None:
        """Keep all samples, then return. Called from one thread.

        Whatever it raises makes the rule unhealthy and is counted; alert states are not touched.
        """


class AlertsReader(Protocol):
    """What others may read. Safe from other processes: it reads the database, not the evaluator's memory."""

    def active(self) -> Sequence[AlertView]:
        """Return pending and firing alerts, firing first, newest first."""

    def history(self, *, limit: int = 100) -> Sequence[AlertView]:
        """Return alerts that fired, resolved ones included, newest first."""

    def deliveries(self, *, limit: int = 100) -> Sequence[DeliveryView]:
        """Return the latest attempts, newest first."""

    def rules(self) -> Sequence[RuleView]:
        """Return every loaded rule in file order."""
