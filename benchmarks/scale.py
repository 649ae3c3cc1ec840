"""100,000 active series on one machine: does an interval's ingest, and a pass of a rule pack, stay inside it?

A fleet with real label sets (fleet/data.py), one batch a scrape target (about 47 series) every 10 s, written by a few
threads as a collector does; every batch is on the disk when its write returns. After every interval the whole
rule pack (fleet/questions.py: public packs and SLA rules) is asked once of the engine, which must see the new samples.
Printed are seconds used over the interval, and the peak of memory (resident set). The first pass reads everything
anew, as after a start or a sealed hour; it is told apart.

    python benchmarks/scale.py --series 100000
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
from fleet.data import START_MS, TICK_MS, Fleet
from fleet.questions import questions
from ninesight_query import LocalEngine
from ninesight_store import Batch, LocalStore, SeriesTable, StoreSettings
from rich.progress import Progress

_GAUGES = ("_ratio", "_bytes", "_watts", "_celsius", "_depth", "_flight", "load1", "_ready", "up", "_seconds")


class Scrapes:
    """One batch a target and tick; counters grow, gauges wander."""

    def __init__(self, series: int) -> None:
        fleet = Fleet(series)
        self.series = fleet.series
        self._rng = np.random.default_rng(7)
        edges = np.searchsorted(fleet.target, np.arange(fleet.targets + 1)).tolist()
        self._slices = [slice(low, high) for low, high in pairwise(edges)]
        self._tables = [SeriesTable(tuple(fleet.labels[own])) for own in self._slices]
        names = [dict(labels)["__name__"] for labels in fleet.labels]
        self._gauge = np.array([name.endswith(_GAUGES) for name in names])
        level = np.array([1.0 if name in ("up", "model_ready") else 100.0 for name in names])
        # Buckets of one histogram grow in the order of their bounds.
        place = np.array([self._place(dict(labels).get("le", "")) for labels in fleet.labels])
        self._level, self._rate = level, 1.0 + place

    @staticmethod
    def _place(bound: str) -> float:
        return 0.0 if not bound else 100.0 if bound == "+Inf" else float(bound)

    def tick(self, number: int) -> list[Batch]:
        """Return the batches of one interval."""
        walk = np.round(self._level * (1 + 0.01 * (self._rng.integers(0, 10, self.series))), 2)
        values = np.where(
            self._gauge, self._level if number % 3 else walk, np.floor(self._rate * 10 * number)
        )
        base = START_MS + number * TICK_MS
        return [
            Batch(
                table,
                np.arange(len(table), dtype=np.int32),
                np.full(len(table), base + 3 + target % 97 * 37, np.int64),
                values[own],
            )
            for target, (table, own) in enumerate(zip(self._tables, self._slices, strict=True))
        ]


def rules() -> list[str]:
    """Return the queries of the rule pack."""
    return [each.query for each in questions(24) if each.name.startswith(("rule", "SLA"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument(
        "--before", type=int, default=60, help="intervals written before anything is measured"
    )
    parser.add_argument("--ticks", type=int, default=20, help="measured intervals")
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument(
        "--folder", type=Path, help="where the database is written (default: the temporary folder)"
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ninesight-scale-", dir=options.folder))
    scrapes, pack = Scrapes(options.series), rules()
    ingest_s, rules_s, slowest = [], [], {}
    try:
        with (
            LocalStore(folder / "ninesight.db", StoreSettings()) as store,
            ThreadPoolExecutor(options.writers) as writers,
            Progress(transient=True) as progress,
        ):
            engine = LocalEngine(store)
            bar = progress.add_task(f"{scrapes.series:,} series", total=options.before + options.ticks)
            for number in range(options.before + options.ticks):
                batches = scrapes.tick(number)
                started = time.perf_counter()
                list(writers.map(store.write, batches))
                wrote = time.perf_counter()
                if number >= options.before:
                    ingest_s.append(wrote - started)
                    at_ms = START_MS + (number + 1) * TICK_MS
                    for query in pack:
                        began = time.perf_counter()
                        engine.instant(query, at_ms)
                        if number > options.before:
                            slowest[query] = max(slowest.get(query, 0.0), time.perf_counter() - began)
                    rules_s.append(time.perf_counter() - wrote)
                progress.advance(bar)
            seen = engine.instant("count(up)", at_ms).value.values[0]
            assert seen == len(batches), (seen, len(batches))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    interval_s = TICK_MS / 1000
    first_s, *rules_s = rules_s
    print(f"{scrapes.series:,} series in {len(batches):,} targets, every {interval_s:g} s; {len(pack)} rules")
    for name, laps in (("ingest of an interval", ingest_s), ("one pass of the rules", rules_s)):
        low, middle, high = min(laps), statistics.median(laps), max(laps)
        print(f"{name:<24}{low:8.2f} s min {middle:8.2f} s median {high:8.2f} s max")
    print(f"{'the first pass':<24}{first_s:8.2f} s")
    for query, seconds in sorted(slowest.items(), key=lambda item: -item[1])[:3]:
        print(f"  slowest rule {seconds:.2f} s: {query[:90]}")
    found = {
        "ingest_share": round(statistics.median(ingest_s) / interval_s, 3),
        "ingest_share_worst": round(max(ingest_s) / interval_s, 3),
        "rules_share": round(statistics.median(rules_s) / interval_s, 3),
        "rules_share_worst": round(max(rules_s) / interval_s, 3),
        "rules_share_first": round(first_s / interval_s, 3),
        "rss_mb_max": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "series": scrapes.series,
        "rules": len(pack),
    }
    print(json.dumps(found))
    if max(ingest_s) + max(rules_s) > interval_s:
        raise SystemExit("an interval's work did not fit into it")


if __name__ == "__main__":
    main()
