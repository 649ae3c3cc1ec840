"""Start timestamps and exemplars over a store's life: sealed, merged, bounded, copied, exported, damaged."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from ninesight_store import (
    ExportFormat,
    LocalStore,
    Matcher,
    MatchOp,
    Metadata,
    StoreSettings,
    backup,
    export,
    labels_of,
    verify,
)
from ninesight_store.testing import Point, batch_of, bits_of, exemplars_of

HOUR_MS = 3_600_000
SETTINGS = StoreSettings(seal_after_ms=0, merge_hours=2)
EVER = (0, 2**50)
UP = [labels_of("up_total", {"job": job}) for job in "abc"]
TIMES = range(0, 2 * HOUR_MS, 60_000)


def counted(start_of):
    """Two hours of three counters and a histogram; `start_of(series row, time)` gives start timestamps."""
    series = {labels: [(time, float(time)) for time in TIMES] for labels in UP}
    series[labels_of("h")] = [(time, Point(1, 1.0, {0: 1})) for time in TIMES]
    batch = batch_of(series)
    rows = zip(batch.series_index.tolist(), batch.timestamps.tolist(), strict=True)
    starts = np.array([start_of(row, time) for row, time in rows], np.int64)
    points = np.array([start_of(3, time) for time in TIMES], np.int64)
    histograms = replace(batch.histograms, start_timestamps=points)
    return replace(batch, start_timestamps=starts, histograms=histograms)


@pytest.mark.parametrize(
    "start_of",
    [
        lambda _row, _time: 5000,
        lambda row, time: 0 if row == 1 else time // (HOUR_MS // 2) + 1,
        lambda _row, time: time - 30_000 if time else 0,
    ],
    ids=["constant", "restarts", "every sample its own"],
)
def test_start_timestamps_survive_sealing_merging_and_backup(tmp_path, start_of):
    """What was hot reads the same when it is sealed, merged, copied, and cut to a span."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        store.write(counted(start_of))
        hot, part = bits_of(store.select([], *EVER)), bits_of(store.select([], 100_000, HOUR_MS + 1))
        assert "start_timestamps" in hot
        assert "histograms.start_timestamps" in hot
        for step in (store.seal, store.merge):
            step(2**45)
            assert bits_of(store.select([], *EVER)) == hot
            assert bits_of(store.select([], 100_000, HOUR_MS + 1)) == part
    copy = tmp_path / "copy.db"
    backup(path, copy)
    assert verify(copy).sound
    with LocalStore(copy, SETTINGS, read_only=True) as store:
        assert bits_of(store.select([], *EVER)) == hot


def test_absent_start_timestamps_cost_nothing(tmp_path):
    """Samples without them are stored exactly as before: the columns are NULL, hot and sealed."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        store.write(counted(lambda _row, _time: 0))
        store.seal(HOUR_MS)
    with sqlite3.connect(path) as connection:
        for table in ("store_hot", "store_chunks"):
            count, present = connection.execute(f"SELECT count(*), count(starts) FROM {table}").fetchone()
            assert (count > 0, present) == (True, 0)
    connection.close()


def test_start_timestamps_of_one_process_take_few_bytes(tmp_path):
    """Counters that began together share a run: less than a tenth of a byte a sample."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        store.write(counted(lambda _row, _time: 1_700_000_000_123))
        store.seal(2**45)
        store.merge(2**45)
        samples = store.stat().sealed_samples + store.stat().sealed_points
    with sqlite3.connect(path) as connection:
        size = connection.execute("SELECT sum(length(starts)) FROM store_chunks").fetchone()[0]
    connection.close()
    assert 0 < size < samples / 10


@pytest.mark.parametrize("table", ["store_hot", "store_chunks"])
def test_damaged_start_timestamps_cost_no_sample(tmp_path, table):
    """A flipped bit in start timestamps is found by reads and by verify; values and points are all returned."""
    path = tmp_path / "store.db"
    with LocalStore(path, SETTINGS) as store:
        store.write(counted(lambda _row, _time: 5000))
        if table == "store_chunks":
            store.seal(2**45)
        whole = store.select([], *EVER)
    with sqlite3.connect(path) as connection:
        (blob,) = connection.execute(f"SELECT starts FROM {table} WHERE id = 1").fetchone()
        bad = blob[:9] + bytes((blob[9] ^ 4,)) + blob[10:]
        connection.execute(f"UPDATE {table} SET starts = ? WHERE id = 1", (bad,))
    connection.close()
    with LocalStore(path, SETTINGS) as store:
        got = store.select([], *EVER)
        assert got.values.tolist() == whole.values.tolist()
        assert len(got.histograms) == len(whole.histograms)
        (found,) = store.damage()
        assert found.part == "starts"
        assert found.series[0] in whole.labels
    report = verify(path)
    assert [one.part for one in report.damage] == ["starts"]


def traced(rows, series=("a",)):
    return replace(batch_of({name: [] for name in series}), exemplars=exemplars_of(rows))


def everything(store):
    return {
        dict(entry.series)["__name__"]: [one.timestamp_ms for one in entry.exemplars]
        for entry in store.exemplars([[]], *EVER)
    }


