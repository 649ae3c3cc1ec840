"""Version 1: rules, states, history, what receivers were told, outbox and ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    _rules()
    _alerts()
    _notifications()
    op.execute("INSERT INTO alerts_meta (key, value) VALUES ('schema_version', '1')")


def _rules() -> None:
    op.create_table(
        "alerts_meta",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("value", sa.String(255), nullable=False),
    )
    op.create_table(
        "alerts_rules",
        sa.Column("rule_key", sa.String(16), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("interval_ms", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("expr", sa.Text, nullable=False),
        sa.Column("for_ms", sa.BigInteger, nullable=False),
        sa.Column("keep_firing_for_ms", sa.BigInteger, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("health", sa.String(16), nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("last_evaluation_ms", sa.BigInteger),
        sa.Column("evaluation_s", sa.Float, nullable=False),
    )
    op.create_table(
        "alerts_states",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("rule_key", sa.String(16), nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.String(16), nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("value", sa.String(32), nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("active_since_ms", sa.BigInteger, nullable=False),
        sa.Column("fired_ms", sa.BigInteger),
        sa.Column("resolved_ms", sa.BigInteger),
        sa.Column("keep_firing_since_ms", sa.BigInteger),
    )
    op.create_index("alerts_states_alert", "alerts_states", ["rule_key", "fingerprint"])


def _alerts() -> None:
    op.create_table(
        "alerts_history",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("rule_key", sa.String(16), nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("fired_ms", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", sa.String(16), nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("value", sa.String(32), nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("active_since_ms", sa.BigInteger, nullable=False),
        sa.Column("resolved_ms", sa.BigInteger),
    )
    op.create_index("alerts_history_alert", "alerts_history", ["rule_key", "fingerprint"])
    op.create_index("alerts_history_fired", "alerts_history", ["fired_ms"])
    op.create_table(
        "alerts_told",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("receiver", sa.String(255), nullable=False),
        sa.Column("group_labels", sa.Text, nullable=False),
        sa.Column("first_ms", sa.BigInteger, nullable=False),
        sa.Column("last_ms", sa.BigInteger),
        sa.Column("firing", sa.Text, nullable=False),
    )
    op.create_index("alerts_told_receiver", "alerts_told", ["receiver"])


def _notifications() -> None:
    op.create_table(
        "alerts_outbox",
        sa.Column("seq", _Id, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("receiver", sa.String(255), nullable=False),
        sa.Column("group_key", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_ms", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.String(255)),
        sa.Column("lease_until_ms", sa.BigInteger),
        sa.Column("finished_ms", sa.BigInteger),
    )
    op.create_index("alerts_outbox_waiting", "alerts_outbox", ["outcome", "receiver", "seq"])
    op.create_table(
        "alerts_attempts",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("notification_id", sa.String(64), nullable=False),
        sa.Column("receiver", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("duration_ms", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("alerts_attempts_at", "alerts_attempts", ["at_ms"])
    op.create_index("ix_alerts_attempts_notification_id", "alerts_attempts", ["notification_id"])
