"""Format 1: series, layouts, hot rows, chunks, metadata and counters."""

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
    op.create_table(
        "store_info",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    for name, unique, body in (("series", "key", "labels"), ("layouts", "digest", "ids")):
        op.create_table(
            f"store_{name}",
            sa.Column("id", _Id, primary_key=True, autoincrement=False),
            sa.Column(unique, sa.LargeBinary(16), nullable=False, unique=True),
            sa.Column(body, sa.Text if name == "series" else sa.LargeBinary, nullable=False),
        )
    op.create_table(
        "store_hot",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("hour", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        *_head(),
        sa.Column("times", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "store_hot_by_hour", "store_hot", ["hour", "kind", "layout_id", "start_ms", "end_ms", "count"]
    )
    op.create_table(
        "store_chunks",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("level", sa.SmallInteger, nullable=False),
        *_head(),
        sa.Column("codec", sa.SmallInteger, nullable=False),
        sa.Column("codec_version", sa.SmallInteger, nullable=False),
        sa.Column("times", sa.LargeBinary, nullable=False),
        sa.Column("ends", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "store_chunks_by_end", "store_chunks", ["end_ms", "start_ms", "layout_id", "kind", "level", "count"]
    )
    op.create_index("store_chunks_by_layout", "store_chunks", ["layout_id", "end_ms", "start_ms", "kind"])
    op.create_table(
        "store_metadata",
        sa.Column("metric", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "unit", "help")),
    )
    counters = ("series_next", "layout_next", "series_generation", "layout_generation")
    info = sa.table("store_info", sa.column("key", sa.String), sa.column("value", sa.BigInteger))
    rows = [{"key": key, "value": int(key.endswith("next"))} for key in counters]
    op.bulk_insert(info, [{"key": "format", "value": 1}, *rows])


def _head() -> list[sa.Column[int]]:
    names = ("layout_id", "start_ms", "end_ms")
    columns = [sa.Column(name, sa.BigInteger, nullable=False) for name in names]
    return [*columns, sa.Column("count", sa.Integer, nullable=False)]
