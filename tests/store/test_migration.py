"""Schema migrations: every older version becomes this one, wholly or not at all, on both databases."""

from __future__ import annotations

import gzip
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from ninesight_store import LocalStore, StoreError, StoreFormatError, StoreSettings
from ninesight_store.address import url_of
from ninesight_store.backend import backend_for
from ninesight_store.migration import upgrade
from ninesight_store.schema import FORMAT_VERSION, TABLES, VERSION_TABLE
from ninesight_store.testing import batch_of, bits_of

EVER = (0, 2**50)


def unpacked(tmp_path, name):
    path = tmp_path / f"{name}.db"
    path.write_bytes(gzip.decompress((Path(__file__).parent / f"{name}.db.gz").read_bytes()))
    return path


def differences(url):
    """What the database has other than the tables in schema.py."""
    engine = sa.create_engine(url)
    with engine.connect() as connection, connection.begin():
        options = {
            "version_table": VERSION_TABLE,
            "include_object": lambda _object, name, kind, _reflected, _other: (
                kind != "table" or not name.startswith("sqlite_")
            ),
        }
        found = compare_metadata(MigrationContext.configure(connection, opts=options), TABLES)
        revision = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalars().all()
    engine.dispose()
    return found, revision


def migrated(url, target=FORMAT_VERSION):
    """Make the tables by the steps alone, from nothing."""
    backend = backend_for(url_of(url), StoreSettings(), read_only=False)
    with backend.writer().connect() as connection, connection.begin():
        upgrade(connection, 0, target)
    backend.close()


def test_the_steps_lead_to_the_tables(url):
    """Made step by step or at once, the tables are the same, and Alembic knows where they stand."""
    migrated(url)
    assert differences(url) == ([], [str(FORMAT_VERSION)])
    with LocalStore(url) as store:
        store.write(batch_of({"m": [(0, 1.0)]}))
        assert store.stat().format == FORMAT_VERSION


def test_new_tables_are_those_of_the_last_step(url):
    """A fresh store carries the newest revision and nothing that schema.py does not name."""
    LocalStore(url).close()
    assert differences(url) == ([], [str(FORMAT_VERSION)])


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION))
def test_every_older_version_is_upgraded_on_opening(url, version):
    """Tables of an older version take samples once they were opened for writing."""
    migrated(url, version)
    with LocalStore(url, read_only=True) as store:
        assert store.select([], *EVER).labels == ()
        assert store.stat().format == version
    with LocalStore(url) as store:
        store.write(batch_of({"m": [(0, 1.0)]}))
        assert store.stat().format == FORMAT_VERSION
    assert differences(url)[1] == [str(FORMAT_VERSION)]


@pytest.mark.parametrize("name", ["format1", "format2", "format3", "format4"])
def test_files_without_a_record_of_versions_are_upgraded(tmp_path, name):
    """What was written before Alembic came is brought up, reads the same, and two openers do it once."""
    path = unpacked(tmp_path, name)
    with LocalStore(path, read_only=True) as store:
        before = bits_of(store.select([], *EVER))
    ready, found = threading.Barrier(2), []

    def work():
        ready.wait()
        with LocalStore(path) as store:
            found.append(bits_of(store.select([], *EVER)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [before, before]
    assert differences(f"sqlite:///{path}") == ([], [str(FORMAT_VERSION)])


def test_an_upgrade_that_fails_leaves_the_old_version(tmp_path):
    """When a later step cannot run, the earlier ones are undone too, and the file reads as before."""
    path = unpacked(tmp_path, "format1")
    with LocalStore(path, read_only=True) as store:
        before = bits_of(store.select([], *EVER))
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE store_exemplars (x)")
    raw.close()
    with pytest.raises(StoreError, match="store_exemplars"):
        LocalStore(path)
    with sqlite3.connect(path) as raw:
        columns = {row[1] for row in raw.execute("PRAGMA table_info(store_hot)")}
        assert "checksum" not in columns
        assert raw.execute("SELECT value FROM store_info WHERE key = 'format'").fetchone() == (1,)
        raw.execute("DROP TABLE store_exemplars")
    raw.close()
    with LocalStore(path) as store:
        assert bits_of(store.select([], *EVER)) == before


def test_a_process_that_is_older_than_the_tables_stops(url):
    """A store that another process upgraded beyond this version refuses to go on, and says what to do."""
    with LocalStore(url) as store:
        store.write(batch_of({"m": [(0, 1.0)]}))
        with store._database.writing() as connection:
            connection.execute(sa.text("UPDATE store_info SET value = 99 WHERE key = 'format'"))
        for call in (lambda: store.write(batch_of({"m": [(1, 1.0)]})), lambda: store.select([], *EVER)):
            with pytest.raises(StoreFormatError, match="upgraded to format 99"):
                call()
