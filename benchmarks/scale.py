"""100,000 active series on one machine: does an interval's ingest, and a pass of a rule pack, stay inside it?

A fleet with real label sets (fleet/data.py), one batch a scrape target (about 47 series) every 10 s, written by a few
threads as a collector does; every batch is on the disk when its write returns. After every interval the whole
rule pack (fleet/questions.py: public packs and SLA rules) is asked once of the engine, which must see the new samples.
Once a minute of the fleet's time maintenance has its turn, as in a running suite. Printed are seconds used over the
interval, and the peak of memory (resident set). The first pass reads everything anew, as after a start; it is told apart.

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
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from fleet.data import START_MS, TICK_MS, Fleet
from fleet.questions import questions
from ninesight_query import LocalEngine
from ninesight_store import Batch, LocalStore, Maintenance, SeriesTable, StoreSettings
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


@dataclass
class Laps:
    """Seconds of each part of the measured intervals."""

    ingest: list[float] = field(default_factory=list)
    rules: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=lambda: [0.0])
    slowest: dict[str, float] = field(default_factory=dict)
    rows: int = 0
    """Rows that are not sealed at the end."""


def measured(folder: Path, scrapes: Scrapes, pack: list[str], options: argparse.Namespace) -> Laps:
    """Write intervals, and ask the rules after those that are measured."""
    laps, clock, total = Laps(), [START_MS], options.before + options.ticks
    with (
        LocalStore(folder / "ninesight.db", StoreSettings(), now_ms=lambda: clock[0]) as store,
        ThreadPoolExecutor(options.writers) as writers,
        Progress(transient=True) as progress,
    ):
        engine, maintenance = LocalEngine(store), Maintenance(store)
        bar = progress.add_task(f"{scrapes.series:,} series", total=total)
        for number in range(total):
            batches = scrapes.tick(number)
            clock[0] = START_MS + (number + 1) * TICK_MS
            started = time.perf_counter()
            list(writers.map(store.write, batches))
            wrote = time.perf_counter()
            if options.turn_every and (number + 1) % options.turn_every == 0:
                maintenance.turn()
                laps.turns.append(time.perf_counter() - wrote)
            if number >= options.before:
                laps.ingest.append(wrote - started)
                asked = time.perf_counter()
                for query in pack:
                    began = time.perf_counter()
                    engine.instant(query, clock[0])
                    if number > options.before:
                        took = time.perf_counter() - began
                        laps.slowest[query] = max(laps.slowest.get(query, 0.0), took)
                laps.rules.append(time.perf_counter() - asked)
            progress.advance(bar)
        laps.rows = store.stat().hot_rows
        seen = engine.instant("count(up)", clock[0]).value.values[0]
        assert seen == len(batches), (seen, len(batches))
    return laps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument(
        "--before", type=int, default=60, help="intervals written before anything is measured"
    )
    parser.add_argument("--ticks", type=int, default=20, help="measured intervals")
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument(
        "--turn-every", type=int, default=6, help="intervals between turns of maintenance; 0: there are none"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the database is written (default: the temporary folder)"
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ninesight-scale-", dir=options.folder))
    scrapes, pack = Scrapes(options.series), rules()
    try:
        laps = measured(folder, scrapes, pack, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    interval_s = TICK_MS / 1000
    first_s, *rules_s = laps.rules
    targets = len(scrapes.tick(0))
    print(f"{scrapes.series:,} series in {targets:,} targets, every {interval_s:g} s; {len(pack)} rules")
    for name, taken in (("ingest of an interval", laps.ingest), ("one pass of the rules", rules_s)):
        low, middle, high = min(taken), statistics.median(taken), max(taken)
        print(f"{name:<24}{low:8.2f} s min {middle:8.2f} s median {high:8.2f} s max")
    print(f"{'the first pass':<24}{first_s:8.2f} s")
    print(f"{'a turn of maintenance':<24}{max(laps.turns):8.2f} s at most; {laps.rows:,} rows not sealed")
    for query, seconds in sorted(laps.slowest.items(), key=lambda item: -item[1])[:3]:
        print(f"  slowest rule {seconds:.2f} s: {query[:90]}")
    found = {
        "ingest_share": round(statistics.median(laps.ingest) / interval_s, 3),
        "ingest_share_worst": round(max(laps.ingest) / interval_s, 3),
        "rules_share": round(statistics.median(rules_s) / interval_s, 3),
        "rules_share_worst": round(max(rules_s) / interval_s, 3),
        "rules_share_first": round(first_s / interval_s, 3),
        "maintenance_share_worst": round(max(laps.turns) / interval_s, 3),
        "rss_mb_max": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "series": scrapes.series,
        "rules": len(pack),
    }
    print(json.dumps(found))
    if max(laps.ingest) + max(rules_s) > interval_s:
        raise SystemExit("an interval's work did not fit into it")


if __name__ == "__main__":
    main()
