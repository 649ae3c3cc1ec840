"""What is PostgreSQL's own: several processes, one maintainer, secrets, a server that goes away, copies."""

from __future__ import annotations

import logging
import signal
import threading

import pytest
import sqlalchemy as sa
from ninesight_store import (
    LocalStore,
    Maintenance,
    RetryableError,
    StoreError,
    StoreFormatError,
    StoreSettings,
    backup,
    labels_of,
    verify,
)
from ninesight_store.schema import FORMAT_VERSION, chunks
from ninesight_store.testing import Point, batch_of, samples_of

HOUR_MS = 3_600_000
SETTINGS = StoreSettings(seal_after_ms=0, merge_hours=2)
EVER = (0, 2**50)


def test_processes_that_meet_the_same_new_series_agree(postgres):
    """Stores of their own that write new series at the same moment give each series one id and lose nothing."""
    url = postgres.url()
    LocalStore(url).close()
    ready = threading.Barrier(4)

    def work(number):
        with LocalStore(url) as store:
            ready.wait()
            for tick in range(15):
                pair = {f"shared{tick}": [(number, 1.0)], f"own{number}_{tick}": [(number, 2.0)]}
                store.write(batch_of(pair))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with LocalStore(url) as store:
        got = samples_of(store.select([], *EVER))
        assert len(got) == 15 + 60
        assert all(len(got[labels_of(f"shared{tick}")]) == 4 for tick in range(15))
        with store._database.reading() as connection:
            query = "SELECT count(*), count(DISTINCT labels) FROM store_series"
            assert tuple(connection.exec_driver_sql(query).one()) == (75, 75)


def test_stores_that_create_the_tables_at_once_agree(postgres):
    """Opening an empty database from several processes at the same moment makes one store."""
    url = postgres.url()
    ready, errors = threading.Barrier(4), []

    def work():
        ready.wait()
        try:
            LocalStore(url).close()
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_read_is_one_snapshot(postgres):
    """What is committed while a read transaction runs is not in it."""
    url = postgres.url()
    with LocalStore(url) as store, LocalStore(url, read_only=True) as reader:
        store.write(batch_of({"m": [(0, 1.0)]}))
        with reader._database.reading() as connection:
            count = sa.select(sa.func.count()).select_from(sa.table("store_hot"))
            assert connection.execute(count).scalar() == 1
            store.write(batch_of({"m": [(1, 1.0)]}))
            assert connection.execute(count).scalar() == 1
        assert len(reader.select([], *EVER).values) == 2


def test_maintenance_elects_one_worker(postgres):
    """While one process is at work another does nothing, and takes over when it is gone."""
    url = postgres.url()
    settings = StoreSettings(seal_after_ms=0)
    with LocalStore(url, settings) as busy, LocalStore(url, settings, now_ms=lambda: 9 * HOUR_MS) as store:
        store.write(batch_of({"m": [(0, 1.0)]}))
        maintenance = Maintenance(store)
        with busy.maintaining() as elected:
            assert elected
            maintenance.turn()
            assert maintenance.stat().sealed_samples == 0
        maintenance.turn()
        assert maintenance.stat().sealed_samples == 1
        assert maintenance.stat().errors == 0


def test_a_writer_that_waits_too_long_may_try_again(postgres):
    """The write lock of another process is waited for as long as busy_timeout says."""
    url = postgres.url()
    with LocalStore(url) as other, LocalStore(url, StoreSettings(busy_timeout_ms=50)) as store:
        with other._database.writing(), pytest.raises(RetryableError, match="lock timeout"):
            store.write(batch_of({"m": [(0, 1.0)]}))
        store.write(batch_of({"m": [(0, 1.0)]}))
        assert len(other.select([], *EVER).values) == 1


def test_a_server_that_goes_away_is_retryable_and_comes_back(postgres):
    """Reads and writes fail as RetryableError while the server is down, and go on by themselves afterwards."""
    url = postgres.url()
    with LocalStore(url) as store:
        store.write(batch_of({"m": [(0, 1.0)]}))
        postgres.stop(signal.SIGQUIT)  # As if it were killed: no clean shutdown.
        try:
            for call in (lambda: store.write(batch_of({"m": [(1, 1.0)]})), lambda: store.select([], *EVER)):
                with pytest.raises(RetryableError, match="try again") as caught:
                    call()
                assert postgres.password not in str(caught.value)
        finally:
            postgres.start()
        store.write(batch_of({"m": [(2, 1.0)]}))
        assert samples_of(store.select([], *EVER)) == {labels_of("m"): [(0, 1.0), (2, 1.0)]}


