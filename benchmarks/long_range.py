"""What a question about 30 days reads: bins of a quarter of an hour against every sample, of one store.

A fleet reports every 10 s, native histograms beside it; hours are sealed and merged as they close. Each question
draws more than 1,000 points, or sums up all of the time, and is asked of the store as a process that has just been
started asks it: once with `rollups` as they are by default, once with all samples, in turn. Answers are compared.
Printed are milliseconds, samples loaded (bins count as one) and bytes read from the file. `query.py --days 30` asks
the same questions beside a real Prometheus.

    python benchmarks/long_range.py --series 100 --days 30 --runs 5
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from fleet.data import HOUR_MS, START_MS, Fleet
from fleet.questions import Question, long_questions
from ninesight_query import EngineSettings, LocalEngine, Matrix, Vector
from ninesight_query.settings import Rollups
from ninesight_store import LocalStore
from rich.progress import Progress

_WAYS = (Rollups.WORTHWHILE, Rollups.NEVER)


def fill(path: Path, series: int, hours: int) -> None:
    """Write, seal and merge the fleet."""
    fleet = Fleet(series)
    with LocalStore(path) as store, Progress(transient=True) as progress:
        bar = progress.add_task(f"{fleet.series} series, {hours} h", total=hours)
        for hour in fleet.hours(hours):
            store.write(replace(hour.whole(), histograms=hour.histograms()))
            store.seal(START_MS + (hour.number + 1) * HOUR_MS)
            progress.advance(bar)
        store.merge(START_MS + hours * HOUR_MS)


def asked(days: int) -> Iterator[Question]:
    """Return the questions of query.py, and one of native histograms."""
    span_s = days * 86_400
    yield from long_questions(days)
    native = "histogram_quantile(0.99, sum by (model) (rate(model_request_duration_seconds[1h])))"
    yield Question(f"native p99 over {days} d", native, span_s, max(900, span_s // 1000 // 900 * 900))


def bytes_read() -> int:
    """What this process has asked the kernel to read so far."""
    path = Path("/proc/self/io")
    if not path.exists():
        return 0
    return int(path.read_text().split("rchar: ")[1].split()[0])


@dataclass
class Lap:
    """One question, asked both ways."""

    question: Question
    ms: dict[Rollups, list[float]] = field(default_factory=lambda: {way: [] for way in _WAYS})
    samples: dict[Rollups, int] = field(default_factory=dict)
    read: dict[Rollups, int] = field(default_factory=dict)
    value: dict[Rollups, Matrix | Vector] = field(default_factory=dict)

    def ask(self, path: Path, way: Rollups, end_ms: int) -> None:
        """Open the store, ask once, close it."""
        question = self.question
        with LocalStore(path, read_only=True) as store:
            # What opening costs is not the question's.
            store.series((), end_ms, end_ms)
            engine = LocalEngine(store, EngineSettings(rollups=way))
            before, started = bytes_read(), time.perf_counter()
            if question.span_s:
                step_ms = question.step_s * 1000
                start_ms = -(-(end_ms - question.span_s * 1000) // step_ms) * step_ms
                answer = engine.range(question.query, start_ms, end_ms, step_ms)
            else:
                answer = engine.instant(question.query, end_ms)
            self.ms[way].append((time.perf_counter() - started) * 1000)
            self.read[way] = bytes_read() - before
        assert isinstance(answer.value, Matrix | Vector)
        assert answer.stats is not None
        self.samples[way], self.value[way] = answer.stats.samples, answer.value

    @property
    def same(self) -> bool:
        """Whether both ways gave the same answer, to nine digits."""
        one, other = (self.value[way] for way in _WAYS)
        if one.labels != other.labels or one.values.shape != other.values.shape:
            return False
        there = [
            each.present if isinstance(each, Matrix) else np.ones(len(each.values), bool)
            for each in (one, other)
        ]
        close = np.isclose(one.values, other.values, rtol=1e-9, atol=0, equal_nan=True)
        return np.array_equal(*there) and bool(close[there[0]].all())

    def ratio(self, of: str) -> float:
        """Bins over all samples: of "ms", "samples" or "read"."""
        numbers = getattr(self, of)
        if of == "ms":
            numbers = {way: statistics.median(laps) for way, laps in numbers.items()}
        return numbers[Rollups.WORTHWHILE] / max(1, numbers[Rollups.NEVER])


def report(laps: list[Lap], options: argparse.Namespace) -> None:
    """Print a table and one line of JSON."""

    def spread(times: list[float]) -> str:
        return f"{min(times):8.1f}{statistics.median(times):9.1f}{max(times):9.1f}"

    print(f"{'':<28}{'bins, ms':>17}{'':>9}{'all samples, ms':>22}{'':>4}{'loaded':>22}{'KB read':>18}")
    for lap in laps:
        few, every = _WAYS
        print(
            f"{lap.question.name:<28}{spread(lap.ms[few])}{spread(lap.ms[every])}"
            f"{lap.samples[few]:>11,}{lap.samples[every]:>11,}"
            f"{lap.read[few] // 1024:>9,}{lap.read[every] // 1024:>9,}{'' if lap.same else '  DIFFERS'}"
        )
    binned = [lap for lap in laps if lap.samples[Rollups.WORTHWHILE] < lap.samples[Rollups.NEVER]]
    worst = max(binned, key=lambda lap: lap.ratio("ms")) if binned else None
    print(
        json.dumps(
            {
                **{
                    f"{of}_ratio": round(statistics.median(lap.ratio(of) for lap in binned), 4)
                    for of in ("ms", "samples", "read")
                },
                "worst_ms_ratio": round(worst.ratio("ms"), 3) if worst else None,
                "worst_query": worst.question.name if worst else None,
                "from_bins": len(binned),
                "queries": len(laps),
                "different_answers": sum(not lap.same for lap in laps),
                "series": options.series,
                "days": options.days,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--runs", type=int, default=5, help="times a question is asked each way")
    parser.add_argument("--folder", type=Path, help="keep the data here, and use it again")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="ninesight-long-range-"))
    folder.mkdir(parents=True, exist_ok=True)
    path, end_ms = folder / f"{options.series}-{options.days}.db", START_MS + options.days * 24 * HOUR_MS
    try:
        if not path.exists():
            fill(path, options.series, options.days * 24)
        laps = [Lap(question) for question in asked(options.days)]
        for lap in laps:
            for run in range(options.runs):
                for way in _WAYS if run % 2 else _WAYS[::-1]:
                    lap.ask(path, way, end_ms)
        report(laps, options)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    if not all(lap.same for lap in laps):
        sys.exit(1)


if __name__ == "__main__":
    main()
