"""Backup, restore and export: copies that are whole, verified, and never overwrite anything."""

from __future__ import annotations

import io
import json
import subprocess
import threading

import pytest
from ninesight_store import (
    STALE_NAN,
    ExportFormat,
    LocalStore,
    Matcher,
    MatchOp,
    Metadata,
    StoreError,
    StoreFormatError,
    StoreSettings,
    backup,
    export,
    labels_of,
    restore,
    verify,
)
from ninesight_store.contract import Batch
from ninesight_store.testing import Point, batch_of, samples_of

HOUR_MS = 3_600_000
SETTINGS = StoreSettings(seal_after_ms=0)
EVER = (0, 2**50)


def write_tick(store, tick):
    """Ten series get the same value: a copy that cuts a batch in two would show."""
    store.write(batch_of({f"m{row}": [(tick * 1000, float(tick))] for row in range(10)}))


def damage(path):
    with LocalStore(path, SETTINGS) as store:
        store.seal(2**45)
    import sqlite3

    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE store_chunks SET data = zeroblob(length(data)) WHERE id = (SELECT min(id) FROM store_chunks)"
        )
    connection.close()


def test_backup_while_writing_is_one_moment(tmp_path):
    """A copy made beside a busy writer verifies, holds whole batches only, and all that came before it."""
    path, copy = tmp_path / "store.db", tmp_path / "backups" / "copy.db"
    done = threading.Event()
    written = []
    with LocalStore(path, SETTINGS) as store:
        for tick in range(300):
            write_tick(store, tick)
        acknowledged = 299

        def write():
            tick = acknowledged
            while not done.is_set():
                tick += 1
                write_tick(store, tick)
                written.append(tick)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            steps = []
            report = backup(path, copy, told=steps.append)
        finally:
            done.set()
            thread.join()
    assert written, "the writer went on meanwhile"
    assert report.bytes == copy.stat().st_size
    assert steps[-1].done == steps[-1].total
    assert verify(copy).sound
    assert sorted(name.name for name in copy.parent.iterdir()) == ["copy.db"]
    with LocalStore(copy, SETTINGS, read_only=True) as store:
        got = samples_of(store.select([], *EVER))
    ends = {pairs[-1][0] for pairs in got.values()}
    assert len(got) == 10
    assert len(ends) == 1, "no batch was cut in two"
    assert ends.pop() >= acknowledged * 1000


def test_restore_gives_the_same_store(tmp_path):
    """What was backed up is restored bit by bit into a new place, which can be written to."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        for tick in range(50):
            write_tick(store, tick)
        store.seal(HOUR_MS * 9)
        whole = samples_of(store.select([], *EVER))
    backup(path, tmp_path / "copy.db")
    report = restore(tmp_path / "copy.db", tmp_path / "new" / "store.db")
    assert report.verified.sound
    with LocalStore(tmp_path / "new" / "store.db", SETTINGS) as store:
        assert samples_of(store.select([], *EVER)) == whole
        write_tick(store, 99)
        assert samples_of(store.select([], *EVER))[labels_of("m0")][-1] == (99_000, 99.0)


def test_copies_never_overwrite(tmp_path):
    """A file that is there is kept, whatever it is, and no unfinished copy is left."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        write_tick(store, 1)
    other = tmp_path / "precious.txt"
    other.write_text("precious")
    for work in (backup, restore):
        with pytest.raises(StoreError, match="must not exist yet"):
            work(path, other)
        with pytest.raises(StoreError, match="is a folder; add a file name"):
            work(path, tmp_path)
    assert other.read_text() == "precious"
    with pytest.raises(StoreFormatError, match="not a usable ninesight store"):
        restore(other, tmp_path / "new.db")
    assert not list(tmp_path.glob("*.partial*"))
    assert not (tmp_path / "new.db").exists()


