"""Bringing older tables of alerts up to this version, by Alembic, inside one transaction.

Alembic's own record is `alerts_version`: the revision is the schema's number. Tables older than that record
have none; `alerts_meta` says where they stand. Killed at any point, the tables are wholly old or wholly new.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, delete, insert

from ninesight_alerts.tables import VERSION_TABLE

__all__ = ["stamp", "upgrade"]

_versions = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))


def stamp(connection: Connection, version: int) -> None:
    """Record that the tables are those of a version."""
    _versions.create(connection, checkfirst=True)
    connection.execute(delete(_versions))
    connection.execute(insert(_versions).values(version_num=str(version)))


def upgrade(connection: Connection, version: int, target: str = "head") -> None:
    """Run the steps from `version` (0: nothing is there) to the newest, in the transaction of `connection`."""
    # Only tables of an older version pay for the import.
    from alembic import command
    from alembic.config import Config

    if version:
        stamp(connection, version)
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, target)
