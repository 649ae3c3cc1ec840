"""Remote write: samples per second received (decoded and on the disk) and sent, beside Prometheus on the same requests.

Workload: 5,000 series in 100 scrape targets, one sample each a request, eight labels a series, values as in
benchmarks/ingest.py. The same compressed 1.0 requests are posted one after another over one connection to our
receiver (a process of its own, `synchronous=FULL`) and to a real Prometheus with its remote-write receiver, in turns. An
answer of ours means synced; Prometheus answers once its log is written, not synced. Sending is measured from `write` (cut,
encoded, synced into the queue) until our own receiver has answered for everything, by 2.0 and by 1.0.

    python benchmarks/remote_write.py --requests 60 --rounds 3
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
from ninesight_collector import Counters
from ninesight_collector.config import RemoteWriteConfig
from ninesight_collector.forward import RemoteWriter, SenderSettings
from ninesight_collector.forward.encode import V1Encoder, V2Encoder
from ninesight_collector.forward.outgoing import parts_of
from ninesight_collector.remote_write import ReceiverSettings, routes
from ninesight_collector.remote_write.block import compress
from ninesight_collector.remote_write.request import read_request
from ninesight_collector.remote_write.series import Taker
from ninesight_query.testing_servers import running_prometheus
from ninesight_store import Batch, LocalStore, SeriesTable, labels_of

SERIES, TARGETS, PER_TARGET = 5_000, 100, 50
STEP_MS = 10_000
V1 = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
V2 = {**V1, "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}


def batches(count: int, start_ms: int, seed: int) -> list[Batch]:
    """Return `count` batches of one sample a series, STEP_MS apart."""
    rng = np.random.default_rng(seed)
    table = SeriesTable(
        tuple(
            labels_of(
                f"metric_{s % PER_TARGET}",
                {
                    "instance": f"host-{s // PER_TARGET}:9100",
                    "job": "serving",
                    "model": f"model-{s % 20}",
                    "version": f"v{s % 3}",
                    "namespace": "production",
                    "pod": f"serving-{s // PER_TARGET:04d}-abcde",
                    "region": "eu-central-1",
                },
            )
            for s in range(SERIES)
        )
    )
    rows = np.arange(SERIES, dtype=np.int32)
    levels = rng.uniform(0, 100, SERIES)
    found = []
    for number in range(count):
        levels = np.round(levels + rng.normal(0, 1, SERIES), 2)
        times = start_ms + number * STEP_MS + np.repeat(np.arange(TARGETS) * 37, PER_TARGET)
        found.append(Batch(table, rows, times.astype(np.int64), levels.copy()))
    return found


def bodies(given: Sequence[Batch], version: int) -> list[bytes]:
    """Return the compressed requests of one version, one a batch."""
    rows = np.zeros(SERIES, np.int32)
    encoder = V1Encoder() if version == 1 else V2Encoder()
    found = []
    for batch in given:
        (part,) = parts_of(batch, rows, SERIES, [None] * SERIES, b"bench")
        found.append(compress(encoder.encode(part.outgoing)))
    return found


def decode_s(requests: Sequence[bytes], version: int, now_ms: int) -> list[float]:
    """Return the seconds of decoding each request into a Batch, the series known."""
    from ninesight_collector.remote_write.block import decompress

    taker, found = Taker(ReceiverSettings()), []
    for body in requests:
        began = time.perf_counter()
        taken = taker.take(read_request(decompress(body, 1 << 24, ""), version, 1 << 22), now_ms)
        found.append(time.perf_counter() - began)
        assert len(taken.batch) == SERIES
    return found[1:]


@contextlib.contextmanager
def our_receiver(folder: Path) -> Iterator[str]:
    """Run our receiver over a store in a process of its own; yields its address."""
    folder.mkdir(parents=True)
    command = [sys.executable, __file__, "--serve", str(folder / "own.db")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def serve(path: str) -> None:
    """The receiver's process: print the port, serve until SIGTERM."""
    import uvicorn
    from starlette.applications import Starlette

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    app = Starlette(
        routes=routes(
            LocalStore(f"sqlite:///{path}"), ReceiverSettings(), Counters(), lambda: time.time_ns() // 10**6
        )
    )
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[listener])


