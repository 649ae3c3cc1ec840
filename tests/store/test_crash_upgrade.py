"""The upgrade of tables in PostgreSQL is killed at any message, or the server is: all old or all new, nothing lost.

For files `test_crash.py` does the same: odd seeds begin with a file of format 1.

    NINESIGHT_STORE_KILLS=all  kills at every single message of the upgrade from every version
"""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from ninesight_store import LocalStore, verify
from ninesight_store.schema import FORMAT_VERSION, VERSION_TABLE
from ninesight_store.testing import batch_of, bits_of

from .histories import EVER, SETTINGS, History
from .test_crash_postgres import supervised
from .test_migration import differences, migrated

SEED = int(os.environ.get("NINESIGHT_STORE_SEED", "20261125"))
KILLS = os.environ.get("NINESIGHT_STORE_KILLS", "8")
DEADLY = ("kill_before", "kill_after")


def base_of(postgres, version, tmp_path):
    """Make a database with tables of a version and the rows of the file of that version; return its address."""
    url, path = postgres.url(), tmp_path / "old.db"
    packed = Path(__file__).with_name(f"format{version}.db.gz")
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    migrated(url, version)
    source, target = sa.create_engine(f"sqlite:///{path}"), sa.create_engine(url)
    with source.connect() as reader, target.connect() as writer, writer.begin():
        tables = sa.MetaData()
        tables.reflect(writer)
        for table in tables.sorted_tables:
            if table.name == VERSION_TABLE:
                continue
            rows = [dict(row) for row in reader.execute(sa.select(table)).mappings()]
            writer.execute(sa.delete(table))
            if rows:
                writer.execute(sa.insert(table), rows)
        for name in ("store_hot", "store_chunks"):
            after = f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT coalesce(max(id), 0) + 1 FROM {name}))"
            writer.exec_driver_sql(after)
    source.dispose()
    target.dispose()
    return url


def content_of(url, *, read_only):
    with LocalStore(url, SETTINGS, read_only=read_only) as store:
        traces = store.exemplars([[]], -EVER, EVER)
        return bits_of(store.select([], -EVER, EVER)), tuple(store.metadata()), traces


def copy_of(postgres, base):
    return postgres.url(template=sa.make_url(base).database)


def answers(server):
    with contextlib.suppress(psycopg.OperationalError):
        server.connect("postgres").close()
        return True
    return False


def wait_until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)


def points(messages, dice):
    """Give the messages to disturb: all of them, or a fair share of KILLS."""
    if KILLS == "all":
        return [(at, kind) for at in range(1, messages + 1) for kind in DEADLY]
    share = max(1, int(KILLS) // (FORMAT_VERSION - 1))
    return [(dice.randint(1, messages), dice.choice(DEADLY)) for _ in range(share)]


def check(url, version, before):
    """Compare what a kill left with what was there, before and after the store is opened again."""
    with LocalStore(url, SETTINGS, read_only=True) as store:
        found = store.stat().format
    assert found in {version, FORMAT_VERSION}, "wholly old or wholly new"
    assert differences(url)[1] == [str(found)], "Alembic's record agrees"
    assert content_of(url, read_only=True) == before
    assert content_of(url, read_only=False) == before
    assert differences(url) == ([], [str(FORMAT_VERSION)])
    assert verify(url).sound
    with LocalStore(url, SETTINGS) as store:
        store.write(batch_of({"after_the_crash": [(1, 1.0)]}))
    return found


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("version", range(1, FORMAT_VERSION))
def test_a_killed_upgrade_is_whole_or_not_begun(host, postgres, tmp_path, version):
    """Killed before or after any of its messages, an upgrade has happened or not; the next one ends it."""
    base, history = base_of(postgres, version, tmp_path), History(SEED, 1, copies=False)
    before, dice = content_of(base, read_only=True), random.Random(SEED + version)
    assert before[0]["timestamps"], "there is something to lose"
    messages = host.run(copy_of(postgres, base), history, 0, 0)["opened"]
    for at, kind in points(messages, dice):
        url = copy_of(postgres, base)
        answer = host.run(url, history, 0, 0, fault={"step": "open", "kind": kind, "at": at})
        assert answer["signal"] == 9, (at, kind, answer)
        check(url, version, before)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("version", range(1, FORMAT_VERSION))
def test_a_server_killed_in_an_upgrade_comes_back_whole(host, postgres, tmp_path, version):
    """Killed with all its processes, the server keeps the old tables or the new ones; who upgrades tries again."""
    base, history = base_of(postgres, version, tmp_path), History(SEED, 1, copies=False)
    before, dice = content_of(base, read_only=True), random.Random(SEED + 100 + version)
    messages = host.run(copy_of(postgres, base), history, 0, 0)["opened"]
    chosen = points(messages, dice)
    with supervised(postgres):
        for at, kind in chosen if KILLS == "all" else chosen[:1]:
            url = copy_of(postgres, base)
            fault = {"step": "open", "kind": kind, "at": at}
            answer = host.run(url, history, 0, 0, fault=fault, server=postgres.process.pid)
            assert answer["killed"], (at, kind, answer)
            # Killed at the last message, it may not be back yet.
            wait_until(lambda: answers(postgres), what="the server being back")
            assert check(url, version, before) == FORMAT_VERSION, "it was tried until it was done"
