"""Reopening after kill -9: how long a store of a size takes until it answers and takes samples again.

A store is filled by ingest and sealing, then grown to its size by copies of its sealed hours, each shifted in time:
rows, layouts, checksums and the kept index are what ingest would have left. A process that writes to it is killed
with SIGKILL, and a fresh one is timed: from opening the store, recovery of the write-ahead log included, to the answer
of an instant query and on to an acknowledged write. Then the same with nothing of the file in the page cache
(`cold`), and with no kept index (`bare`: everything is built from the tables).

    python benchmarks/reopen.py --gb 0.1 0.4
    python benchmarks/reopen.py --gb 1 10 --series 50000 --folder /somewhere/with/room
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from ninesight_store import Batch, LocalStore, SeriesTable, StoreSettings, labels_of, verify
from ninesight_store.checks import chunk_sums, head_sum
from ninesight_store.codec import decode_array, encode_array
from ninesight_store.database import Database
from ninesight_store.schema import chunks, rollups

HOUR_MS = 3_600_000
START_MS = 1_763_856_000_000 // HOUR_MS * HOUR_MS
SETTINGS = StoreSettings(seal_after_ms=0, merge_hours=0)
INGESTED_GB_MAX = 0.2
"""What is larger is made by copies."""
TOGETHER = 500

SHARED = """
import os, sys, time
from pathlib import Path
import numpy as np
from ninesight_query import LocalEngine
from ninesight_store import Batch, LocalStore, SeriesTable, StoreSettings, labels_of
path, last, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def table_of(count):
    return SeriesTable(tuple(
        labels_of(f"metric_{i % 50}", {"instance": f"host-{i // 50}", "job": "node"}) for i in range(count)))
def batch_at(table, at_ms):
    rows = np.arange(len(table), dtype=np.int32)
    return Batch(table, rows, np.full(len(rows), at_ms, np.int64), np.random.lognormal(0, 1, len(rows)))
"""
WRITER = (
    SHARED
    + """
store, table = LocalStore(path, StoreSettings(seal_after_ms=0)), table_of(count)
while True:
    last += 15_000
    store.write(batch_at(table, last))
    os.write(1, b"%d\\n" % last)
"""
)
READER = (
    SHARED
    + """
