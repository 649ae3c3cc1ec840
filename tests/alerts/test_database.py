"""The shared database: created once, WAL, readable by others."""

import sqlite3
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from ninesight_alerts import AlertsError, DatabaseAlerts
from ninesight_alerts.database import Database
from ninesight_alerts.migration import upgrade
from ninesight_alerts.tables import SCHEMA_VERSION, VERSION_TABLE, metadata
from sqlalchemy import create_engine, text


def test_sqlite_is_durable_and_readable_beside_a_writer(tmp_path):
    """WAL, synchronous=FULL, a busy timeout."""
    database = Database(f"sqlite:///{tmp_path}/deep/er/a.db")
    database.create()
    with database.read() as connection:
        found = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30_000}
    database.close()


def test_creating_twice_is_harmless_and_another_version_is_refused(tmp_path):
    """The error says both versions."""
    url = f"sqlite:///{tmp_path}/a.db"
    for _ in range(2):
        database = Database(url)
        database.create()
        database.close()
    with sqlite3.connect(tmp_path / "a.db") as raw:
        raw.execute("UPDATE alerts_meta SET value = '7'")
    raw.close()
    database = Database(url)
    with pytest.raises(AlertsError, match="must be of schema version 1 or older, got 7"):
        database.create()
    database.close()


def test_memory_is_refused():
    """A crash would lose everything."""
    with pytest.raises(AlertsError, match="a database on disk"):
        Database("sqlite://").create()


def test_a_reader_of_nothing_sees_nothing_and_creates_nothing(tmp_path):
    """An absent file and a file without our tables read as empty."""
    reader = DatabaseAlerts(f"sqlite:///{tmp_path}/a.db")
    assert (reader.active(), reader.history(), reader.deliveries(), reader.rules()) == ([], [], [], [])
    assert list(tmp_path.iterdir()) == []
    with sqlite3.connect(tmp_path / "a.db") as raw:
        raw.execute("CREATE TABLE other (x)")
    raw.close()
    assert reader.active() == []
    reader.close()


def test_a_reader_cannot_write(tmp_path):
    """Read only means that SQLite itself refuses."""
    url = f"sqlite:///{tmp_path}/a.db"
    writer = Database(url)
    writer.create()
    reader = Database(url, read_only=True)
    with pytest.raises(Exception, match="readonly"), reader.write() as connection:
        connection.execute(text("DELETE FROM alerts_meta"))
    reader.close()
    writer.close()


@pytest.mark.parametrize("by_steps", [True, False])
def test_the_steps_lead_to_the_tables(url, by_steps):
    """Made step by step or at once, the tables are those of tables.py, and Alembic knows where they stand."""
    database = Database(url)
    if by_steps:
        with database.write() as connection:
            upgrade(connection, 0)
    database.create()
    database.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        options = {
            "version_table": VERSION_TABLE,
            "include_object": lambda _object, name, kind, *_: kind != "table" or name.startswith("alerts_"),
        }
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        versions = connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")).all()
    engine.dispose()
    assert (found, versions) == ([], [str(SCHEMA_VERSION)])


def test_tables_without_a_record_of_versions_are_taken_as_they_are(url):
    """What was made before Alembic came stays, rows and all."""
    database = Database(url)
    with database.write() as connection:
        metadata.create_all(connection)
        connection.execute(text("INSERT INTO alerts_meta VALUES ('schema_version', '1')"))
        connection.execute(
            text("INSERT INTO alerts_told (receiver, group_labels, first_ms, firing) VALUES ('a', '', 0, '')")
        )
    database.create()
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM alerts_told")) == 1
    database.close()


def test_processes_that_start_at_once_make_the_tables_once(url):
    """Nobody fails, and the version is recorded once."""
    ready, errors = threading.Barrier(3), []

    def work():
        database = Database(url)
        ready.wait()
        try:
            database.create()
        except Exception as error:
            errors.append(error)
        database.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_another_kind_of_database_is_refused_without_its_password():
    """The error names what is supported."""
    with pytest.raises(AlertsError, match="SQLite or PostgreSQL") as caught:
        Database("mssql+pyodbc://me:s3cret@host/x")
    assert "s3cret" not in str(caught.value)
