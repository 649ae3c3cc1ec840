"""The shared database: created once, WAL, readable by others."""

import sqlite3

import pytest
from ninesight_alerts import AlertsError, DatabaseAlerts
from ninesight_alerts.database import Database
from sqlalchemy import text


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
    with pytest.raises(AlertsError, match="must be of schema version 1, got 7"):
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
