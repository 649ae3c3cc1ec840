"""kill -9 at every write point of the store: nothing acknowledged is lost, nothing is kept by halves.

The faults fall where a process meets the kernel (faults.c): before, after and in the middle of each write, sync,
truncation, link and unlink of ingest, group commit, metadata, folding, sealing, merging, filling rollups in, retention, keeping the index, backup,
restore, reopening and the upgrade of an older file. What a crash may cost is written in `fault_world.check`: of the step that was under
way all or nothing, of everything acknowledged before it nothing.

    NINESIGHT_STORE_SEED=7     other histories (each test draws its own from it)
    NINESIGHT_STORE_KILLS=2000 that many faults a test; "all" kills at every single write point of every history
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .fault_world import Tally, check, copy_of
from .histories import History, Truth

SEED = int(os.environ.get("NINESIGHT_STORE_SEED", "20261125"))
KILLS = os.environ.get("NINESIGHT_STORE_KILLS", "30")
HISTORIES = 3
DEADLY = ("kill_before", "kill_after", "torn")
LENGTH = 40


@pytest.fixture
def folder(tmp_path):
    """A place in memory where there is one: SIGKILL leaves the same there, and thousands of crashes spare the disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="ninesight-crash-", dir=memory) as made:
        yield Path(made)


@dataclass(frozen=True)
class Point:
    """One write point of one step of a history, and what happens there."""

    step: int
    place: int | str
    """The step, or "open": the opening before it."""
    at: int
    kind: str
    permille: int = 0
    more: int = 0

    @property
    def fault(self):
        return {
            "step": self.place,
            "kind": self.kind,
            "at": self.at,
            "more": self.more,
            "permille": self.permille,
        }

    def verb(self, history):
        return "open" if self.place == "open" else history.steps[self.step].verb


@contextmanager
def replayed_by(test, seed, point=None):
    """Add to a failure the command that replays it."""
    try:
        yield
    except BaseException as error:
        error.add_note(
            f"at {point}; replay: NINESIGHT_STORE_SEED={seed} NINESIGHT_STORE_KILLS={KILLS} "
            f"python -m pytest tests/store/test_crash.py -k '{test} and 0'"
        )
        raise


def places_of(host, history, folder, dice):
    """Draw the steps to disturb, so that every verb gets its share however few write points it has; None: all of them."""
    folder.mkdir()
    history.begin(folder)
    seen = host.run(folder, history, 0, LENGTH)
    by_verb = defaultdict(list)
    for step, calls in seen["done"]:
        by_verb["open"].append((step, "open"))
        if calls:
            by_verb[history.steps[step].verb].append((step, step))
    if KILLS == "all":
        return sorted((place for listed in by_verb.values() for place in listed), key=_step)
    drawn = (dice.choice(by_verb[dice.choice(list(by_verb))]) for _ in range(max(1, int(KILLS) // HISTORIES)))
    return sorted(drawn, key=_step)


def _step(place):
    return place[0]


def moments(host, history, folder, dice, kinds):
    """Give each drawn point with the folder as a crash right before its step left it."""
    places = places_of(host, history, folder.with_name("dry"), dice)
    folder.mkdir()
    history.begin(folder)
    reached, measured = 0, {}
    for step, place in places:
        if step > reached:
            host.run(folder, history, reached, step)
            reached, measured = step, {}
        if place not in measured:
            # Counted from this very moment: a process that begins anew writes other pages than one that went on.
            seen = host.run(copy_of(folder, folder.with_name("measured")), history, step, step + 1)
            measured[place] = seen["opened"] if place == "open" else seen["done"][0][1]
        calls = range(1, measured[place] + 1)
        for at in calls if KILLS == "all" else dice.sample(calls, min(1, len(calls))):
            yield (
                Point(step, place, at, dice.choice(kinds), dice.randint(0, 999), dice.choice([0, 0, 3, 40])),
                folder,
            )


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("number", range(HISTORIES))
def test_every_write_point_survives_a_kill(host, folder, number):
    """Killed at a write point, the store reopens with all that was acknowledged, and the history goes on to its end."""
    seed = SEED + number
    history, dice, tally = History(seed, LENGTH), random.Random(seed), Tally()
    truth = Truth(history)
    for point, before in moments(host, history, folder / "walk", dice, DEADLY):
        with replayed_by("every_write_point", seed, point):
            after = copy_of(before, folder / "killed")
            answer = host.run(after, history, point.step, point.step + 1, fault=point.fault)
            assert answer["signal"] == 9 or not answer["done"], f"{point} was not met: {answer}"
            tally.count(point.verb(history))
            done = point.step + len(answer["done"])
            if dice.random() < 0.7:
                # Else the next process meets the crash as it was left.
                check(after, history, truth, done, tally)
            stop = min(done + 2, len(history.steps))
            host.run(after, history, done, stop, close=dice.random() < 0.5)
            check(after, history, truth, stop, tally, whole=True)
    sys.stdout.write(f"{tally}\n")


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("number", range(HISTORIES))
def test_a_history_of_kills_ends_as_one_without(host, folder, number):
    """Killed again and again, in recovery too, a history that is resumed each time loses and doubles nothing."""
    seed = SEED + 100 + number
    rounds = 40 if KILLS == "all" else max(1, int(KILLS) // 40)
    dice, tally = random.Random(seed), Tally()
    for round_number in range(rounds):
        with replayed_by("history_of_kills", seed):
            history = History(seed + 1000 * round_number, LENGTH)
            truth = Truth(history)
            place = folder / f"round{round_number}"
            place.mkdir()
            history.begin(place)
            done = tries = 0
            while done < LENGTH:
                tries += 1
                step = dice.randint(done, min(done + 8, LENGTH - 1))
                where = "open" if dice.random() < 0.2 else step
                # Later and later, so that a long step ends as well.
                at = dice.randint(1, 20 + 10 * tries)
                fault = Point(step, where, at, dice.choice(DEADLY), dice.randint(0, 999)).fault
                answer = host.run(place, history, done, LENGTH, fault=fault)
                tally.count("open" if where == "open" else history.steps[step].verb)
                done += len(answer["done"])
                check(copy_of(place, folder / "look"), history, truth, done, tally)
            check(place, history, truth, LENGTH, tally, whole=True)
    sys.stdout.write(f"{tally}\n")


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("number", range(HISTORIES))
def test_a_disk_that_refuses_costs_nothing_that_was_kept(host, folder, number):
    """A full or failing disk at a write point is told as RetryableError; sent again, the step succeeds once there is room."""
    seed = SEED + 200 + number
    history, dice, tally = History(seed, LENGTH), random.Random(seed), Tally()
    truth = Truth(history)
    refused = 0
    for point, before in moments(host, history, folder / "walk", dice, ("no_space", "broken")):
        with replayed_by("disk_that_refuses", seed, point):
            after = copy_of(before, folder / "refused")
            stop = min(point.step + 2, LENGTH)
            answer = host.run(after, history, point.step, stop, fault=point.fault, close=True)
            assert len(answer["done"]) == stop - point.step
            refused += bool(answer["errors"])
            tally.count(point.verb(history))
            check(after, history, truth, stop, tally, whole=True)
    assert refused, "no fault was felt"
    sys.stdout.write(f"{tally}; {refused} were felt\n")
