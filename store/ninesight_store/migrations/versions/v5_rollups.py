"""Format 5: rollups of chunks; those that were there have none until they are merged or maintenance comes to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    blobs = ("checksums", "head", "ends", "lost", "sums", "spread")
    op.create_table(
        "store_rollups",
        sa.Column("id", _Id, primary_key=True, autoincrement=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in blobs),
    )
    op.create_index("store_rollups_by_bytes", "store_rollups", ["bytes"])
    op.execute("UPDATE store_info SET value = 5 WHERE key = 'format'")
