"""PromQL over HTTP beside a real Prometheus on the same data: the pages', the analyses' and rule packs' queries.

Both servers hold the same fleet (5,000 series, 24 h, 10 s apart, native histograms beside them) and answer on
127.0.0.1. Each answer is compared before anything is timed; then both are asked in turn. The first answer of
each is printed too (`first`): what an empty cache costs.

    python benchmarks/query.py --series 5000 --hours 24 --runs 5
    python benchmarks/query.py --folder /tmp/fleet --only 'SLA|rule'    # keeps the data for the next run
    python benchmarks/query.py --days 30                                # long windows, fewer series
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from fleet import answers
from fleet.data import FIRST_BUCKET, HOUR_MS, START_MS, Fleet
from fleet.prometheus import RemoteWriter, histogram_messages, prometheus_binary, sample_messages, settled
from fleet.questions import Question, long_questions, questions
from ninesight_query.testing_servers import free_port, running_prometheus
from ninesight_store import LocalStore, StoreSettings
from rich.progress import Progress

_SERVER = ["--query.timeout=10m"]
_LEAST_S = 0.3
"""Who is answered within a millisecond is asked for so long: a handful of such times says little."""
_RUNS_MAX = 300
_SLICE = 180
"""Ticks sent at a time: half an hour, so that no series runs far ahead of the others."""


def fill(folder: Path, series: int, hours: int, prometheus: str, *, live: bool) -> None:
    """Write the same fleet into both; `live`: tick by tick and with histograms, else hour by hour without."""
    fleet = Fleet(series)
    writer = RemoteWriter(prometheus)
    with (
        LocalStore(folder / "ninesight.db", StoreSettings()) as store,
        Progress(transient=True) as progress,
    ):
        bar = progress.add_task(f"{fleet.series} series, {hours} h, into both", total=hours)
        for hour in fleet.hours(hours):
            for batch in hour.batches() if live else (hour.whole(),):
                store.write(batch)
            store.seal(START_MS + (hour.number + 1) * HOUR_MS)
            times, at = hour.times, hour.target_times[:, fleet.histogram_target]
            for low in range(0, len(times), _SLICE):
                cut = slice(low, low + _SLICE)
                writer.send(sample_messages(fleet.labels, times[cut], hour.values[cut]))
                if not live:
                    continue
                points, sums = hour.points[cut], hour.sums[cut]
                writer.send(
                    histogram_messages(fleet.histogram_labels, at[cut], points, sums, FIRST_BUCKET, 3)
                )
            progress.advance(bar)
        # As it would be at this hour: all but the last hours sealed, closed blocks merged.
        store.merge(START_MS + hours * HOUR_MS)
    writer.close()
    settled(prometheus)


@contextlib.contextmanager
def serving(path: Path, now_ms: int) -> Iterator[str]:
    """Run our API in a process of its own."""
    port = free_port()
    command = [
        sys.executable,
        str(Path(__file__).parent / "fleet" / "serve.py"),
        str(path),
        str(port),
        str(now_ms),
    ]
    process = subprocess.Popen(command)
    address = f"http://127.0.0.1:{port}"
    try:
        _await(lambda: _ask(Client(address), "/-/ready", {}), process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def _await(call: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            call()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


class Client:
    """One kept connection."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=300)


def _ask(client: Client, path: str, fields: dict[str, str]) -> bytes:
    client.connection.request("GET", f"{path}?{urlencode(fields)}" if fields else path)
    return client.connection.getresponse().read()


def _timed(client: Client, path: str, fields: dict[str, str]) -> tuple[float, bytes]:
    started = time.perf_counter()
    body = _ask(client, path, fields)
    return (time.perf_counter() - started) * 1000, body


@dataclass
class Lap:
    """One question, asked of both."""

    name: str
    ours_ms: list[float]
    theirs_ms: list[float]
    first_ours_ms: float
    first_theirs_ms: float
    points: int
    differs: str

    @property
    def ratio(self) -> float:
        """Ours over theirs, by the medians."""
        return statistics.median(self.ours_ms) / statistics.median(self.theirs_ms)

    @property
    def first_ratio(self) -> float:
        """The same of the first answers."""
        return self.first_ours_ms / self.first_theirs_ms


