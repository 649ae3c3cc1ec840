"""Durable ingest: samples per second with a sync per commit, and bytes per sample at rest.

Workload: 5,000 series in 100 scrape targets of 50, one tick every 10 s. 40 % Poisson counters (15 % of them
idle), 40 % gauges with 1-2 decimals, 20 % full-mantissa lognormal values; timestamps are one a target, 30 %
of the targets jittered by a few ms. 200 native histograms of 40 buckets ride in the same commits. Each closed
hour is sealed inline, and merged into 6-hour blocks. The peer in the same run: plain SQLite rows with the same
durability, on the first minutes of the same data (it has no histograms to write).

    python benchmarks/ingest.py --hours 6 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
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

SERIES, TARGETS, PER_TARGET = 5_000, 100, 50
HISTOGRAMS, BUCKETS = 200, 40
TICK_MS, HOUR_MS = 10_000, 3_600_000
START_MS = 1_763_856_000_000 // (6 * HOUR_MS) * (6 * HOUR_MS)


class Workload:
    """The data of one hour at a time, from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        kinds = np.arange(SERIES) % 10
        self.counters, self.gauges, self.logs = (
            np.flatnonzero(k) for k in (kinds < 4, (kinds >= 4) & (kinds < 8), kinds >= 8)
        )
        self.rates = self.rng.lognormal(3, 1.5, len(self.counters)) * (
            self.rng.random(len(self.counters)) > 0.15
        )
        self.totals = np.zeros(len(self.counters))
        self.levels = self.rng.uniform(10, 90, len(self.gauges))
        self.decimals = 1 + np.arange(len(self.gauges)) % 2
        self.log_means = self.rng.uniform(-3, 3, len(self.logs))
        self.jittered = np.arange(TARGETS) % 10 < 3
        self.weights = np.exp(-0.5 * ((np.arange(BUCKETS) - 20) / 7) ** 2)
        self.weights /= self.weights.sum()
        self.buckets = np.zeros((HISTOGRAMS, BUCKETS))
        self.sums = np.zeros(HISTOGRAMS)
        names = [
            labels_of(f"metric_{s % PER_TARGET}", {"instance": f"host-{s // PER_TARGET}:9100", "job": "node"})
            for s in range(SERIES)
        ]
        names += [
            labels_of("latency_seconds", {"model": f"model-{h}", "job": "serve"}) for h in range(HISTOGRAMS)
        ]
        self.table = SeriesTable(tuple(names))
        self.rows = np.arange(SERIES, dtype=np.int32)
        self.hist_rows = np.arange(SERIES, SERIES + HISTOGRAMS, dtype=np.int32)

    def hour(self, number: int) -> list[Batch]:
        """Return the 360 batches of an hour."""
        ticks = HOUR_MS // TICK_MS
        values = np.empty((ticks, SERIES))
        steps = self.rng.poisson(self.rates, (ticks, len(self.counters)))
        values[:, self.counters] = self.totals + np.cumsum(steps, axis=0)
        self.totals = values[-1, self.counters]
        walk = self.levels + np.cumsum(self.rng.normal(0, 0.4, (ticks, len(self.gauges))), axis=0)
        self.levels = walk[-1]
        scale = 10.0**self.decimals
        values[:, self.gauges] = np.round(walk * scale) / scale
        values[:, self.logs] = np.exp(self.rng.normal(self.log_means, 0.5, (ticks, len(self.logs))))
        base = START_MS + number * HOUR_MS + np.arange(ticks) * TICK_MS
        offsets = self.rng.integers(0, 6, (ticks, TARGETS)) * self.jittered + np.arange(TARGETS) * 37
        times = np.repeat(base[:, None] + offsets, PER_TARGET, axis=1)
        return [self._batch(int(base[t]), times[t], values[t]) for t in range(ticks)]

    def _batch(self, at_ms: int, times: np.ndarray, values: np.ndarray) -> Batch:
        grown = self.rng.poisson(50 * self.weights, (HISTOGRAMS, BUCKETS))
        self.buckets += grown
        self.sums += grown.sum(axis=1) * self.rng.uniform(0.08, 0.12, HISTOGRAMS)
        zeros = np.zeros(HISTOGRAMS)
        points = HistogramColumns(
            series=self.hist_rows,
            timestamps=np.full(HISTOGRAMS, at_ms, np.int64),
            schema=np.full(HISTOGRAMS, 3, np.int32),
            hint=np.zeros(HISTOGRAMS, np.int32),
            count=self.buckets.sum(axis=1),
            sum=self.sums.copy(),
            zero_threshold=zeros,
            zero_count=zeros,
            positive_offsets=np.arange(HISTOGRAMS + 1, dtype=np.int64) * BUCKETS,
            positive_index=np.tile(np.arange(-30, BUCKETS - 30, dtype=np.int32), HISTOGRAMS),
            positive_count=self.buckets.ravel().copy(),
            negative_offsets=np.zeros(HISTOGRAMS + 1, np.int64),
            bounds_offsets=np.zeros(HISTOGRAMS + 1, np.int64),
        )
        return Batch(self.table, self.rows, times.astype(np.int64), values, points)


