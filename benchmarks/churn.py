"""Series churn: a million series over a day, ten thousand alive at a time, as short-lived pods make them.

Blocks of 500 series report every minute, each as a batch of its own; a block lives 15 minutes and is replaced by one
with new labels. Each hour is sealed, merged and retained as it closes. Printed for each quarter of the day: series
known, memory, the 99th percentile of a write, the longest write, the time upkeep took, and a query for what is alive:
asked for the first time after new series came, and again (milliseconds of the processor, which other work on the
machine changes less). Then the store is opened by a process of its own, with the index as it was kept an hour ago
and with none, which makes it read every series: seconds of the processor from opening to the first answer, the two in
turn. In the end retention drops what ended two hours ago.

    python benchmarks/churn.py --hours 24
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
from ninesight_store import (
    Batch,
    LocalStore,
    Matcher,
    MatchOp,
    SeriesTable,
    StoreSettings,
    backup,
    labels_of,
)
from week import rss_mb

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
START_MS = 1_763_856_000_000 // (24 * HOUR_MS) * (24 * HOUR_MS)
BLOCKS, PER_BLOCK, LIFE_MINUTES = 20, 500, 15

READER = """
import sys, time
from pathlib import Path
from ninesight_store import LocalStore, Matcher, MatchOp
last = int(sys.argv[2])
started, busy = time.perf_counter(), time.process_time()
store = LocalStore(Path(sys.argv[1]), read_only=True)
found = store.select([Matcher("__name__", MatchOp.EQUAL, "metric_7")], last - 300_000, last)
answered = time.perf_counter() - started, time.process_time() - busy
assert len(found.labels) >= 100, len(found.labels)
assert store.stat().counters.get("index_loads", 0) == int(sys.argv[3])
print(*answered)
"""


def table(born: int) -> SeriesTable:
    """Return the series of a new block: ten pods with 50 metrics each."""
    return SeriesTable(
        tuple(
            labels_of(
                f"metric_{i % 50}",
                {"pod": f"job-{born * 10 + i // 50:x}", "job": "batch", "zone": f"z{born % 3}"},
            )
            for i in range(PER_BLOCK)
        )
    )


def day(path: Path, hours: int, seed: int) -> dict[str, float]:
    """Live through the hours, print a line each quarter, return the figures of the whole."""
    rng = np.random.default_rng(seed)
    tables = [table(born) for born in range(BLOCKS)]
    born, laps, upkeep, quarters = BLOCKS, [], [], []
    rows, totals = np.arange(PER_BLOCK, dtype=np.int32), np.zeros((BLOCKS, PER_BLOCK))
    print(
        f"{'hour':>5}{'series':>10}{'RSS MB':>9}{'file MB':>9}{'write p99 ms':>14}{'max':>8}{'upkeep s':>10}{'first ms':>10}{'again ms':>10}"
    )
    with LocalStore(path, StoreSettings(seal_after_ms=0)) as store:
        for minute in range(hours * 60):
            at_ms = START_MS + minute * MINUTE_MS
            for block in range(BLOCKS):
                if minute and (minute + block) % LIFE_MINUTES == 0:
                    tables[block], born = table(born), born + 1
                    totals[block] = 0
                totals[block] += rng.poisson(3, PER_BLOCK)
                batch = Batch(
                    tables[block], rows, np.full(PER_BLOCK, at_ms + block, np.int64), totals[block].copy()
                )
                started = time.perf_counter()
                store.write(batch)
                laps.append((time.perf_counter() - started) * 1000)
            if (minute + 1) % 60 == 0:
                # What the last hour brought is not in the index that is kept, as after a crash at its end.
                upkeep.append(maintained(store, at_ms + MINUTE_MS, keep=minute + 1 < hours * 60))
            if (minute + 1) % (hours * 15) == 0:
                quarters.append(quarter(store, at_ms, minute, laps, upkeep))
                laps, upkeep = [], []
    return {
        "series_ever": born * PER_BLOCK,
        "samples": hours * 60 * BLOCKS * PER_BLOCK,
        "rss_mb_first_quarter": quarters[0]["rss"],
        "rss_mb_last_quarter": quarters[-1]["rss"],
        "rss_bytes_per_dead_series": round(
            (quarters[-1]["rss"] - quarters[0]["rss"]) * 1e6 / (born * PER_BLOCK * 0.75)
        ),
        "file_mb": quarters[-1]["file"],
        "write_ms_p99_last_over_first": round(quarters[-1]["p99"] / quarters[0]["p99"], 2),
        "query_ms_last_over_first": round(quarters[-1]["query"] / quarters[0]["query"], 2),
        "first_query_ms_last_over_first": round(quarters[-1]["first"] / quarters[0]["first"], 2),
        "upkeep_s_max": max(entry["upkeep"] for entry in quarters),
        "last_ms": at_ms,
    }


def maintained(store: LocalStore, now_ms: int, *, keep: bool) -> float:
    """Do what an hour's end asks for; return the seconds."""
    started = time.perf_counter()
    store.seal(now_ms)
    store.merge(now_ms)
    store.retain(now_ms)
    if keep:
        store.keep_index()
    return time.perf_counter() - started


