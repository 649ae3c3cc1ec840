"""A week in minutes: memory and file size day by day, and how long a store takes to answer after a kill -9.

The week: scrape targets of 50 series each (counters, gauges, full-mantissa values, one native histogram a target)
report every `--step` seconds; every hour some targets are replaced by new ones, as deployments do; late samples come
in; each hour is sealed, merged and retained as it closes. Time is an argument of the store, so nothing waits.
Memory must stay flat: what the last day holds is compared with the second day, when retention has begun to work.

Reopening: stores of several sizes are filled, a process that writes to each is killed with SIGKILL, and a fresh
process is timed from opening to its first answer, write-ahead log recovery included.

    python benchmarks/week.py --series 2000 --days 7 --reopen-gb 0.1 0.4 1.6
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from ninesight_store import (
    Batch,
    HistogramColumns,
    LocalStore,
    Matcher,
    MatchOp,
    SeriesTable,
    StoreSettings,
    labels_of,
)

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
START_MS = 1_763_856_000_000 // DAY_MS * DAY_MS
PER_TARGET, BUCKETS = 50, 20
SETTINGS = StoreSettings(seal_after_ms=0)


class Fleet:
    """Targets that report, and are replaced now and then. Everything comes from the seed."""

    def __init__(self, targets: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.targets = targets
        self.born = 0
        self.names = [self._born() for _ in range(targets)]
        self.totals = np.zeros((targets, PER_TARGET))
        self.buckets = np.zeros((targets, BUCKETS))
        self.table = self._table()

    def _born(self) -> str:
        self.born += 1
        return f"pod-{self.born:08x}"

    def _table(self) -> SeriesTable:
        rows = [
            labels_of(f"metric_{metric}", {"instance": name, "job": "serve"})
            for name in self.names
            for metric in range(PER_TARGET)
        ]
        rows += [labels_of("latency_seconds", {"instance": name, "job": "serve"}) for name in self.names]
        return SeriesTable(tuple(rows))

    def replace_some(self, share: float) -> None:
        """Let a share of the targets end and others begin."""
        for at in self.rng.choice(self.targets, math.ceil(self.targets * share), replace=False).tolist():
            self.names[at] = self._born()
            self.totals[at] = self.buckets[at] = 0
        self.table = self._table()

    def scrape(self, at_ms: int) -> Batch:
        """Return what all targets report at one time."""
        shape = (self.targets, PER_TARGET)
        self.totals += self.rng.poisson(3, shape)
        values = self.totals.copy()
        values[:, 20:40] = np.round(
            50 + 10 * np.sin(at_ms / 9e6) + self.rng.normal(0, 1, (self.targets, 20)), 1
        )
        values[:, 40:] = self.rng.lognormal(0, 1, (self.targets, 10))
        self.buckets += self.rng.poisson(2, self.buckets.shape)
        offsets = np.arange(self.targets, dtype=np.int64) * 37 % 1000
        count, zeros = self.targets, np.zeros(self.targets)
        points = HistogramColumns(
            series=np.arange(count * PER_TARGET, count * (PER_TARGET + 1), dtype=np.int32),
            timestamps=at_ms + offsets,
            schema=np.full(count, 3, np.int32),
            hint=np.zeros(count, np.int32),
            count=self.buckets.sum(axis=1),
            sum=self.buckets.sum(axis=1) * 0.1,
            zero_threshold=zeros,
            zero_count=zeros,
            positive_offsets=np.arange(count + 1, dtype=np.int64) * BUCKETS,
            positive_index=np.tile(np.arange(-10, BUCKETS - 10, dtype=np.int32), count),
            positive_count=self.buckets.ravel().copy(),
            negative_offsets=np.zeros(count + 1, np.int64),
            bounds_offsets=np.zeros(count + 1, np.int64),
        )
        rows = np.arange(count * PER_TARGET, dtype=np.int32)
        return Batch(self.table, rows, np.repeat(at_ms + offsets, PER_TARGET), values.ravel(), points)


def rss_mb() -> float:
    """Return the memory this process holds now, in MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def week(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Live through the days; print one line each; return the figures."""
    fleet = Fleet(options.series // PER_TARGET, options.seed)
    settings = replace(SETTINGS, retention_ms=int(options.retention_days * DAY_MS))
    path, days = folder / "week.db", []
    print(
        f"{'day':>4}{'RSS MB':>9}{'file MB':>9}{'free MB':>9}{'series':>9}{'chunks':>8}{'M samples':>11}{'query ms':>10}{'wall s':>8}"
    )
    with LocalStore(path, settings) as store:
        written = 0
        for day in range(options.days):
            started = time.perf_counter()
            for hour in range(24):
                begin = START_MS + day * DAY_MS + hour * HOUR_MS
                written += one_hour(store, fleet, begin, options)
            asked = query_ms(store, begin + HOUR_MS)
            stat, rss = store.stat(), rss_mb()
            days.append((rss, stat.size_bytes / 1e6))
            print(
                f"{day + 1:>4}{rss:>9.0f}{stat.size_bytes / 1e6:>9.0f}{stat.free_bytes / 1e6:>9.0f}{stat.series:>9}"
                f"{stat.chunks:>8}{written / 1e6:>11.1f}{asked:>10.1f}{time.perf_counter() - started:>8.1f}",
                flush=True,
            )
            alive = (stat.newest_ms - stat.oldest_ms) / DAY_MS
            assert alive <= options.retention_days + 0.5, "retention keeps up"
    second = days[min(1, len(days) - 1)]
    return {
        "samples": written,
        "series_ever": fleet.born * (PER_TARGET + 1),
        "rss_mb_second_day": round(second[0], 1),
        "rss_mb_last_day": round(days[-1][0], 1),
        "rss_ratio": round(days[-1][0] / second[0], 3),
        "rss_mb_max": round(max(rss for rss, _ in days), 1),
        "file_mb_last_day": round(days[-1][1], 1),
        "file_ratio_after_retention": round(
            days[-1][1] / days[min(int(options.retention_days), len(days) - 1)][1], 3
        ),
    }


def one_hour(store: LocalStore, fleet: Fleet, begin: int, options: argparse.Namespace) -> int:
    """Write an hour with some late samples, then let upkeep do what is due. Returns the samples."""
    written = 0
    for at_ms in range(begin, begin + HOUR_MS, options.step * 1000):
        batch = fleet.scrape(at_ms)
        store.write(batch)
        written += len(batch)
    late = fleet.scrape(begin - 2 * HOUR_MS + 7)
    some = slice(0, PER_TARGET * 2)
    store.write(Batch(late.series, late.series_index[some], late.timestamps[some], late.values[some]))
    store.seal(begin + HOUR_MS)
    store.merge(begin + HOUR_MS)
    store.retain(begin + HOUR_MS)
    fleet.replace_some(options.churn)
    return written + PER_TARGET * 2


def query_ms(store: LocalStore, end_ms: int) -> float:
    """Time a dashboard's question over the last 3 hours, median of 3, in ms."""
    laps = []
    for _ in range(3):
        started = time.perf_counter()
        store.select([Matcher("__name__", MatchOp.EQUAL, "metric_7")], end_ms - 3 * HOUR_MS, end_ms)
        laps.append((time.perf_counter() - started) * 1000)
    return statistics.median(laps)


def fill(path: Path, megabytes: float, seed: int) -> int:
    """Fill a store with sealed values of full mantissa until it has this size; return the last time written."""
    rng = np.random.default_rng(seed)
    table = SeriesTable(
        tuple(
            labels_of(f"metric_{i % 50}", {"instance": f"host-{i // 50}", "job": "node"})
            for i in range(10_000)
        )
    )
    rows = np.arange(len(table), dtype=np.int32)
    at_ms = START_MS
    with LocalStore(path, replace(SETTINGS, merge_hours=0)) as store:
        while path.stat().st_size < megabytes * 1e6:
            for _ in range(60):
                times = np.full(len(rows), at_ms, np.int64)
                store.write(Batch(table, rows, times, rng.lognormal(0, 1, len(rows))))
                at_ms += 60_000
            store.seal(at_ms)
            store.keep_index()
    return at_ms


WRITER = """
import os, sys
from pathlib import Path
import numpy as np
from ninesight_store import Batch, LocalStore, SeriesTable, StoreSettings, labels_of
at_ms = int(sys.argv[2])
table = SeriesTable(tuple(
    labels_of(f"metric_{i % 50}", {"instance": f"host-{i // 50}", "job": "node"}) for i in range(10_000)))
rows = np.arange(len(table), dtype=np.int32)
store = LocalStore(Path(sys.argv[1]), StoreSettings(seal_after_ms=0))
while True:
    at_ms += 15_000
    store.write(Batch(table, rows, np.full(len(rows), at_ms, np.int64), np.random.lognormal(0, 1, len(rows))))
    os.write(1, b"%d\\n" % at_ms)
"""
READER = """
import sys, time
from pathlib import Path
from ninesight_store import LocalStore, Matcher, MatchOp, StoreSettings
last = int(sys.argv[2])
started, cpu = time.perf_counter(), time.process_time()
store = LocalStore(Path(sys.argv[1]), StoreSettings(seal_after_ms=0))
opened = time.perf_counter()
who = [Matcher("__name__", MatchOp.EQUAL, "metric_7"), Matcher("instance", MatchOp.EQUAL, "host-7")]
found = store.select(who, last - 300_000, last)
answered, cpu = time.perf_counter(), time.process_time() - cpu
assert found.timestamps[-1] == last, "the last acknowledged sample is there"
print(opened - started, answered - started, cpu)
"""


def killed_writer(path: Path, at_ms: int) -> tuple[int, int]:
    """Kill a process after a hundred acknowledged batches; return the last of them and the log left behind."""
    command = [sys.executable, "-c", WRITER, str(path), str(at_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        said = b""
        while said.count(b"\n") < 100:
            assert select.select([process.stdout], [], [], 120)[0], "the writer stopped"
            piece = process.stdout.read(65_536)
            assert piece, "the writer ended"
            said += piece
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read()
    last = int(said[: said.rfind(b"\n")].split()[-1])
    return last, path.with_name(path.name + "-wal").stat().st_size


def reopening(folder: Path, options: argparse.Namespace) -> list[tuple[float, float, float]]:
    """Return (file in GB, seconds to the first answer, its seconds of CPU) of each size, medians."""
    found = []
    for gigabytes in options.reopen_gb:
        path = folder / f"reopen-{gigabytes}.db"
        last = fill(path, gigabytes * 1000, options.seed)
        laps = []
        for _ in range(options.rounds):
            last, log = killed_writer(path, last)
            answer = subprocess.run(
                [sys.executable, "-c", READER, str(path), str(last)],
                capture_output=True,
                text=True,
                check=True,
            )
            laps.append([float(word) for word in answer.stdout.split()])
        size = path.stat().st_size / 1e9
        opened, answered, cpu = (statistics.median(column) for column in zip(*laps, strict=True))
        worst = max(lap[1] for lap in laps)
        print(
            f"reopening {size:.2f} GB after kill -9 (log {log / 1e6:.0f} MB): open {opened:.3f} s, "
            f"first answer {answered:.3f} s ({cpu:.3f} s of CPU), worst {worst:.3f} s",
            flush=True,
        )
        found.append((size, answered, cpu))
        path.unlink()
    return found


def for_ten_gb(sizes: list[tuple[float, float, float]]) -> dict[str, float]:
    """Return what reopening took, and what it takes at 10 GB by the straight line through the sizes.

    A part is paid once, whatever the size; only the rest grows. CPU seconds are told beside it, because the clock of
    a busy machine counts what others do.
    """
    size, answered, cpu = sizes[-1]
    figures = {
        "reopen_file_gb": round(size, 2),
        "reopen_s": round(answered, 3),
        "reopen_cpu_s": round(cpu, 3),
    }
    for name, column, last in (("reopen_s_per_10_gb", 1, answered), ("reopen_cpu_s_per_10_gb", 2, cpu)):
        slope = (
            np.polyfit([one[0] for one in sizes], [one[column] for one in sizes], 1)[0]
            if len(sizes) > 1
            else last / size
        )
        figures[name] = round(last + max(0.0, slope) * max(0.0, 10 - size), 3)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=2000, help="float series alive at a time")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--step", type=int, default=60, help="seconds between scrapes")
    parser.add_argument("--churn", type=float, default=0.02, help="share of targets replaced every hour")
    parser.add_argument("--retention-days", type=float, default=1.0)
    parser.add_argument("--reopen-gb", type=float, nargs="*", default=[0.1, 0.4, 1.6])
    parser.add_argument("--rounds", type=int, default=5, help="kills a size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="where the databases are written (default: the temporary folder)"
    )
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    folder = Path(tempfile.mkdtemp(prefix="ninesight-week-", dir=options.folder))
    try:
        figures = week(folder, options)
        sizes = reopening(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if sizes:
        figures |= for_ten_gb(sizes)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
