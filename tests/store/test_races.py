"""Readers while everything else is at work: every answer is one that the model gives for a moment within the question."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ninesight_store import LocalStore, MemoryStore, verify
from ninesight_store.testing import batch_of, bits_of

from .races import BEGUN, DONE, ENDED, HOUR_MS, OLDEST, READS, RETAIN_AT, SETTINGS, Counters, Plan, look

SEED = int(os.environ.get("NINESIGHT_STORE_SEED", "20261125"))
ROUNDS = int(os.environ.get("NINESIGHT_STORE_RACES", "1"))
THREADS = 3
LOOKS_EVERY = 6
PATIENCE_S = 120


def upkeep(store, plan, counters, ended):
    """Seal, merge and retain without a pause."""
    while not ended.is_set():
        at_ms = plan.times[max(0, counters[DONE] - 1)] + HOUR_MS
        store.seal(at_ms)
        store.merge(at_ms)
        store.retain(RETAIN_AT)


def write(store, plan, counters):
    """Write the plan, with old samples for retention to drop; now and then wait until every reader has looked again."""
    for at, batch in enumerate(plan.batches):
        store.write(
            batch_of({"old": [(OLDEST - 40 * HOUR_MS + at, 1.0)], f"old{at}": [(OLDEST - HOUR_MS, 1.0)]})
        )
        counters[BEGUN] = at + 1
        store.write(batch)
        counters[DONE] = at + 1
        if at % LOOKS_EVERY == 0:
            before = [counters[READS + reader] for reader in range(THREADS + 1)]
            deadline = time.monotonic() + PATIENCE_S
            while any(counters[READS + reader] <= looks for reader, looks in enumerate(before)):
                assert time.monotonic() < deadline, "a reader does not answer any more"
                time.sleep(0.001)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_every_answer_is_one_of_the_models(tmp_path, number):
    """Threads and a second process read while one writes and one seals, merges and drops: no answer mixes two moments."""
    seed = SEED + 500 + number
    plan, counters = Plan(seed), Counters(tmp_path / "counters")
    ended, results = threading.Event(), []
    with LocalStore(tmp_path / "store.db", SETTINGS) as store:
        command = [sys.executable, str(Path(__file__).with_name("races.py"))]
        other = subprocess.Popen(
            [*command, str(tmp_path / "store.db"), str(tmp_path / "counters"), str(seed)],
            stdout=subprocess.PIPE,
            text=True,
        )
        readers = [
            threading.Thread(
                target=lambda reader=reader: results.append(
                    look(store, plan, counters, reader, random.Random(reader))
                )
            )
            for reader in range(1, THREADS + 1)
        ]
        keeper = threading.Thread(target=upkeep, args=(store, plan, counters, ended))
        for thread in [*readers, keeper]:
            thread.start()
        try:
            write(store, plan, counters)
        finally:
            counters[ENDED] = 1
            ended.set()
            for thread in [*readers, keeper]:
                thread.join()
            said = other.communicate(timeout=PATIENCE_S)[0]
        store.retain(RETAIN_AT)
        model = MemoryStore()
        for batch in plan.batches:
            model.write(batch)
        assert bits_of(store.select([], -(2**50), 2**50)) == bits_of(model.select([], -(2**50), 2**50))
        counts = store.stat().counters
    counters.close()
    wrong = [one for _, found in results for one in found]
    assert not wrong, f"NINESIGHT_STORE_SEED={seed - 500}: {wrong[:5]}"
    assert said.endswith(" []\n"), f"the other process, NINESIGHT_STORE_SEED={seed - 500}: {said[:2000]}"
    assert min(right for right, _ in results) >= len(plan.batches) // LOOKS_EVERY
    assert counts["rows_sealed"] > 10
    assert counts["samples_retired"] >= len(plan.batches)
    assert verify(tmp_path / "store.db").sound
    sys.stdout.write(
        f"{sum(right for right, _ in results)} answers of threads, {said.split()[0]} of a process\n"
    )