def posted_s(address: str, requests: Sequence[bytes], headers: dict[str, str]) -> list[float]:
    """Return the seconds that each request took, answered."""
    found = []
    with httpx2.Client(timeout=60, trust_env=False) as client:
        for body in requests:
            began = time.perf_counter()
            answer = client.post(f"{address}/api/v1/write", content=body, headers=headers)
            found.append(time.perf_counter() - began)
            assert answer.status_code in (200, 204), answer.text
    return found


def sent_s(address: str, folder: Path, given: Sequence[Batch], protocol: str) -> float:
    """Return the seconds from the first `write` until everything was answered for."""
    config = RemoteWriteConfig.model_validate({"url": f"{address}/api/v1/write", "protocol": protocol})
    sender = RemoteWriter(SenderSettings.of(config), folder, Counters(), lambda: time.time_ns() // 10**6)
    sender.start()
    began = time.perf_counter()
    for batch in given:
        sender.write(batch)
    idle = threading.Event()
    while sender._spool.state().records:
        idle.wait(0.002)
    took = time.perf_counter() - began
    assert sender.stop(20)
    return took


def one_round(folder: Path, count: int, seed: int) -> dict[str, float]:
    """Return samples per second of each way, measured one after another."""
    start_ms = time.time_ns() // 10**6 - count * STEP_MS
    given = batches(count, start_ms, seed)
    first, second = bodies(given, 1), bodies(given, 2)
    found = {
        "decode_v1": SERIES / statistics.median(decode_s(first, 1, start_ms + count * STEP_MS)),
        "decode_v2": SERIES / statistics.median(decode_s(second, 2, start_ms + count * STEP_MS)),
    }
    with our_receiver(folder / "v1") as address:
        found["received_v1"] = SERIES / statistics.median(posted_s(address, first, V1)[1:])
    with our_receiver(folder / "v2") as address:
        found["received_v2"] = SERIES / statistics.median(posted_s(address, second, V2)[1:])
    if binary := shutil.which("prometheus"):
        with running_prometheus(binary, folder / "prometheus") as address:
            found["prometheus"] = SERIES / statistics.median(posted_s(address, first, V1)[1:])
    for name, protocol in (("sent_v2", "2.0"), ("sent_v1", "1.0")):
        with our_receiver(folder / name) as address:
            shifted = [replace(batch) for batch in given]
            took = sent_s(address, folder / f"queue-{name}", shifted, protocol)
            found[name] = SERIES * count / took
    return found


def main() -> None:
    """Run the rounds, print each, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=60, help="requests a round (5,000 samples each)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    rounds = []
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(one_round(Path(folder), arguments.requests, number))
        print(f"round {number + 1}: " + ", ".join(f"{k} {v / 1e3:,.0f}k/s" for k, v in rounds[-1].items()))
    said: dict[str, object] = {"benchmark": "remote_write", "series": SERIES, "requests": arguments.requests}
    for name in rounds[0]:
        values = [one[name] for one in rounds]
        said[f"{name}_samples_per_s"] = round(statistics.median(values))
        said[f"{name}_spread"] = [round(min(values)), round(max(values))]
    if "prometheus" in rounds[0]:
        for version in ("v1", "v2"):
            ratios = [one[f"received_{version}"] / one["prometheus"] for one in rounds]
            said[f"received_{version}_to_prometheus"] = round(statistics.median(ratios), 3)
            said[f"received_{version}_to_prometheus_spread"] = [round(min(ratios), 3), round(max(ratios), 3)]
    print(json.dumps(said))


if __name__ == "__main__":
    main()