def test_exemplars_are_bounded_per_series_and_in_all(tmp_path):
    """A series keeps its newest; all together keep the newest of all; the rest is dropped in both bounds."""
    settings = StoreSettings(exemplars_per_series_max=3, exemplars_max=10)
    with LocalStore(tmp_path / "store.db", settings) as store:
        store.write(traced([(0, {"trace_id": str(n)}, 1.0, n) for n in range(50)]))
        assert everything(store) == {"a": [47, 48, 49]}
        for row, name in enumerate("bcdef"):
            store.write(traced([(0, {}, 1.0, 100 * row + n) for n in range(3)], series=name))
        store.retain(0)
        got = everything(store)
        assert sum(len(times) for times in got.values()) == 10
        assert store.stat().exemplars == 10
        assert min(time for times in got.values() for time in times) == 102
        for n in range(400):
            store.write(traced([(0, {}, 1.0, 1000 + n)]))
        assert store.stat().exemplars <= 10 + 100


def test_no_exemplars_are_kept_where_none_are_wanted(tmp_path):
    """With exemplars_max 0 they are left out and counted."""
    with LocalStore(tmp_path / "store.db", StoreSettings(exemplars_max=0)) as store:
        store.write(traced([(0, {}, 1.0, 5)]))
        assert everything(store) == {}
        assert store.stat().counters["exemplars_left_out"] == 1


def test_exemplars_go_with_age_and_keep_their_series_until_then(tmp_path):
    """Retention drops old exemplars, and a series that has only exemplars lives as long as they do."""
    settings = StoreSettings(retention_ms=10 * HOUR_MS)
    path = tmp_path / "store.db"
    with LocalStore(path, settings) as store:
        store.write(traced([(0, {}, 1.0, HOUR_MS), (0, {}, 1.0, 5 * HOUR_MS)]))
        assert store.retain(12 * HOUR_MS).exemplars == 1
        assert everything(store) == {"a": [5 * HOUR_MS]}
        assert store.retain(16 * HOUR_MS).series == 1
        assert everything(store) == {}
        assert store.stat().series == 0


def test_exemplars_are_seen_by_other_processes_and_after_reopening(tmp_path):
    """A reader of its own sees what was committed, and a reopened store knows doubles."""
    path = tmp_path / "store.db"
    with LocalStore(path) as store, LocalStore(path, read_only=True) as reader:
        store.write(traced([(0, {}, 1.0, 5)]))
        assert everything(reader) == {"a": [5]}
    with LocalStore(path) as store:
        store.write(traced([(0, {}, 1.0, 5)]))
        assert store.stat().counters["exemplars_left_out"] == 1
        assert everything(store) == {"a": [5]}


def test_a_damaged_exemplar_is_left_out_and_found(tmp_path):
    """A changed byte of an exemplar costs that exemplar; verify names it."""
    path = tmp_path / "store.db"
    with LocalStore(path) as store:
        store.write(traced([(0, {"trace_id": "abc"}, 1.0, 5), (0, {"trace_id": "abd"}, 1.0, 6)]))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE store_exemplars SET labels = replace(labels, 'abc', 'xbc')")
    connection.close()
    with LocalStore(path) as store:
        assert everything(store) == {"a": [6]}
    (found,) = verify(path).damage
    assert (found.part, found.series) == ("exemplar", (labels_of("a"),))


def exported(tmp_path, form):
    out = io.StringIO()
    with LocalStore(tmp_path / "store.db", SETTINGS) as store:
        batch = batch_of(
            {UP[0]: [(1000, 1.0), (2000, 2.0), (3000, 1.0)], "g": [(1000, 0.5)]},
            [Metadata("up_total", "counter"), Metadata("g", "gauge")],
        )
        traces = exemplars_of(
            [(0, {"trace_id": 'q"1'}, 0.5, 1500), (1, {"trace_id": "g"}, 1.0, 900), (0, {}, 2.0, 9000)]
        )
        starts = np.array([500, 500, 2500, 700], np.int64)
        store.write(replace(batch, start_timestamps=starts, exemplars=traces))
        report = export(store, out, [Matcher("__name__", MatchOp.REGEX, ".+")], *EVER, form=form)
    return report, out.getvalue()


def test_json_lines_carry_starts_and_exemplars(tmp_path):
    """The export holds every start timestamp and exemplar."""
    report, text = exported(tmp_path, ExportFormat.JSONL)
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["start_timestamps"] for line in lines if "values" in line] == [[700], [500, 500, 2500]]
    shown = {line["labels"]["__name__"]: line["exemplars"] for line in lines if "exemplars" in line}
    assert shown["up_total"] == [
        {"labels": {"trace_id": 'q"1'}, "value": 0.5, "timestamp": 1500},
        {"labels": {}, "value": 2.0, "timestamp": 9000},
    ]
    assert (report.exemplars, report.exemplars_left_out, report.starts_left_out) == (3, 0, 0)


def test_openmetrics_carries_what_the_format_can(tmp_path):
    """Counters get `_created` lines and exemplars; what has no place is counted."""
    report, text = exported(tmp_path, ExportFormat.OPENMETRICS)
    assert text.splitlines() == [
        "# TYPE g gauge",
        "g{} 0.5 1",
        "# TYPE up counter",
        'up_total{job="a"} 1.0 1',
        'up_created{job="a"} 0.500 1',
        'up_total{job="a"} 2.0 2 # {trace_id="q\\"1"} 0.5 1.500',
        'up_total{job="a"} 1.0 3',
        'up_created{job="a"} 2.500 3',
        "# EOF",
    ]
    assert (report.exemplars, report.exemplars_left_out, report.starts_left_out) == (1, 2, 1)


def test_promtool_reads_the_export(tmp_path, real):
    """Prometheus' own tool makes blocks of it, `_created` lines and exemplars included."""
    promtool = real("promtool")
    _, text = exported(tmp_path, ExportFormat.OPENMETRICS)
    (tmp_path / "out.txt").write_text(text)
    done = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", tmp_path / "out.txt", tmp_path / "blocks"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