def test_a_damaged_backup_is_refused_unless_asked(tmp_path):
    """Restoring damage takes a word; with it the sound part is served."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        for tick in range(50):
            write_tick(store, tick)
        store.write(batch_of({"other": [(HOUR_MS * 5, 1.0)]}))
    damage(path)
    with pytest.raises(StoreError, match=r"must be sound, 1 parts are damaged \(first: chunk 1 from 0"):
        restore(path, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
    report = restore(path, tmp_path / "new.db", allow_damage=True)
    assert report.verified.damaged == 1
    with LocalStore(tmp_path / "new.db", SETTINGS) as store:
        assert list(samples_of(store.select([], *EVER))) == [labels_of("other")]


@pytest.fixture
def mixed(tmp_path):
    """A store with floats of every sort, a histogram, a counter, help texts."""
    up, hist = labels_of("up", {"job": 'a"\\\n', "zone": "ü"}), labels_of("latency", {"job": "a"})
    batch = batch_of(
        {
            up: [(0, 1.0), (1500, float("inf")), (3000, float("nan")), (4000, STALE_NAN)],
            "requests_total": [(0, 1.0), (60_000, 1e17), (120_000, 0.1)],
            hist: [(0, Point(count=3.0, sum=1.5, positive={-1: 1.0, 2: 2.0}))],
        }
    )
    entries = (Metadata("requests_total", "counter", "", "all\nrequests"), Metadata("up", "gauge"))
    with LocalStore(tmp_path / "store.db", SETTINGS) as store:
        store.write(
            Batch(batch.series, batch.series_index, batch.timestamps, batch.values, batch.histograms, entries)
        )
        yield store


def test_export_as_json_lines(mixed):
    """Every sample and point is there, in the order of names, with NaN, infinities and stale markers as words."""
    out = io.StringIO()
    report = export(mixed, out, [], *EVER)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (report.series, report.samples, report.points) == (3, 7, 1)
    assert [line["labels"]["__name__"] for line in lines] == ["latency", "requests_total", "up"]
    assert lines[0]["histograms"] == [
        {
            "count": 3.0,
            "sum": 1.5,
            "schema": 3,
            "hint": "unknown",
            "zero_threshold": 0.0,
            "zero_count": 0.0,
            "positive": {"-1": 1.0, "2": 2.0},
        }
    ]
    assert lines[2] == {
        "labels": {"__name__": "up", "job": 'a"\\\n', "zone": "ü"},
        "timestamps": [0, 1500, 3000, 4000],
        "values": [1.0, "+Inf", "NaN", "stale"],
    }
    out = io.StringIO()
    some = export(mixed, out, [Matcher("__name__", MatchOp.EQUAL, "up")], 1000, 3000)
    assert (some.series, some.samples) == (1, 2)


def test_export_as_openmetrics(mixed):
    """The text has families with types and help; what it cannot hold is counted."""
    out = io.StringIO()
    report = export(mixed, out, [], *EVER, form=ExportFormat.OPENMETRICS)
    assert (report.points_left_out, report.stale_left_out, report.samples) == (1, 1, 6)
    assert out.getvalue() == (
        "# TYPE requests counter\n# HELP requests all\\nrequests\n"
        "requests_total{} 1.0 0\nrequests_total{} 1e+17 60\nrequests_total{} 0.1 120\n"
        "# TYPE up gauge\n"
        'up{job="a\\"\\\\\\n",zone="ü"} 1.0 0\nup{job="a\\"\\\\\\n",zone="ü"} +Inf 1.500\n'
        'up{job="a\\"\\\\\\n",zone="ü"} NaN 3\n# EOF\n'
    )


def test_promtool_reads_the_export(mixed, real, tmp_path):
    """Debian's promtool makes Prometheus blocks of the text, with every sample in them."""
    text = tmp_path / "export.om"
    with text.open("w", encoding="utf-8") as out:
        export(mixed, out, [], *EVER, form=ExportFormat.OPENMETRICS)
    made = subprocess.run(
        [real("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(text), str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    (tmp_path / "data" / "wal").mkdir()
    dump = subprocess.run(
        [real("promtool"), "tsdb", "dump", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert dump.returncode == 0, dump.stderr
    assert len(dump.stdout.splitlines()) == 6


def test_groups_of_series_are_exported_alike(tmp_path):
    """Many series, read in many groups, come out bit for bit, each once."""
    with LocalStore(tmp_path / "store.db", SETTINGS) as store:
        store.write(
            batch_of({labels_of("m", {"i": str(i)}): [(t, i / 3 + t) for t in range(40)] for i in range(90)})
        )
        out = io.StringIO()
        export(store, out, [], *EVER)
        got = {
            tuple(sorted(line["labels"].items())): line["values"]
            for line in map(json.loads, out.getvalue().splitlines())
        }
        want = samples_of(store.select([], *EVER))
    assert got == {labels: [value for _, value in pairs] for labels, pairs in want.items()}
