"""Retention, maintenance, sizes, metadata, group commit: what happens to a store over its life."""

from __future__ import annotations

import sqlite3
import threading
import time

import numpy as np
import pytest
import sqlalchemy as sa
from ninesight_store import (
    Batch,
    LocalStore,
    Maintenance,
    MergeReport,
    Metadata,
    RetryableError,
    SeriesTable,
    StoreConfig,
    StoreSettings,
    labels_of,
    verify,
)
from ninesight_store.schema import hot
from ninesight_store.testing import Point, batch_of, samples_of
from pydantic import ValidationError
from sqlalchemy import event

HOUR_MS = 3_600_000
SETTINGS = StoreSettings(seal_after_ms=0, retention_ms=10 * HOUR_MS)


def filled(store, hours, name="m"):
    for hour in hours:
        store.write(
            batch_of({name: [(hour * HOUR_MS + second * 60_000, float(second)) for second in range(60)]})
        )


def wait_until(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def test_retention_drops_what_is_old_hot_and_sealed(url):
    """Samples past retention go, with the series that have nothing left; all others stay, and ids are not reused."""
    with LocalStore(url, SETTINGS) as store:
        filled(store, range(4), "old")
        filled(store, range(8, 12))
        store.seal(10 * HOUR_MS)
        report = store.retain(20 * HOUR_MS)
        assert (report.chunks, report.samples, report.series) == (6, 360, 1)
        assert store.series([], 0, 2**50) == (labels_of("m"),)
        assert list(samples_of(store.select([], 0, 2**50))) == [labels_of("m")]
        filled(store, [19], "old")
        got = samples_of(store.select([], 0, 2**50))
        assert {labels: len(pairs) for labels, pairs in got.items()} == {
            labels_of("m"): 120,
            labels_of("old"): 60,
        }


def test_a_writer_with_remembered_ids_survives_the_drop_of_its_series(url):
    """A table whose series were dropped, even by another process, gets new ids with its next batch."""
    early = batch_of({"m": [(0, 1.0)]})
    with LocalStore(url, SETTINGS) as store, LocalStore(url, SETTINGS) as other:
        store.write(early)
        assert other.retain(100 * HOUR_MS).series == 1
        store.write(early)
        assert samples_of(other.select([], 0, 1)) == {labels_of("m"): [(0, 1.0)]}


def test_two_stores_on_one_file_both_write(url):
    """Series and layouts found by one writer are known to the other; no id is given twice."""
    with LocalStore(url, SETTINGS) as one, LocalStore(url, SETTINGS) as two:
        for tick in range(10):
            one.write(batch_of({f"a{tick}": [(tick, 1.0)], "both": [(tick, 1.0)]}))
            two.write(batch_of({f"b{tick}": [(tick, 2.0)], "both": [(tick + 100, 2.0)]}))
        assert len(one.select([], 0, 1000).labels) == 21
        assert len(samples_of(two.select([], 0, 1000))[labels_of("both")]) == 20


def test_merging_joins_chunks_and_late_samples(url):
    """A closed block becomes one chunk a series; late samples join it, and nothing changes to a reader."""
    with LocalStore(url, SETTINGS) as store:
        filled(store, range(6))
        store.seal(6 * HOUR_MS)
        before = samples_of(store.select([], 0, 2**50))
        assert store.stat().chunks == 6
        assert (store.merge(6 * HOUR_MS).chunks_before, store.stat().chunks) == (6, 1)
        assert samples_of(store.select([], 0, 2**50)) == before
        store.write(batch_of({"m": [(30_000, 7.0), (60_000, 8.0)]}))
        store.seal(6 * HOUR_MS)
        store.merge(6 * HOUR_MS)
        assert store.stat().chunks == 1
        after = dict(samples_of(store.select([], 0, 2**50))[labels_of("m")])
        assert after == dict(before[labels_of("m")]) | {30_000: 7.0, 60_000: 8.0}
        assert store.merge(6 * HOUR_MS).chunks_before == 0


def test_stat_tells_what_is_there(url):
    """Hot and sealed samples, points, ages and bytes add up to what was written."""
    with LocalStore(url, SETTINGS) as store:
        filled(store, range(2))
        store.write(batch_of({"h": [(HOUR_MS, Point(1, 1.0, {1: 1}))]}))
        store.seal(HOUR_MS)
        stat = store.stat()
        assert (stat.series, stat.hot_rows, stat.hot_samples, stat.hot_points) == (2, 2, 60, 1)
        assert (stat.chunks, stat.sealed_samples, stat.sealed_points) == (1, 60, 0)
        assert (stat.oldest_ms, stat.newest_ms) == (0, HOUR_MS + 59 * 60_000)
        assert (stat.sealed_bytes, stat.sealed_points_bytes) == (None, None), (
            "that takes a look at every chunk"
        )
        payload = store.stat(payload=True)
        assert 0 < payload.sealed_bytes < 60 * 16
        assert payload.sealed_points_bytes == 0
        assert stat.size_bytes >= 4096
        assert (stat.counters["samples_written"], stat.counters["rows_sealed"]) == (121, 1)


def test_maintenance_seals_merges_and_drops_by_itself(url):
    """The thread works by the store's clock, counts errors, goes on after them, and ends when asked."""
    clock = [0]
    settings = StoreSettings(
        seal_after_ms=0, retention_ms=10 * HOUR_MS, maintenance_interval_ms=10, busy_timeout_ms=20
    )
    with LocalStore(url, settings, now_ms=lambda: clock[0]) as store:
        filled(store, range(6))
        maintenance = Maintenance(store)
        maintenance.start()
        maintenance.start()
        wait_until(lambda: maintenance.stat().turns > 0)
        clock[0] = 6 * HOUR_MS
        wait_until(lambda: store.stat().chunks == 1)
        clock[0] = 30 * HOUR_MS
        wait_until(lambda: store.stat().series == 0)
        maintenance.stop()
        maintenance.stop()
        assert maintenance.stat().sealed_samples == 360
        assert maintenance.stat().retired_samples == 360
        assert maintenance.stat().errors == 0
    assert not [thread for thread in threading.enumerate() if "maintenance" in thread.name]


def test_maintenance_counts_errors_and_tries_again(url):
    """A store that raises does not end the thread; the next turn does the work."""

    class Failing(LocalStore):
        failures = 2

        def seal(self, now_ms=None):
            if self.failures:
                self.failures -= 1
                raise RetryableError("the disk is full")
            return super().seal(now_ms)

    with Failing(url, SETTINGS, now_ms=lambda: 2 * HOUR_MS) as store:
        filled(store, [0])
        maintenance = Maintenance(store)
        for _ in range(4):
            maintenance.turn()
        stat = maintenance.stat()
        assert (stat.turns, stat.errors, stat.sealed_samples) == (4, 2, 60)
        assert "disk is full" in stat.last_error


WRITERS = 16


def start_writers(store, count=WRITERS):
    threads = [
        threading.Thread(target=store.write, args=(batch_of({f"m{number}": [(number, 1.0)]}),))
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads


def test_batches_that_wait_for_a_commit_share_the_next_one(tmp_path):
    """While the database is held by another writer batches queue up; then one commit takes them all."""
    path = tmp_path / "store.db"
    with LocalStore(path, StoreSettings(busy_timeout_ms=30_000)) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        threads = start_writers(store)
        wait_until(lambda: store._writer._commits.waiting == WRITERS - 1)
        other.execute("ROLLBACK")
        other.close()
        for thread in threads:
            thread.join()
        assert len(store.select([], 0, 100).values) == WRITERS
        counters = store.stat().counters
        assert (counters["batches_written"], counters["commits"]) == (WRITERS, 2)


def test_small_batches_wait_for_company_where_there_was_some(tmp_path):
    """A lone writer never waits; after a commit that several shared the next batch waits until enough are there."""
    path = tmp_path / "store.db"
    settings = StoreSettings(group_commit_ms_max=5000)
    with LocalStore(path, settings) as store:
        for tick in range(5):
            store.write(batch_of({"lone": [(tick, 1.0)]}))
        assert store.stat().counters["commits"] == 5
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        first = start_writers(store)[:WRITERS]
        wait_until(lambda: store._writer._commits.waiting == WRITERS - 1)
        other.execute("ROLLBACK")
        other.close()
        for thread in first:
            thread.join()
        assert store.stat().counters["commits"] == 7
        # As many as shared the last commit: one more would wait for company that never comes.
        for thread in start_writers(store, WRITERS - 1):
            thread.join()
        # As many as came together before are waited for: fifteen, or all.
        assert store.stat().counters["commits"] <= 9
        assert len(store.select([], 0, 100).values) == WRITERS + 5


def test_a_failed_commit_fails_all_its_batches_and_none_is_kept(tmp_path):
    """Each writer of the shared commit gets the RetryableError; sent again, each batch is kept."""
    path = tmp_path / "store.db"
    settings = StoreSettings(group_commit_ms_max=30_000, group_commit_batches_max=WRITERS, busy_timeout_ms=50)
    with LocalStore(path, settings) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        errors = []

        def write(number):
            try:
                store.write(batch_of({f"m{number}": [(number, 1.0)]}))
            except RetryableError as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        other.execute("ROLLBACK")
        other.close()
        assert len(errors) == WRITERS
        assert store.select([], 0, 100).labels == ()
        for thread in start_writers(store):
            thread.join()
        assert len(store.select([], 0, 100).values) == WRITERS


def test_the_newest_metadata_wins_over_a_restart(url):
    """Metadata is kept in the file."""
    for text in ("old", "new"):
        with LocalStore(url) as store:
            store.write(batch_of({}, [Metadata("m", "gauge", "seconds", text)]))
    with LocalStore(url) as store:
        assert list(store.metadata()) == [Metadata("m", "gauge", "seconds", "new")]


def test_stat_reads_indexes_alone(tmp_path):
    """What a status page asks for costs the same however many bytes the chunks hold: no table is read for it."""
    with LocalStore(tmp_path / "store.db", SETTINGS) as store:
        filled(store, range(2))
        asked = []
        event.listen(
            store._database.backend.reader(), "before_cursor_execute", lambda *seen: asked.append(seen[2])
        )
        store.stat()
        with store._database.reading() as connection:
            plans = {
                row[3]
                for text in asked
                if text.startswith("SELECT") and "GROUP BY" in text
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")
                if row[3].startswith("SCAN")
            }
    assert {plan.split()[1] for plan in plans} == {"store_hot", "store_chunks"}
    assert all("COVERING INDEX" in plan for plan in plans), plans


def test_of_two_writers_the_last_metadata_wins(url):
    """Two stores on one place that say different things of a metric in turn: each time the newest is there."""
    about = {text: batch_of({}, [Metadata("m", "gauge", "", text), Metadata("n", "gauge")]) for text in "ab"}
    with LocalStore(url) as one, LocalStore(url) as other:
        for store, text in [
            (one, "a"),
            (other, "b"),
            (one, "a"),
            (one, "a"),
            (other, "a"),
            (one, "b"),
            (other, "a"),
        ]:
            store.write(about[text])
            assert [entry.help for entry in store.metadata()] == [text, ""]


def test_metadata_that_is_repeated_is_written_once(url):
    """Writers that agree leave the table alone, however often they say it."""
    about = batch_of({}, [Metadata(f"m{row}", "gauge", "", "same") for row in range(1200)])
    with LocalStore(url) as one, LocalStore(url) as other:

        def changes():
            with one._database.reading() as connection:
                return one._catalog.refresh(connection).info.metadata_changes

        for store in (one, other, one, other):
            store.write(about)
        assert changes() == 1
        one.write(batch_of({}, [Metadata("m7", "gauge", "", "first"), Metadata("m7", "gauge", "", "last")]))
        assert changes() == 2
        assert len(list(other.metadata())) == 1200
        assert {entry.help for entry in other.metadata()} == {"same", "last"}


def test_metadata_of_a_commit_that_failed_is_written_again(url):
    """What a transaction that was rolled back would have kept is not taken for kept."""
    about = batch_of({}, [Metadata("m", "gauge", "", "help")])
    with LocalStore(url) as store:
        store.write(about)

        def broken(*_arguments):
            raise RetryableError("broken on the way")

        changed = batch_of({"m": [(0, 1.0)]}, [Metadata("m", "gauge", "", "changed")])
        flush, store._writer._registry.flush = store._writer._registry.flush, broken
        with pytest.raises(RetryableError, match="broken on the way"):
            store.write(changed)
        store._writer._registry.flush = flush
        store.write(changed)
        assert [entry.help for entry in store.metadata()] == ["changed"]


def test_a_batch_across_hours_is_cut_and_comes_back_whole(url):
    """A backfill of ten days in one batch seals hour by hour."""
    times = np.arange(0, 240 * HOUR_MS, HOUR_MS // 4)
    with LocalStore(url, SETTINGS) as store:
        store.write(batch_of({"m": [(int(t), float(t)) for t in times[::-1]]}))
        assert store.stat().hot_rows == 240
        store.seal(100 * HOUR_MS)
        columns = store.select([], 0, 2**50)
        assert columns.timestamps.tolist() == times.tolist()
        assert columns.values.tolist() == times.astype(float).tolist()


def test_config_becomes_settings():
    """A person writes durations and MiB; code gets milliseconds and bytes."""
    settings = StoreConfig(retention="1d12h", seal_after="90s", size_max_mb=2).settings()
    assert (settings.retention_ms, settings.seal_after_ms) == (36 * HOUR_MS, 90_000)
    assert settings.size_bytes_max == 2 * 2**20
    assert StoreConfig().settings() == StoreSettings(late_ms_max=15 * 24 * HOUR_MS)
    assert StoreConfig(late_max="1h").settings().late_ms_max == HOUR_MS
    assert StoreConfig(late_max="9d", retention="1d").settings().late_ms_max == 24 * HOUR_MS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"retention": "5m"}, "retention must be at least 1h, got 5m; raise store.retention"),
        ({"retention": "soon"}, "a duration must be numbers with ms, s, m, h, d or w"),
        ({"merge_hours": 5}, "merge_hours must divide 24"),
        ({"maintenance_interval": "1ms"}, "maintenance_interval must be at least 1s"),
        ({"retentoin": "15d"}, "Extra inputs are not permitted"),
    ],
)
def test_a_bad_config_says_what_must_hold(given, words):
    """Every refusal carries the rule and the value."""
    with pytest.raises(ValidationError) as caught:
        StoreConfig(**given)
    assert words in str(caught.value)


