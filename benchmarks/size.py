"""Bytes a sample at rest: ours beside a real Prometheus' TSDB on the same data.

The workload of ingest.py (5,000 series, 10 s apart; its histograms are left out). Ours: every hour sealed, closed blocks merged,
the file's pages in use, index and series included. Prometheus: the same samples by remote write, then a snapshot,
which puts the head into blocks as well; chunks, index and tombstones included, no write-ahead log.

    python benchmarks/size.py --hours 24
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
from fleet.prometheus import RemoteWriter, prometheus_binary, sample_messages, settled
from ingest import HOUR_MS, SERIES, START_MS, Workload
from ninesight_query.testing_servers import running_prometheus
from ninesight_store import HistogramColumns, LocalStore, StoreSettings
from rich.progress import Progress


def snapshot_bytes(address: str, folder: Path) -> int:
    """Make Prometheus write everything into blocks, and return their size."""
    asked = urllib.request.Request(f"{address}/api/v1/admin/tsdb/snapshot", method="POST")
    with urllib.request.urlopen(asked, timeout=600) as reply:
        name = json.load(reply)["data"]["name"]
    blocks = folder / "prometheus" / "tsdb" / "snapshots" / name
    return sum(path.stat().st_size for path in blocks.rglob("*") if path.is_file())


def fill(folder: Path, hours: int, seed: int, address: str) -> tuple[int, int, int, float]:
    """Write the workload into both; return samples, our bytes in use, our payload, our seconds."""
    work = Workload(seed)
    labels, table = work.table.labels[:SERIES], work.table
    writer, spent = RemoteWriter(address), 0.0
    with (
        LocalStore(folder / "ninesight.db", StoreSettings(seal_after_ms=0)) as store,
        Progress(transient=True) as bar,
    ):
        task = bar.add_task(f"{hours} h into both", total=hours)
        for hour in range(hours):
            batches = [replace(batch, histograms=HistogramColumns()) for batch in work.hour(hour)]
            started = time.perf_counter()
            for batch in batches:
                store.write(batch)
            store.seal(START_MS + (hour + 1) * HOUR_MS)
            spent += time.perf_counter() - started
            assert batches[0].series is table
            for low in range(0, len(batches), 180):
                part = batches[low : low + 180]
                times = np.array([batch.timestamps for batch in part])
                writer.send(sample_messages(labels, times, np.array([batch.values for batch in part])))
            bar.advance(task)
        started = time.perf_counter()
        store.merge(START_MS + (hours + 6) * HOUR_MS)
        spent += time.perf_counter() - started
        stat = store.stat(payload=True)
        assert stat.sealed_samples == SERIES * 360 * hours, stat
    writer.close()
    settled(address)
    used = (folder / "ninesight.db").stat().st_size - stat.free_bytes
    return stat.sealed_samples, used, stat.sealed_bytes, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="where the data is written (default: the temporary folder)"
    )
    options = parser.parse_args()
    binary = prometheus_binary()
    folder = Path(tempfile.mkdtemp(prefix="ninesight-size-", dir=options.folder))
    try:
        flags = ["--web.enable-admin-api"]
        with running_prometheus(binary, folder / "prometheus", options=flags) as address:
            samples, used, payload, spent = fill(folder, options.hours, options.seed, address)
            theirs = snapshot_bytes(address, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ours, other = used / samples, theirs / samples
    print(f"{samples:,} samples of {SERIES:,} series over {options.hours} h")
    print(
        f"ours        {used:>14,} bytes in the file's pages   {ours:.2f} a sample ({payload / samples:.2f} payload)"
    )
    print(f"Prometheus  {theirs:>14,} bytes in blocks            {other:.2f} a sample")
    print(f"ours / Prometheus: {ours / other:.2f}")
    found = {
        "bytes_per_sample": round(ours, 3),
        "prometheus_bytes_per_sample": round(other, 3),
        "ratio": round(ours / other, 3),
        "payload_bytes_per_sample": round(payload / samples, 3),
        "hours": options.hours,
        "seconds": round(spent, 1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