@dataclass
class Round:
    """What one round measured."""

    samples_per_s: float
    """Commits and sealing; merging is a later job."""
    with_merge_per_s: float
    batch_ms_p50: float
    batch_ms_p99: float
    seal_s: float
    merge_s: float
    bytes_per_sample: float
    file_bytes_per_sample: float
    bytes_per_point: float
    queries_ms: dict[str, float]


def ingest(folder: Path, hours: int, seed: int) -> Round:
    """Write, seal and merge `hours`; only the store's own time counts."""
    work = Workload(seed)
    path = folder / "ninesight.db"
    laps, seal_s = [], 0.0
    with LocalStore(path, StoreSettings(seal_after_ms=0)) as store:
        for hour in range(hours):
            for batch in work.hour(hour):
                started = time.perf_counter()
                store.write(batch)
                laps.append(time.perf_counter() - started)
            started = time.perf_counter()
            store.seal(START_MS + (hour + 1) * HOUR_MS)
            seal_s += time.perf_counter() - started
        samples = SERIES * len(laps)
        queries = {f"{name} hourly": ms for name, ms in measure_queries(store, hours).items()}
        started = time.perf_counter()
        store.merge(START_MS + (hours + 6) * HOUR_MS)
        merge_s = time.perf_counter() - started
        queries |= {f"{name} merged": ms for name, ms in measure_queries(store, hours).items()}
        stat = store.stat(payload=True)
        assert stat.sealed_samples == samples, (stat, samples)
        assert stat.sealed_points == HISTOGRAMS * len(laps), stat
    # The file holds histograms too; they are taken off by their payload.
    used = path.stat().st_size - stat.free_bytes - stat.sealed_points_bytes
    laps.sort()
    return Round(
        samples / (sum(laps) + seal_s),
        samples / (sum(laps) + seal_s + merge_s),
        laps[len(laps) // 2] * 1000,
        laps[int(len(laps) * 0.99)] * 1000,
        seal_s / hours,
        merge_s,
        stat.sealed_bytes / samples,
        used / samples,
        stat.sealed_points_bytes / stat.sealed_points,
        queries,
    )


def measure_queries(store: LocalStore, hours: int) -> dict[str, float]:
    """Time selects over sealed data, median of 5, in ms."""
    end = START_MS + hours * HOUR_MS
    job = Matcher("job", MatchOp.EQUAL, "node")
    tenth = Matcher("__name__", MatchOp.REGEX, "metric_[0-9]")
    one = Matcher("instance", MatchOp.EQUAL, "host-7:9100")
    asked = {
        f"1 series {hours} h": ([job, one, Matcher("__name__", MatchOp.EQUAL, "metric_7")], 0),
        "1,000 series 1 h": ([job, tenth], end - HOUR_MS),
        "5,000 series 5 min": ([job], end - 300_000),
        f"50 histograms {hours} h": ([Matcher("model", MatchOp.REGEX, "model-[1-4]?[0-9]")], 0),
    }
    found = {}
    for name, (matchers, start) in asked.items():
        laps = []
        for _ in range(5):
            started = time.perf_counter()
            store.select(matchers, start, end)
            laps.append((time.perf_counter() - started) * 1000)
        found[name] = statistics.median(laps)
    return found


def plain_rows(folder: Path, seed: int, ticks: int = 60) -> tuple[float, float]:
    """Write the same data as plain SQLite rows with the same durability; return samples/s and bytes/sample."""
    work = Workload(seed)
    batches = work.hour(0)[:ticks]
    path = folder / "rows.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE samples (series INTEGER, ts INTEGER, value REAL, PRIMARY KEY (series, ts)) WITHOUT ROWID"
    )
    started = time.perf_counter()
    for batch in batches:
        connection.execute("BEGIN IMMEDIATE")
        rows = zip(batch.series_index.tolist(), batch.timestamps.tolist(), batch.values.tolist(), strict=True)
        connection.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return SERIES * ticks / seconds, path.stat().st_size / (SERIES * ticks)


