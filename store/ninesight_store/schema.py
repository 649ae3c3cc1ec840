"""The tables. Format version 5; its meaning never changes, a new meaning gets a new number.

    series     one row a series: its labels
    layouts    ordered series ids, shared by the rows and chunks that hold samples in that order
    hot        one row a batch, hour and kind: raw columns, durable before `write` returns
    chunks     one row a group of series with the same timestamps: compressed columns
    rollups    at most one row a chunk: its samples summed up, for reading long windows
    metadata   one row a metric
    exemplars  one row an exemplar
    index      the label index as it was last kept, in parts; may be absent
    info       format version and counters

Every version is a step in migrations/, and this file is what the last one leaves.

Samples live in blobs only: a REAL column turns NaN into NULL and -0.0 into 0.0.
A hot row or hourly chunk never crosses an hour, so an hour can be sealed whatever else is written.

Version 2 added the checksums (checks.py). They are NULL in what version 1 wrote: read, but not checked.
Version 3 added start timestamps (starts.py), NULL where there are none, and exemplars.
Version 4 added the kept index (index_table.py), empty until maintenance keeps it.
Version 5 added rollups (rollup_row.py), older chunks have none until they are merged; and rows that hold several
batches (hot.py).
"""

from __future__ import annotations

import sqlalchemy as sa

from ninesight_store.pieces import FLOATS, POINTS

__all__ = [
    "APPLICATION_ID",
    "CHECKSUMS_FROM",
    "FLOATS",
    "FOLDS_FROM",
    "FORMAT_VERSION",
    "INDEX_FROM",
    "INFO_KEYS",
    "POINTS",
    "ROLLUPS_FROM",
    "STARTS_FROM",
    "TABLES",
    "VERSION_TABLE",
    "chunks",
    "exemplars",
    "hot",
    "index_parts",
    "info",
    "layouts",
    "metadata",
    "rollups",
    "series",
]

FORMAT_VERSION = 5
CHECKSUMS_FROM = 2
"""The first format version whose tables have checksums."""
STARTS_FROM = 3
"""The first format version with start timestamps and exemplars."""
INDEX_FROM = 4
"""The first format version with a kept index."""
ROLLUPS_FROM = 5
"""The first format version with rollups."""
FOLDS_FROM = 5
"""The first format version in which a hot row may hold several batches."""
VERSION_TABLE = "store_version"
"""Alembic's record of the step that these tables are at (migrations/)."""
APPLICATION_ID = 0x6E696E65
"""SQLite's application_id of our files: "nine"."""


TABLES = sa.MetaData()
_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

info = sa.Table(
    "store_info",
    TABLES,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

INFO_KEYS = ("format", "series_next", "layout_next", "series_generation", "layout_generation")
"""`*_next`: the next free id (ids are never used twice). `*_generation`: rises when ids were dropped."""

series = sa.Table(
    "store_series",
    TABLES,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("key", sa.LargeBinary(16), nullable=False, unique=True),
    sa.Column("labels", sa.Text, nullable=False),
)

layouts = sa.Table(
    "store_layouts",
    TABLES,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.LargeBinary(16), nullable=False, unique=True),
    sa.Column("ids", sa.LargeBinary, nullable=False),
)

hot = sa.Table(
    "store_hot",
    TABLES,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("hour", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("layout_id", sa.BigInteger, nullable=False),
    sa.Column("start_ms", sa.BigInteger, nullable=False),
    sa.Column("end_ms", sa.BigInteger, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("times", sa.LargeBinary, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("checksum", sa.BigInteger, nullable=True),
    sa.Column("starts", sa.LargeBinary, nullable=True),
    sa.Index("store_hot_by_hour", "hour", "kind", "layout_id", "start_ms", "end_ms", "count"),
    sqlite_autoincrement=True,
)

chunks = sa.Table(
    "store_chunks",
    TABLES,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("level", sa.SmallInteger, nullable=False),
    sa.Column("layout_id", sa.BigInteger, nullable=False),
    sa.Column("start_ms", sa.BigInteger, nullable=False),
    sa.Column("end_ms", sa.BigInteger, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("codec", sa.SmallInteger, nullable=False),
    sa.Column("codec_version", sa.SmallInteger, nullable=False),
    sa.Column("times", sa.LargeBinary, nullable=False),
    sa.Column("ends", sa.LargeBinary, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("checksums", sa.LargeBinary, nullable=True),
    sa.Column("starts", sa.LargeBinary, nullable=True),
    sa.Index("store_chunks_by_end", "end_ms", "start_ms", "layout_id", "kind", "level", "count"),
    sa.Index("store_chunks_by_layout", "layout_id", "end_ms", "start_ms", "kind"),
    sqlite_autoincrement=True,
)

rollups = sa.Table(
    "store_rollups",
    TABLES,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("checksums", sa.LargeBinary, nullable=False),
    sa.Column("head", sa.LargeBinary, nullable=False),
    sa.Column("ends", sa.LargeBinary, nullable=False),
    sa.Column("lost", sa.LargeBinary, nullable=False),
    sa.Column("sums", sa.LargeBinary, nullable=False),
    sa.Column("spread", sa.LargeBinary, nullable=False),
    sa.Index("store_rollups_by_bytes", "bytes"),
)
"""`id` is the chunk's: the row comes and goes with it. `bytes`: those of the blobs, for `stat` to read off the index."""

metadata = sa.Table(
    "store_metadata",
    TABLES,
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("help", sa.Text, nullable=False),
)

exemplars = sa.Table(
    "store_exemplars",
    TABLES,
    sa.Column("series_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.LargeBinary(8), primary_key=True),
    sa.Column("value", sa.LargeBinary(8), nullable=False),
    sa.Column("labels", sa.Text, nullable=False),
    sa.Index("store_exemplars_by_time", "time_ms"),
    sqlite_with_rowid=False,
)
"""`key` is a digest of all the rest: the same exemplar twice is one row, and damage shows."""

index_parts = sa.Table(
    "store_index",
    TABLES,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("checksum", sa.BigInteger, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
"""Part 0 is the head, the others the body; `checksum` is a CRC-32 over a part's number and bytes."""
