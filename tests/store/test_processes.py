"""Real processes: one reads while another writes and folds; a writer is killed at any moment and nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ninesight_store import LocalStore, StoreSettings

WRITER = Path(__file__).with_name("writer_process.py")
ROUNDS = int(os.environ.get("NINESIGHT_STORE_KILLS", "4"))
SERIES, POINTS = 40, 3
EVERYTHING = (0, 2**50)


def start(url, first, ticks, *, seal_every=0, wait_every=0):
    command = [sys.executable, str(WRITER), url, str(first), str(ticks), str(seal_every), str(wait_every)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def value_of(tick, series):
    """What the writer process writes, from the tick and the series alone."""
    return tick * 1000.0 + series + 0.125


def check(store, acknowledged):
    """Compare every sample with the truth; return the number of whole ticks, which must reach `acknowledged`."""
    columns = store.select([], *EVERYTHING)  # Floats and points in one snapshot.
    if not columns.labels:
        assert acknowledged == 0
        return 0
    lengths = np.diff(columns.offsets)[POINTS:]
    ticks = int(lengths[0])
    assert (lengths == ticks).all(), "a tick is torn"
    assert ticks >= acknowledged, f"{acknowledged} ticks were acknowledged, {ticks} are there"
    series = np.array([int(dict(labels)["i"]) for labels in columns.labels[POINTS:]])
    assert len(series) == SERIES
    times = columns.timestamps.reshape(SERIES, ticks)
    assert (times == np.arange(ticks) * 60_000).all()
    want = np.arange(ticks) * 1000.0 + series[:, None] + 0.125
    assert (columns.values.reshape(SERIES, ticks) == want).all()
    points = columns.histograms
    assert len(points) == ticks * POINTS, "floats and histograms of one batch must live or die together"
    assert (points.count.reshape(POINTS, ticks) == np.arange(ticks) + 1).all()
    assert (points.positive_count.reshape(POINTS, ticks, 2)[:, :, 1] == np.arange(ticks)).all()
    return ticks


def acknowledged_by(process, wait_s):
    """Read acknowledgements for a while, kill the process with SIGKILL, and return the last one."""
    buffer = b""
    deadline = time.monotonic() + wait_s
    while (left := deadline - time.monotonic()) > 0:
        if select.select([process.stdout], [], [], left)[0]:
            piece = process.stdout.read(65_536)
            if not piece:
                break
            buffer += piece
    process.send_signal(signal.SIGKILL)
    buffer += process.stdout.read()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    lines = buffer[: buffer.rfind(b"\n") + 1].split()
    return int(lines[-1]) if lines else None


@pytest.mark.parametrize("seal_every", [0, 15])
def test_a_killed_writer_loses_nothing_it_acknowledged(url, seal_every):
    """kill -9 during ingest, folding, sealing and merging: reopened, every acknowledged sample is there, bit by bit."""
    seed = int(os.environ.get("NINESIGHT_STORE_SEED", "20261123"))
    dice = random.Random(seed + seal_every)
    done = 0
    for round_number in range(ROUNDS):
        process = start(url, done, 1_000_000, seal_every=seal_every)
        assert select.select([process.stdout], [], [], 60)[0], "the writer did not start"
        last = acknowledged_by(process, dice.uniform(0.0, 0.6))
        with LocalStore(url) as store:
            acknowledged = done if last is None else last + 1
            done = check(store, acknowledged)
            assert done <= acknowledged + 1, f"seed {seed} round {round_number}: more than one tick unasked"
    assert done > ROUNDS


def test_another_process_reads_while_one_writes(url):
    """A read-only store follows a writing process: new series, new samples, seals; every value is checked."""
    process = start(url, 0, 200, seal_every=60, wait_every=20)
    try:
        assert select.select([process.stdout], [], [], 60)[0], "the writer did not start"
        seen = []
        with LocalStore(url, read_only=True) as store:
            while process.poll() is None:
                seen.append(check(store, seen[-1] if seen else 0))
                # The writer goes on when it was looked at.
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(b".")
                os.read(process.stdout.fileno(), 65_536)
            assert check(store, 200) == 200
            assert store.stat().sealed_samples > 0
        assert process.returncode == 0
        assert len(set(seen)) > 3, "the reader saw the data grow"
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_two_processes_write_and_a_third_seals(url):
    """Writers of two processes and a sealing one take turns; in the end every sample is there."""
    with LocalStore(url, StoreSettings(seal_after_ms=0)) as store:
        writers = [start(url, first, 100) for first in (0, 100)]
        try:
            while any(writer.poll() is None for writer in writers):
                store.fold(fresh=True)
                store.seal(300 * 60_000)
                for writer in writers:
                    if select.select([writer.stdout], [], [], 0.01)[0]:
                        os.read(writer.stdout.fileno(), 65_536)
            assert [writer.returncode for writer in writers] == [0, 0]
        finally:
            for writer in writers:
                writer.kill()
                writer.wait()
                writer.stdin.close()
                writer.stdout.close()
        store.seal(300 * 60_000)
        store.merge(600 * 60_000)
        assert check(store, 200) == 200