def bare_commit_ms(folder: Path) -> float:
    """Return the median time of a commit of one 64 KiB blob: what this disk and SQLite allow at best."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE blobs (id INTEGER PRIMARY KEY, data BLOB)")
    blob, laps = os.urandom(65_536), []
    for _ in range(200):
        started = time.perf_counter()
        connection.execute("INSERT INTO blobs (data) VALUES (?)", (blob,))
        laps.append((time.perf_counter() - started) * 1000)
    connection.close()
    return statistics.median(laps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=int, default=6, help="hours of data a round (360 commits each)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="where the databases are written (default: the temporary folder)"
    )
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )
    print(
        f"{SERIES} series, {options.hours} h of ticks every {TICK_MS // 1000} s, {HISTOGRAMS} histograms; synchronous=FULL"
    )
    rounds, peers, floors = [], [], []
    for number in range(options.rounds):
        folder = Path(tempfile.mkdtemp(prefix="ninesight-ingest-", dir=options.folder))
        try:
            rounds.append(ingest(folder, options.hours, number))
            peers.append(plain_rows(folder, number))
            floors.append(bare_commit_ms(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(
            f"round {number + 1}: {rounds[-1].samples_per_s / 1e6:.2f} M samples/s (plain rows {peers[-1][0] / 1e6:.2f} M)",
            file=sys.stderr,
        )
    report(rounds, peers, floors)


def report(rounds: list[Round], peers: list[tuple[float, float]], floors: list[float]) -> None:
    """Print the table with its spread, and the line of JSON."""

    def spread(name: str, numbers: list[float], form: str) -> float:
        middle = statistics.median(numbers)
        print(f"{name:<44}{middle:>14{form}}   {min(numbers):{form}} .. {max(numbers):{form}}")
        return middle

    print(f"{'':<44}{'median':>14}   spread")
    rate = spread("durable samples/s, sealing inline", [r.samples_per_s for r in rounds], ",.0f")
    merged = spread("the same with merging", [r.with_merge_per_s for r in rounds], ",.0f")
    p50 = spread("batch of 5,000 ms p50", [r.batch_ms_p50 for r in rounds], ".2f")
    p99 = spread("batch of 5,000 ms p99", [r.batch_ms_p99 for r in rounds], ".2f")
    seal = spread("seal one hour, s", [r.seal_s for r in rounds], ".2f")
    spread("merge all, s", [r.merge_s for r in rounds], ".2f")
    size = spread("bytes/sample in the file", [r.file_bytes_per_sample for r in rounds], ".2f")
    payload = spread("bytes/sample payload", [r.bytes_per_sample for r in rounds], ".2f")
    point = spread("bytes/histogram point of 40 buckets", [r.bytes_per_point for r in rounds], ".1f")
    for name in rounds[0].queries_ms:
        spread(f"select {name}, ms", [r.queries_ms[name] for r in rounds], ".1f")
    floor_p50 = spread("floor: bare 64 KiB commit ms p50", floors, ".2f")
    peer_rate = spread("peer, plain SQLite rows: samples/s", [p[0] for p in peers], ",.0f")
    peer_size = spread("peer, plain SQLite rows: bytes/sample", [p[1] for p in peers], ".1f")
    print(f"ratio to plain rows: {rate / peer_rate:.1f}x the speed, {size / peer_size:.3f} of the size")
    print(
        json.dumps(
            {
                "samples_per_s": round(rate),
                "bytes_per_sample": round(size, 3),
                "samples_per_s_with_merge": round(merged),
                "payload_bytes_per_sample": round(payload, 3),
                "bytes_per_histogram_point": round(point, 2),
                "batch_ms_p50": round(p50, 3),
                "batch_ms_p99": round(p99, 3),
                "bare_commit_ms_p50": round(floor_p50, 3),
                "seal_hour_s": round(seal, 3),
                "plain_rows_samples_per_s": round(peer_rate),
                "plain_rows_bytes_per_sample": round(peer_size, 2),
                "rss_mb_max": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
