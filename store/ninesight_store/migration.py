"""Bringing older tables up to this version, by Alembic, inside one transaction.

Alembic's own record is `store_version`: the revision is the format's number. Files older than that table have
none; their `format` says where they stand. Killed at any point, a database is wholly old or wholly new.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ninesight_store.schema import FORMAT_VERSION, VERSION_TABLE

__all__ = ["stamp", "upgrade"]

_versions = sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))


def stamp(connection: sa.Connection, version: int) -> None:
    """Record that the tables are those of a version."""
    _versions.create(connection, checkfirst=True)
    connection.execute(sa.delete(_versions))
    connection.execute(sa.insert(_versions).values(version_num=str(version)))


def upgrade(connection: sa.Connection, version: int, target: int = FORMAT_VERSION) -> None:
    """Run the steps from `version` (0: nothing is there) to `target`, in the transaction of `connection`.

    Not to the newest step on the disk: that may be another version's, installed while this process runs.
    """
    # Only a database of an older version pays for the import.
    from alembic import command
    from alembic.config import Config

    if version:
        stamp(connection, version)
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, str(target))
