"""Format 2: checksums of rows and chunks, NULL in what was there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("store_hot", sa.Column("checksum", sa.BigInteger, nullable=True))
    op.add_column("store_chunks", sa.Column("checksums", sa.LargeBinary, nullable=True))
    op.execute("UPDATE store_info SET value = 2 WHERE key = 'format'")