def measure(question: Question, ours: Client, theirs: Client, end_ms: int, runs: int) -> Lap:
    """Compare the answers, then ask both in turn."""
    fields = {"query": question.query}
    path = "/api/v1/query"
    if question.span_s:
        path = "/api/v1/query_range"
        # Not before every window is full: at the first sample of a counter Prometheus 2 extrapolates otherwise.
        first_s = START_MS // 1000 + 2 * question.step_s + question.reach_s + 600
        start_s = max(end_ms // 1000 - question.span_s, first_s)
        # On multiples of the step, as Grafana and the pages ask.
        fields |= {"start": str(-(-start_s // question.step_s) * question.step_s), "end": str(end_ms // 1000)}
        fields |= {"step": str(question.step_s)}
    else:
        fields |= {"time": str(end_ms // 1000)}
    peer_fields = fields | {"query": question.peer_query}
    first_ours, mine = _timed(ours, path, fields)
    first_theirs, other = _timed(theirs, path, peer_fields)
    differs, points = answers.difference(mine, other, question.tolerance)
    lap = Lap(question.name, [], [], first_ours, first_theirs, points, differs)
    until_s = time.perf_counter() + _LEAST_S
    run = 0
    while run < runs or (run < _RUNS_MAX and time.perf_counter() < until_s):
        run += 1
        pair = [(ours, fields, lap.ours_ms), (theirs, peer_fields, lap.theirs_ms)]
        for client, asked, into in pair if run % 2 else pair[::-1]:
            into.append(_timed(client, path, asked)[0])
    return lap


def report(laps: list[Lap], options: argparse.Namespace) -> None:
    """Print a table and one line of JSON."""

    def spread(laps_ms: list[float]) -> str:
        return f"{min(laps_ms):8.2f}{statistics.median(laps_ms):9.2f}{max(laps_ms):9.2f}"

    print(
        f"{'':<34}{'ours ms':>12}{'':>14}{'Prometheus ms':>19}{'':>7}{'ratio':>8}{'first':>7}{'points':>10}"
    )
    print(f"{'':<34}{'min':>8}{'median':>9}{'max':>9}{'min':>8}{'median':>9}{'max':>9}")
    for lap in laps:
        note = f"  DIFFERS: {lap.differs}" if lap.differs else ""
        print(
            f"{lap.name:<34}{spread(lap.ours_ms)}{spread(lap.theirs_ms)}{lap.ratio:8.2f}{lap.first_ratio:7.2f}"
            f"{lap.points:10,}{note}"
        )
    ratios = [lap.ratio for lap in laps]
    firsts = [lap.first_ratio for lap in laps]
    long = {"long_window_ratio": round(statistics.median(ratios), 3)} if options.days else {}
    long |= {"long_window_first_ratio": round(statistics.median(firsts), 3)} if options.days else {}
    worst = max(laps, key=lambda lap: lap.ratio)
    print(
        json.dumps(
            {
                "median_ratio": round(statistics.median(ratios), 3),
                "worst_ratio": round(worst.ratio, 3),
                "worst_query": worst.name,
                "above_one": sum(ratio > 1 for ratio in ratios),
                "first_median_ratio": round(statistics.median(firsts), 3),
                **long,
                "queries": len(laps),
                "different_answers": sum(bool(lap.differs) for lap in laps),
                "series": options.series,
                "hours": options.hours,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, help="default 5000, with --days 100")
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument(
        "--days", type=int, default=0, help="ask for so many days instead, 1,000 points drawn"
    )
    parser.add_argument("--runs", type=int, default=5, help="timed answers of each server a query, at least")
    parser.add_argument("--only", default="", help="a regular expression over the queries' names")
    parser.add_argument("--folder", type=Path, help="keep the data here, and use it again")
    options = parser.parse_args()
    options.hours = options.days * 24 or options.hours
    options.series = options.series or (100 if options.days else 5000)
    binary = prometheus_binary()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {binary}")
    kept = options.folder is not None
    folder = options.folder or Path(tempfile.mkdtemp(prefix="ninesight-query-"))
    folder.mkdir(parents=True, exist_ok=True)
    end_ms = START_MS + options.hours * HOUR_MS
    stamp, want = folder / "filled.json", json.dumps([options.series, options.hours])
    try:
        with running_prometheus(binary, folder / "prometheus", options=_SERVER) as theirs:
            if not stamp.exists():
                fill(folder, options.series, options.hours, theirs, live=not options.days)
                stamp.write_text(want)
            elif stamp.read_text() != want:
                raise SystemExit(
                    f"{folder} holds other data ([series, hours] = {stamp.read_text()}); name another"
                )
            known = long_questions(options.days) if options.days else questions(options.hours)
            asked = [each for each in known if re.search(options.only, each.name)]
            with serving(folder / "ninesight.db", end_ms) as ours, Progress(transient=True) as progress:
                bar = progress.add_task("asking", total=len(asked))
                laps, mine, other = [], Client(ours), Client(theirs)
                for question in asked:
                    laps.append(measure(question, mine, other, end_ms, options.runs))
                    progress.advance(bar)
        report(laps, options)
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    if any(lap.differs for lap in laps):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
