"""Format 3: start timestamps of rows and chunks, NULL where there are none, and exemplars."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("store_hot", sa.Column("starts", sa.LargeBinary, nullable=True))
    op.add_column("store_chunks", sa.Column("starts", sa.LargeBinary, nullable=True))
    op.create_table(
        "store_exemplars",
        sa.Column("series_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", sa.LargeBinary(8), primary_key=True),
        sa.Column("value", sa.LargeBinary(8), nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("store_exemplars_by_time", "store_exemplars", ["time_ms"])
    op.execute("UPDATE store_info SET value = 3 WHERE key = 'format'")
