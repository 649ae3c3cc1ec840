"""A week in minutes: memory and file size day by day.

The week: scrape targets of 50 series each (counters, gauges, full-mantissa values, one native histogram a target)
report every `--step` seconds; every hour some targets are replaced by new ones, as deployments do; late samples come
in; each hour is sealed, merged and retained as it closes. Time is an argument of the store, so nothing waits.
Memory must stay flat: what the last day holds is compared with the second day, when retention has begun to work.

    python benchmarks/week.py --series 2000 --days 7
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import shutil
import statistics
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=2000, help="float series alive at a time")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--step", type=int, default=60, help="seconds between scrapes")
    parser.add_argument("--churn", type=float, default=0.02, help="share of targets replaced every hour")
    parser.add_argument("--retention-days", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="where the databases are written (default: the temporary folder)"
    )
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    folder = Path(tempfile.mkdtemp(prefix="ninesight-week-", dir=options.folder))
    try:
        figures = week(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
