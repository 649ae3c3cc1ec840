"""Bad batches, foreign files, full and locked databases: refused by name, counted, and nothing kept."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from ninesight_store import (
    Batch,
    LocalStore,
    Metadata,
    PermanentError,
    RetryableError,
    SeriesTable,
    StoreError,
    StoreFormatError,
    StoreSettings,
    labels_of,
)
from ninesight_store.testing import Point, batch_of

GOOD = batch_of({"m": [(1, 1.0), (2, 2.0)], "h": [(1, Point(3, 1.0, {1: 1, 2: 2}))]})
POINTS = GOOD.histograms
ZEROS = np.zeros(1, np.int64)


def table(*labels):
    return Batch(SeriesTable(labels), np.zeros(1, np.int32), ZEROS, np.zeros(1))


BAD = {
    "one length": replace(GOOD, values=np.zeros(3)),
    "numpy array of integers": replace(GOOD, timestamps=np.zeros(2)),
    "within 0..1": replace(GOOD, series_index=np.array([0, 2], np.int32)),
    "are they in nanoseconds": replace(GOOD, timestamps=np.array([1, 1_700_000_000_000_000_000])),
    "sorted by name": table((("b", "1"), ("a", "1"))),
    "without repeats": table((("a", "1"), ("a", "2"))),
    "must not be empty": table((("a", ""),)),
    "non-empty tuple": table(()),
    "pair of strings": table((("a", 1),)),
    "valid Unicode": table((("a", "\ud800"),)),
    "at most 65536 characters": table((("a", "x" * 70_000),)),
    "schema must be": replace(GOOD, histograms=replace(POINTS, schema=np.array([9], np.int32))),
    "ResetHint": replace(GOOD, histograms=replace(POINTS, hint=np.array([4], np.int32))),
    "ascend within each point": replace(
        GOOD, histograms=replace(POINTS, positive_index=np.array([2, 2], np.int32))
    ),
    "ascending offsets from 0": replace(GOOD, histograms=replace(POINTS, positive_offsets=np.array([1, 2]))),
    "must end at the length": replace(GOOD, histograms=replace(POINTS, positive_count=np.zeros(3))),
    "metric name": replace(GOOD, metadata=(Metadata("", "gauge"),)),
}


@pytest.mark.parametrize("words", sorted(BAD))
def test_a_bad_batch_is_refused_with_the_rule_it_breaks(tmp_path, words):
    """The error says what must hold; the refusal is counted; the store goes on."""
    with LocalStore(tmp_path / "store.db") as store:
        with pytest.raises(PermanentError) as caught:
            store.write(BAD[words])
        assert words in str(caught.value)
        assert store.select([], -(2**60), 2**60).labels == ()
        store.write(GOOD)
        assert store.stat().counters["batches_refused"] == 1
        assert store.stat().counters["samples_written"] == 3


def test_refused_samples_are_counted(tmp_path):
    """`refused` is the size of the batch, and the store adds it up."""
    with LocalStore(tmp_path / "store.db") as store:
        with pytest.raises(PermanentError) as caught:
            store.write(BAD["within 0..1"])
        assert caught.value.refused == 3
        assert store.stat().counters["samples_refused"] == 3


def test_a_file_that_is_no_database_is_a_format_error(tmp_path):
    """The message names the file."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be read as one " * 100)
    with pytest.raises(StoreFormatError, match=r"notes\.txt"):
        LocalStore(path)
    assert path.read_text().startswith("not a database")


def test_a_database_of_another_program_is_a_format_error(tmp_path):
    """A foreign application_id is respected and the file left as it was."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA application_id=77")
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(StoreFormatError, match="another program"):
        LocalStore(path)


def test_a_newer_format_is_a_format_error(tmp_path):
    """A file of a later version says so, and asks for an upgrade."""
    path = tmp_path / "store.db"
    LocalStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE store_info SET value = 99 WHERE key = 'format'")
    database.close()
    with pytest.raises(StoreFormatError, match=r"format 99.*upgrade"):
        LocalStore(path)


@pytest.mark.parametrize("url", ["not an address", "mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_an_address_that_names_no_file_is_a_format_error(url):
    """The message says what an address must look like."""
    with pytest.raises(StoreFormatError, match=r"store\.url"):
        LocalStore(url)


def test_a_damaged_file_never_gives_wrong_values(tmp_path):
    """With its pages overwritten the store raises a StoreError instead of answering."""
    path = tmp_path / "store.db"
    with LocalStore(path) as store:
        for tick in range(300):
            store.write(batch_of({labels_of("m", {"i": str(i)}): [(tick, float(i))] for i in range(50)}))
    blob = bytearray(path.read_bytes())
    blob[4096 : len(blob) // 2] = bytes(len(blob) // 2 - 4096)
    path.write_bytes(blob)
    with pytest.raises(StoreError), LocalStore(path) as store:
        store.select([], 0, 10**6)


def test_a_full_disk_is_retryable_and_keeps_nothing(tmp_path):
    """At the size bound a write fails whole and is counted; what was acknowledged stays readable."""
    written = 0
    with LocalStore(tmp_path / "store.db", StoreSettings(size_bytes_max=600_000, seal_after_ms=0)) as store:
        series = [labels_of("m", {"i": str(i)}) for i in range(500)]
        with pytest.raises(RetryableError, match="full"):  # noqa: PT012 - the tick that fails is not known
            for tick in range(10_000):
                store.write(batch_of({labels: [(tick * 1000, 1.0)] for labels in series}))
                written += 1
        assert len(store.select([], 0, 2**50).values) == written * 500
        assert store.stat().counters["commits_failed"] == 2, (
            "it was tried again, as there might have been room"
        )


def test_a_locked_database_is_retryable(tmp_path):
    """While another process holds the write lock a write is refused after busy_timeout, and succeeds later."""
    path = tmp_path / "store.db"
    with LocalStore(path, StoreSettings(busy_timeout_ms=50)) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RetryableError, match="locked"):
            store.write(GOOD)
        other.execute("ROLLBACK")
        other.close()
        store.write(GOOD)
        assert store.select([], 0, 10).labels == (labels_of("h"), labels_of("m"))


def test_a_read_only_store_does_not_write(tmp_path):
    """It says through whom to write; an empty file is refused at once."""
    path = tmp_path / "store.db"
    with pytest.raises(StoreError):
        LocalStore(path, read_only=True)
    LocalStore(path).close()
    with LocalStore(path, read_only=True) as store, pytest.raises(StoreError, match="read-only"):
        store.write(GOOD)