def test_a_reader_older_than_a_drop_of_layouts_still_finds_its_rows(url):
    """Sealing drops layouts; a transaction that began before it knows those its rows refer to."""
    with LocalStore(url, SETTINGS) as store:
        store.write(batch_of({f"m{i}": [(i, float(i))] for i in range(5)}))
        store.write(batch_of({f"m{i}": [(i + 10, float(i))] for i in range(3)}))
        with store._database.reading() as connection:
            before = connection.execute(sa.select(hot.c.layout_id)).scalars().all()
            store.seal(HOUR_MS)
            assert len(store.select([], 0, 100).values) == 8
            known = store._catalog.refresh(connection)
            assert set(before) <= set(known.layouts.numbers())
        with store._database.reading() as connection:
            assert not set(before) & set(store._catalog.refresh(connection).layouts.numbers())


def test_chunks_that_have_nothing_to_join_stay_as_they_are(tmp_path):
    """Merging does not rewrite what short-lived series left; late samples of theirs join it all the same."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        for hour in range(6):
            filled(store, [hour], f"job{hour}")
        store.write(batch_of({"long": [(hour * HOUR_MS + 30_000, 1.0) for hour in (1, 4)]}))
        store.seal(6 * HOUR_MS)
        before = samples_of(store.select([], 0, 2**50))
        report = store.merge(6 * HOUR_MS)
        assert (report.chunks_before, report.chunks_after, store.stat().chunks) == (2, 1, 7)
        assert store.merge(6 * HOUR_MS) == MergeReport()
        assert samples_of(store.select([], 0, 2**50)) == before
        store.write(batch_of({"job3": [(3 * HOUR_MS + 1, 7.0)]}))
        store.seal(6 * HOUR_MS)
        assert store.merge(6 * HOUR_MS).chunks_before == 2
        assert store.stat().chunks == 7
        after = samples_of(store.select([], 0, 2**50))
        assert after[labels_of("job3")] == sorted([*before[labels_of("job3")], (3 * HOUR_MS + 1, 7.0)])
    assert verify(path).sound


def test_a_log_that_grew_beside_a_long_reader_is_cut_back(tmp_path):
    """While one snapshot is held the write-ahead log grows; afterwards its room on the disk is given back."""
    path = tmp_path / "store.db"
    table = SeriesTable(tuple(labels_of("m", {"i": str(row)}) for row in range(50_000)))
    rows, values = np.arange(len(table), dtype=np.int32), np.random.default_rng(1).random(len(table))
    with LocalStore(path) as store:

        def write(times):
            for tick in times:
                store.write(Batch(table, rows, np.full(len(rows), tick, np.int64), values))

        write(range(1))
        log = path.with_name("store.db-wal")
        with store._database.reading() as connection:
            connection.execute(sa.select(hot.c.id)).all()
            write(range(1, 110))
            grown = log.stat().st_size
        write(range(110, 160))
        assert grown > 40 * 2**20
        assert log.stat().st_size <= 32 * 2**20
