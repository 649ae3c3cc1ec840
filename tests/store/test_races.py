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

from .races import (
    BEGUN,
    DONE,
    ENDED,
    HOUR_MS,
    OLDEST,
    READS,
    RETAIN_AT,
    SETTINGS,
    TURNS,
    Counters,
    Plan,
    look,
    upkeep,
)

SEED = int(os.environ.get("NINESIGHT_STORE_SEED", "20261125"))
ROUNDS = int(os.environ.get("NINESIGHT_STORE_RACES", "1"))
THREADS = 3
LOOKS_EVERY, TURNS_EVERY = 6, 20
PATIENCE_S = 120


def killed_upkeep(command, counters, dice, kills):
    """Let a process of its own do the upkeep, and kill it within its first turn or after it, again and again."""
    while not counters[ENDED]:
        enough = counters[TURNS] + (1 + len(kills) % 2)
        with subprocess.Popen([*command, "upkeep"]) as process:
            while counters[TURNS] < enough and not counters[ENDED]:
                time.sleep(0.001)
            # Any moment will do: this is when it dies, not what is waited for.
            time.sleep(dice.uniform(0, 0.2))
            process.kill()
        kills.append(counters[TURNS])


def write(store, plan, counters):
    """Write the plan, with old samples for retention to drop; now and then wait until all others went on."""
    for at, batch in enumerate(plan.batches):
        store.write(
            batch_of({"old": [(OLDEST - 40 * HOUR_MS + at, 1.0)], f"old{at}": [(OLDEST - HOUR_MS, 1.0)]})
        )
        counters[BEGUN] = at + 1
        store.write(batch)
        counters[DONE] = at + 1
        watched = [READS + reader for reader in range(THREADS + 1)] if at % LOOKS_EVERY == 0 else []
        if at % TURNS_EVERY == TURNS_EVERY - 1:
            watched.append(TURNS)
        before = {one: counters[one] for one in watched}
        deadline = time.monotonic() + PATIENCE_S
        while any(counters[one] <= count for one, count in before.items()):
            assert time.monotonic() < deadline, f"of {before} some do not go on any more"
            time.sleep(0.001)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("keeping", ["thread", "killed processes"])
@pytest.mark.parametrize("number", range(ROUNDS))
def test_every_answer_is_one_of_the_models(tmp_path, number, keeping):
    """Threads and a second process read while one writes and one seals, merges and drops: no answer mixes two moments.

    Upkeep runs in a thread, or in processes that are killed one after the other.
    """
    seed = SEED + 500 + number
    plan, counters = Plan(seed), Counters(tmp_path / "counters")
    results, kills = [], []
    with LocalStore(tmp_path / "store.db", SETTINGS) as store:
        script, path = Path(__file__).with_name("races.py"), tmp_path / "store.db"
        command = [sys.executable, str(script), str(path), str(tmp_path / "counters"), str(seed)]
        other = subprocess.Popen([*command, "read"], stdout=subprocess.PIPE, text=True)
        readers = [
            threading.Thread(
                target=lambda reader=reader: results.append(
                    look(store, plan, counters, reader, random.Random(reader))
                )
            )
            for reader in range(1, THREADS + 1)
        ]
        keeper = threading.Thread(target=upkeep, args=(store, plan, counters))
        if keeping != "thread":
            keeper = threading.Thread(
                target=killed_upkeep, args=(command, counters, random.Random(seed), kills)
            )
        for thread in [*readers, keeper]:
            thread.start()
        try:
            write(store, plan, counters)
        finally:
            counters[ENDED] = 1
            for thread in [*readers, keeper]:
                thread.join()
            said = other.communicate(timeout=PATIENCE_S)[0]
        store.retain(RETAIN_AT)
        model = MemoryStore()
        for batch in plan.batches:
            model.write(batch)
        assert bits_of(store.select([], -(2**50), 2**50)) == bits_of(model.select([], -(2**50), 2**50))
        stat = store.stat()
    counters.close()
    wrong = [one for _, found in results for one in found]
    assert not wrong, f"NINESIGHT_STORE_SEED={seed - 500}: {wrong[:5]}"
    assert said.endswith(" []\n"), f"the other process, NINESIGHT_STORE_SEED={seed - 500}: {said[:2000]}"
    assert min(right for right, _ in results) >= len(plan.batches) // LOOKS_EVERY
    assert stat.chunks, "something was sealed"
    assert stat.oldest_ms >= OLDEST, "what is past retention was dropped"
    assert kills or keeping == "thread"
    assert verify(tmp_path / "store.db").sound
    sys.stdout.write(
        f"{sum(right for right, _ in results)} answers of threads, {said.split()[0]} of a process\n"
    )