def everything_said(error):
    """The words of an error and of all that caused it."""
    words = []
    while error is not None:
        words.append(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    return "\n".join(words)


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("127.0.0.1:", "127.0.0.1:1"),
        lambda url: url.replace("127.0.0.1:", "127.0.0.1:port"),
        lambda url: url.replace("keeper:", "nobody:"),
        lambda url: url.rpartition("/")[0] + "/absent",
        lambda url: url + "?password=s3cret-Pa55/word&nonsense=1",
        lambda url: url.replace("postgresql+psycopg", "mysql"),
        lambda url: url.replace("postgresql+psycopg", "no such"),
    ],
    ids=["port", "words for a port", "user", "database", "option", "kind", "scheme"],
)
def test_a_password_is_never_shown(postgres, change, caplog):
    """Whatever is wrong with the address, neither error, cause nor log repeats the password."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreError) as caught:
        LocalStore(change(postgres.url()))
    said = everything_said(caught.value) + caplog.text
    assert "s3cret" not in said


def test_opened_read_only_nothing_is_created(postgres):
    """An empty database stays empty, and the error says what to do."""
    url = postgres.url()
    with pytest.raises(StoreFormatError, match="open it for writing first"):
        LocalStore(url, read_only=True)
    LocalStore(url).close()
    with LocalStore(url, read_only=True) as store, pytest.raises(StoreError, match="read-only"):
        store.write(batch_of({"m": [(0, 1.0)]}))


def test_damage_is_found_and_read_around(postgres):
    """A flipped bit in a chunk costs one series there too, and verify names it."""
    url = postgres.url()
    with LocalStore(url, SETTINGS) as store:
        times = range(0, HOUR_MS, 60_000)
        store.write(batch_of({name: [(time, float(time)) for time in times] for name in "abc"}))
        store.write(batch_of({"h": [(time, Point(1, 1.0)) for time in times]}))
        store.seal(HOUR_MS)
        assert verify(url).sound
        with store._database.writing() as connection:
            query = sa.select(chunks.c.data).where(chunks.c.kind == 0)
            data = bytearray(connection.execute(query).scalar())
            data[3] ^= 1
            change = sa.update(chunks).where(chunks.c.kind == 0).values(data=bytes(data))
            connection.execute(change)
    with LocalStore(url, SETTINGS) as store:
        got = store.select([], *EVER)
        assert got.labels == (labels_of("b"), labels_of("c"), labels_of("h"))
        assert len(got.histograms) == 60
    report = verify(url)
    assert [one.series for one in report.damage] == [(labels_of("a"),)]


def test_a_copy_is_the_servers_business(postgres, tmp_path):
    """Backup says which tool does it."""
    url = postgres.url()
    LocalStore(url).close()
    with pytest.raises(StoreError, match="pg_dump"):
        backup(url, tmp_path / "copy.db")


def test_a_dump_restores_to_the_same_store(postgres, tmp_path):
    """pg_dump and pg_restore, as backup's message says, give the same samples."""
    import subprocess

    source, target = postgres.url(), postgres.url()
    with LocalStore(source, SETTINGS) as store:
        store.write(batch_of({"m": [(time, 1.0) for time in range(0, 3 * HOUR_MS, 60_000)]}))
        store.seal(2 * HOUR_MS)
        before = samples_of(store.select([], *EVER))
    plain = [url.replace("+psycopg", "") for url in (source, target)]
    dump = [postgres.binaries / "pg_dump", "--format=custom", f"--file={tmp_path}/dump", plain[0]]
    restore = [postgres.binaries / "pg_restore", f"--dbname={plain[1]}", "--no-owner", f"{tmp_path}/dump"]
    for command in (dump, restore):
        subprocess.run(command, check=True, capture_output=True)
    assert verify(target).sound
    with LocalStore(target, SETTINGS) as store:
        assert samples_of(store.select([], *EVER)) == before
        store.write(batch_of({"n": [(0, 1.0)]}))
        assert len(store.select([], *EVER).labels) == 2


def test_stat_knows_size_and_version(postgres):
    """What the tables take on the server is told."""
    with LocalStore(postgres.url()) as store:
        store.write(batch_of({"m": [(0, 1.0)]}))
        stat = store.stat()
        assert stat.size_bytes > 8192
        assert stat.format == FORMAT_VERSION


def test_a_server_without_fsync_is_named(postgres, caplog):
    """A server that may lose commits in a power cut is told about in the log (as these tests' own does)."""
    LocalStore(postgres.url()).close()
    assert "runs with fsync off" in caplog.text
