"""The tables of alerts: rule status, alert states, history, what receivers were told, outbox, ledger.

They live in the database of the store, under the prefix `alerts_`. Labels and annotations are JSON
texts with sorted keys; numbers that may be NaN are texts, because SQLite turns a NaN into NULL.
Times are milliseconds since the epoch.

    evaluator ──one transaction──► rules + states + history + told + outbox
    sender    ──one transaction──► outbox row + attempt
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

__all__ = [
    "SCHEMA_VERSION",
    "VERSION_TABLE",
    "attempts",
    "history",
    "meta",
    "metadata",
    "outbox",
    "rules",
    "states",
    "told",
]

SCHEMA_VERSION = 1
"""Every version is a step in migrations/, and this file is what the last one leaves."""
VERSION_TABLE = "alerts_version"
"""Alembic's record of the step that these tables are at."""

metadata = MetaData()

# SQLite numbers rows by itself only for INTEGER keys.
_Id = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "alerts_meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", String(255), nullable=False),
)

rules = Table(
    "alerts_rules",
    metadata,
    Column("rule_key", String(16), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("file", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("interval_ms", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("expr", Text, nullable=False),
    Column("for_ms", BigInteger, nullable=False),
    Column("keep_firing_for_ms", BigInteger, nullable=False),
    Column("labels", Text, nullable=False),
    Column("annotations", Text, nullable=False),
    Column("health", String(16), nullable=False),
    Column("last_error", Text, nullable=False),
    Column("last_evaluation_ms", BigInteger),
    Column("evaluation_s", Float, nullable=False),
)

states = Table(
    "alerts_states",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("rule_key", String(16), nullable=False),
    Column("labels", Text, nullable=False),
    Column("fingerprint", String(16), nullable=False),
    Column("rule", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("value", String(32), nullable=False),
    Column("annotations", Text, nullable=False),
    Column("active_since_ms", BigInteger, nullable=False),
    Column("fired_ms", BigInteger),
    Column("resolved_ms", BigInteger),
    Column("keep_firing_since_ms", BigInteger),
    Index("alerts_states_alert", "rule_key", "fingerprint"),
)

history = Table(
    "alerts_history",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("rule_key", String(16), nullable=False),
    Column("labels", Text, nullable=False),
    Column("fired_ms", BigInteger, nullable=False),
    Column("fingerprint", String(16), nullable=False),
    Column("rule", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("value", String(32), nullable=False),
    Column("annotations", Text, nullable=False),
    Column("active_since_ms", BigInteger, nullable=False),
    Column("resolved_ms", BigInteger),
    Index("alerts_history_alert", "rule_key", "fingerprint"),
    Index("alerts_history_fired", "fired_ms"),
)

told = Table(
    "alerts_told",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("receiver", String(255), nullable=False),
    Column("group_labels", Text, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger),
    Column("firing", Text, nullable=False),
    Index("alerts_told_receiver", "receiver"),
)

outbox = Table(
    "alerts_outbox",
    metadata,
    Column("seq", _Id, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("receiver", String(255), nullable=False),
    Column("group_key", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("summary", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("lease_owner", String(255)),
    Column("lease_until_ms", BigInteger),
    Column("finished_ms", BigInteger),
    Index("alerts_outbox_waiting", "outcome", "receiver", "seq"),
)
"""`outcome` is waiting, delivered or dead."""

attempts = Table(
    "alerts_attempts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("notification_id", String(64), nullable=False, index=True),
    Column("receiver", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("summary", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Index("alerts_attempts_at", "at_ms"),
)
"""The ledger: one row an attempt, `outcome` delivered, retry or dead."""