import json
batch, before = batch_at(table_of(count), last + 15_000), time.process_time()
laps = [time.perf_counter()]
store = LocalStore(path, StoreSettings(seal_after_ms=0))
laps.append(time.perf_counter())
answer = LocalEngine(store).instant(f'max(timestamp(metric_7{{instance="host-7"}}))', last)
laps.append(time.perf_counter())
store.write(batch)
laps.append(time.perf_counter())
busy = time.process_time() - before
assert float(answer.value.values[0]) == last / 1000, "the last acknowledged sample is there"
counters = store.stat().counters
assert (counters.get("index_loads", 0), counters.get("index_rebuilds", 0)) == (sys.argv[4] == "kept", sys.argv[4] == "bare")
print(json.dumps([laps[1] - laps[0], laps[2] - laps[0], laps[3] - laps[0], busy]))
"""
)


class Lap(NamedTuple):
    """Seconds from the beginning of opening, and those of the processor in all."""

    opened: float
    answered: float
    written: float
    cpu: float


def fill(path: Path, gigabytes: float, options: argparse.Namespace) -> int:
    """Fill a store by ingest and sealing until it has this size; return the last time written."""
    rng = np.random.default_rng(options.seed)
    names = (
        labels_of(f"metric_{i % 50}", {"instance": f"host-{i // 50}", "job": "node"})
        for i in range(options.series)
    )
    table = SeriesTable(tuple(names))
    rows = np.arange(len(table), dtype=np.int32)
    at_ms = START_MS
    with LocalStore(path, SETTINGS) as store:
        while path.stat().st_size < gigabytes * 1e9:
            for _ in range(60):
                times = np.full(len(rows), at_ms, np.int64)
                store.write(Batch(table, rows, times, rng.lognormal(0, 1, len(rows))))
                at_ms += 60_000
            store.seal(at_ms)
        store.keep_index()
    return at_ms


def grow(path: Path, gigabytes: float, end_ms: int) -> int:
    """Add copies of all chunks, each a whole span later than the one before; return the last time there is."""
    span = end_ms - START_MS
    database = Database(path, SETTINGS)
    with database.reading() as connection:
        first = connection.execute(sa.select(chunks).order_by(chunks.c.id)).mappings().all()
        # A sample a minute is too few for rollups: there are none to copy.
        assert not connection.execute(sa.select(sa.func.count()).select_from(rollups)).scalar()
    copy = 0
    while path.stat().st_size < gigabytes * 1e9:
        copy += 1
        moved: dict[bytes, bytes] = {}
        for at in range(0, len(first), TOGETHER):
            rows = [shifted(row, copy * span, moved) for row in first[at : at + TOGETHER]]
            with database.writing() as connection:
                connection.execute(sa.insert(chunks), rows)
    database.close()
    with LocalStore(path, SETTINGS) as store:
        store.keep_index()
    return end_ms + copy * span


def shifted(row: sa.RowMapping, by_ms: int, moved: dict[bytes, bytes]) -> dict[str, object]:
    """Return a chunk as it would be, had its samples come later; `moved` remembers columns of timestamps."""
    if row["times"] not in moved:
        times = decode_array(row["times"], row["codec"], np.int64)
        moved[row["times"]] = encode_array(times + by_ms, row["codec"])
    head = {name: row[name] for name in ("kind", "layout_id", "count", "codec")}
    head |= {"start_ms": row["start_ms"] + by_ms, "end_ms": row["end_ms"] + by_ms}
    times = moved[row["times"]]
    sums = chunk_sums(head_sum(times, row["ends"], **head), row["checksums"][4:])
    return {**{name: row[name] for name in row if name != "id"}, **head, "times": times, "checksums": sums}


def killed_writer(path: Path, at_ms: int, options: argparse.Namespace) -> int:
    """Kill a process after many acknowledged batches; return the time of the last of them."""
    command = [sys.executable, "-c", WRITER, str(path), str(at_ms), str(options.series)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        said = b""
        while said.count(b"\n") < options.batches:
            assert select.select([process.stdout], [], [], 120)[0], "the writer stopped"
            piece = process.stdout.read(65_536)
            assert piece, "the writer ended"
            said += piece
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read()
    return int(said[: said.rfind(b"\n")].split()[-1])


def reopened(path: Path, last: int, options: argparse.Namespace, index: str) -> Lap:
    """Time a fresh process; it leaves one batch more."""
    command = [sys.executable, "-c", READER, str(path), str(last), str(options.series), index]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Lap(*json.loads(done.stdout))


def forgotten(path: Path) -> None:
    """Let the system drop what it has of the file in memory."""
    for name in (path, path.with_name(path.name + "-wal")):
        with name.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rounds(path: Path, last: int, options: argparse.Namespace) -> Iterator[tuple[str, Lap, int]]:
    """Kill and reopen; give the manner, the times and the bytes of the log that was left."""
    for manner in ("warm", "cold", "bare"):
        for _ in range(options.rounds):
            if manner == "bare":
                with closing(connect(path)) as raw, raw:
                    raw.execute("DELETE FROM store_index")
            last = killed_writer(path, last, options)
            log = path.with_name(path.name + "-wal").stat().st_size
            if manner == "cold":
                forgotten(path)
            yield manner, reopened(path, last, options, "bare" if manner == "bare" else "kept"), log
            last += 15_000


def reopening(path: Path, gigabytes: float, options: argparse.Namespace) -> dict[str, float]:
    """Make a store of a size, kill and reopen; print a line a manner; return the figures."""
    last = fill(path, min(gigabytes, INGESTED_GB_MAX), options)
    last = grow(path, gigabytes, last)
    size = path.stat().st_size / 1e9
    with closing(connect(path)) as raw:
        rows = raw.execute("SELECT count(*) FROM store_chunks").fetchone()[0]
    laps: dict[str, list[Lap]] = {}
    log = 0
    for manner, lap, left in rounds(path, last, options):
        laps.setdefault(manner, []).append(lap)
        log = max(log, left)
    figures: dict[str, float] = {"file_gb": round(size, 2), "chunks": rows, "log_mb": round(log / 1e6, 1)}
    for manner, found in laps.items():
        middle = Lap(*map(statistics.median, zip(*found, strict=True)))
        worst = max(lap.written for lap in found)
        print(
            f"{size:>7.2f}{rows:>9}{log / 1e6:>8.0f}{manner:>7}{middle.opened:>9.3f}{middle.answered:>10.3f}"
            f"{middle.written:>9.3f}{worst:>9.3f}{middle.cpu:>9.3f}",
            flush=True,
        )
        figures |= {f"{manner}_{name}_s": round(value, 3) for name, value in middle._asdict().items()}
        figures[f"{manner}_worst_s"] = round(worst, 3)
    if options.verify:
        assert verify(path).sound
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, nargs="+", default=[0.05, 0.2])
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=100, help="acknowledged before the kill, at least")
    parser.add_argument("--rounds", type=int, default=3, help="kills a size and manner")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verify", action="store_true", help="check every byte of each store in the end")
    parser.add_argument(
        "--folder", type=Path, help="where the databases are written (default: the temporary folder)"
    )
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(
        f"{'GB':>7}{'chunks':>9}{'log MB':>8}{'':>7}{'open s':>9}{'answer s':>10}{'write s':>9}{'worst s':>9}{'CPU s':>9}"
    )
    folder = Path(tempfile.mkdtemp(prefix="ninesight-reopen-", dir=options.folder))
    sizes = []
    try:
        for gigabytes in options.gb:
            path = folder / "reopen.db"
            sizes.append(reopening(path, gigabytes, options))
            for name in folder.iterdir():
                name.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    largest = max(sizes, key=lambda one: one["file_gb"])
    print(json.dumps({"promise": "reopening after kill -9", "sizes": sizes, "largest": largest}))


if __name__ == "__main__":
    main()
