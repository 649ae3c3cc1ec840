"""Readers beside a writer: what each of them may see at any moment, and a process that looks.

    races.py PATH COUNTERS SEED read     reads until the writer has ended; prints how many answers were right
    races.py PATH COUNTERS SEED upkeep   folds, seals, merges and drops until the writer has ended, or until it is killed

A plan is a list of batches and a list of questions. The answers after each batch come from the `MemoryStore`. The
writer counts in shared memory which batches it began and which are acknowledged; an answer is right if it is the
model's after some batch between the last one acknowledged before the question and the last one begun after the answer.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import random
import struct
import sys
from pathlib import Path

from ninesight_store import LocalStore, Matcher, MatchOp, MemoryStore, StoreSettings
from ninesight_store.testing import bits_of

if __package__:
    from .histories import EVER, HOUR_MS, History
else:
    from histories import EVER, HOUR_MS, History

SETTINGS = StoreSettings(seal_after_ms=0, merge_hours=2, retention_ms=10 * HOUR_MS, seal_samples_max=1500)
RETAIN_AT = 9 * HOUR_MS
OLDEST = RETAIN_AT - SETTINGS.retention_ms
"""Retention is asked for at this one time: what the questions ask for is never dropped, what is older always is."""
SAMPLES_MAX = 1000
BEGUN, DONE, ENDED, TURNS, READS = range(5)
"""Numbers in the shared memory: batches, turns of upkeep begun; reads are counted from READS on, one number a reader."""
COUNTERS = 16

QUESTIONS = [
    lambda store: bits_of(store.select([], OLDEST, EVER)),
    lambda store: bits_of(store.select([Matcher("__name__", MatchOp.EQUAL, "h")], OLDEST, EVER)),
    lambda store: bits_of(store.select([Matcher("i", MatchOp.REGEX, "1|3|7")], 2 * HOUR_MS, 9 * HOUR_MS)),
    lambda store: bits_of(store.select([Matcher("__name__", MatchOp.NOT_EQUAL, "m")], OLDEST, 6 * HOUR_MS)),
    lambda store: sorted(repr(entry) for entry in store.metadata()),
    lambda store: repr(store.exemplars([[]], OLDEST, EVER)),
]


class Plan:
    """Batches, the time of upkeep after each, and every right answer."""

    def __init__(self, seed: int, *, answers: bool = True) -> None:
        steps = History(seed, 220).steps
        self.batches = [
            step.batches[0] for step in steps if step.verb == "write" and len(step.batches[0]) < SAMPLES_MAX
        ]
        self.times = [int(max(batch.timestamps.max(initial=0), 0)) for batch in self.batches]
        model = MemoryStore()
        self._answers = [self._all(model)]
        for batch in self.batches if answers else ():
            model.write(batch)
            self._answers.append(self._all(model))

    @staticmethod
    def _all(store):
        return [digest(ask(store)) for ask in QUESTIONS]

    def right(self, question, answer, first, last):
        """Tell whether an answer is the model's after `first` to `last` batches (inclusive)."""
        return any(
            self._answers[at][question] == answer for at in range(first, min(last, len(self.batches)) + 1)
        )


class Counters:
    """Numbers in a file that processes share. Each has one writer."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(8 * COUNTERS))
        self._parent = os.getppid()
        self._file = path.open("r+b")
        self._memory = mmap.mmap(self._file.fileno(), 0)

    @property
    def ended(self):
        """Whether the writer has ended, or the process that began this one is gone."""
        return bool(self[ENDED]) or os.getppid() != self._parent

    def __getitem__(self, at):
        return struct.unpack_from("<q", self._memory, 8 * at)[0]

    def __setitem__(self, at, number):
        struct.pack_into("<q", self._memory, 8 * at, number)

    def close(self):
        self._memory.close()
        self._file.close()


def digest(answer) -> bytes:
    return hashlib.blake2b(repr(answer).encode(), digest_size=16).digest()


def look(store, plan, counters, reader, dice):
    """Ask until the writer has ended; return (right answers, what was wrong)."""
    right, wrong = 0, []
    while not counters.ended:
        question = dice.randrange(len(QUESTIONS))
        first = counters[DONE]
        answer = digest(QUESTIONS[question](store))
        last = counters[BEGUN]
        if plan.right(question, answer, first, last):
            right += 1
        else:
            wrong.append(f"question {question} between batches {first} and {last}")
        counters[READS + reader] = right + len(wrong)
    return right, wrong


def upkeep(store, plan, counters):
    """Fold, seal, merge, retain and keep the index without a pause until the writer has ended."""
    while not counters.ended:
        counters[TURNS] += 1
        at_ms = plan.times[max(0, counters[DONE] - 1)] + HOUR_MS
        store.fold(fresh=True)
        store.seal(at_ms)
        store.merge(at_ms)
        store.retain(RETAIN_AT)
        store.keep_index()


def main():
    path, shared, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    plan, counters = Plan(seed, answers=sys.argv[4] == "read"), Counters(shared)
    if sys.argv[4] == "upkeep":
        with LocalStore(path, SETTINGS) as store:
            upkeep(store, plan, counters)
        return
    with LocalStore(path, SETTINGS, read_only=True) as store:
        right, wrong = look(store, plan, counters, 0, random.Random(seed))
    sys.stdout.write(f"{right} {wrong}\n")


if __name__ == "__main__":
    main()