def reopened(path: Path, last_ms: int, rounds: int = 5) -> dict[str, float]:
    """Open the store in fresh processes, with the kept index and without; return the medians and their ratio."""
    bare = path.with_name("bare.db")
    backup(path, bare)
    with closing(sqlite3.connect(bare)) as raw, raw:
        raw.execute("DELETE FROM store_index")
    laps: dict[str, list[list[float]]] = {"1": [], "0": []}
    for _ in range(rounds):
        for loads, file in (("1", path), ("0", bare)):
            command = [sys.executable, "-c", READER, str(file), str(last_ms), loads]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            laps[loads].append([float(part) for part in answer.stdout.split()])
    bare.unlink()
    kept, built = (np.array(laps[loads]) for loads in "10")
    for what, each in (("kept", kept), ("built", built)):
        print(f"opening with the index {what}: processor {each[:, 1].min():.3f} to {each[:, 1].max():.3f} s")
    busy, busy_built = float(np.median(kept[:, 1])), float(np.median(built[:, 1]))
    return {
        "reopen_to_first_answer_s": round(float(np.median(kept[:, 0])), 3),
        "reopen_cpu_s": round(busy, 3),
        "reopen_cpu_s_without_kept_index": round(busy_built, 3),
        "reopen_cpu_ratio": round(busy / busy_built, 3),
    }


def retired(path: Path, now_ms: int) -> dict[str, float]:
    """Retire what ended two hours ago; return how many series went and stayed."""
    with LocalStore(path, StoreSettings(seal_after_ms=0, retention_ms=2 * HOUR_MS)) as store:
        started = time.perf_counter()
        report = store.retain(now_ms)
        print(f"retention: {report.series} series dropped in {time.perf_counter() - started:.1f} s")
        return {"series_dropped": report.series, "series_left": store.stat().series}


def quarter(
    store: LocalStore, at_ms: int, minute: int, laps: list[float], upkeep: list[float]
) -> dict[str, float]:
    """Print and return how the store does."""
    who = [Matcher("__name__", MatchOp.EQUAL, "metric_7"), Matcher("zone", MatchOp.EQUAL, "z1")]
    firsts = []
    for back in range(9):
        # Other matchers each time, so that no answer was seen before.
        fresh = [*who, Matcher("pod", MatchOp.NOT_EQUAL, f"none-{minute}-{back}")]
        started = time.thread_time()
        store.select(fresh, at_ms - 300_000, at_ms)
        firsts.append((time.thread_time() - started) * 1000)
    started = time.thread_time()
    for _ in range(5):
        store.select(who, at_ms - 300_000, at_ms)
    asked = (time.thread_time() - started) * 200
    stat = store.stat()
    found = {
        "rss": round(rss_mb(), 1),
        "file": round(stat.size_bytes / 1e6, 1),
        "p99": float(np.percentile(laps, 99)),
        "query": asked,
        "first": float(np.median(firsts)),
        "upkeep": round(max(upkeep), 2),
    }
    print(
        f"{(minute + 1) // 60:>5}{stat.series:>10}{found['rss']:>9.0f}{found['file']:>9.0f}{found['p99']:>14.2f}"
        f"{max(laps):>8.0f}{found['upkeep']:>10.2f}{found['first']:>10.1f}{asked:>10.1f}",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--hours", type=int, default=24, help="a multiple of 4; 24 make about a million series"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="where the database is written (default: the temporary folder)"
    )
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    folder = Path(tempfile.mkdtemp(prefix="ninesight-churn-", dir=options.folder))
    try:
        figures = day(folder / "churn.db", options.hours, options.seed)
        last_ms = int(figures.pop("last_ms"))
        figures |= reopened(folder / "churn.db", last_ms)
        figures |= retired(folder / "churn.db", last_ms)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
