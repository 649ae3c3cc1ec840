"""The crash suite on PostgreSQL: the writer is killed at any message it sends, or the whole server is, with kill -9."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from .fault_world import Tally, check
from .histories import History, Truth

SEED = int(os.environ.get("NINESIGHT_STORE_SEED", "20261125"))
ASKED = os.environ.get("NINESIGHT_STORE_KILLS", "8")
KILLS = 200 if ASKED == "all" else int(ASKED)
LENGTH = 30
DEADLY = ("kill_before", "kill_after")


@contextmanager
def supervised(server):
    """Start the server again whenever it is gone, as a supervisor does."""
    ended = threading.Event()
    restarts = []

    def watch():
        while not ended.wait(0.02):
            if server.process.poll() is not None:
                server.start()
                restarts.append(time.monotonic())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield restarts
    finally:
        ended.set()
        thread.join()
        if server.process.poll() is not None:
            server.start()


def fault_of(dice, done, tries):
    """Draw a message of a step to come, or of opening; later and later, so that a long step ends as well."""
    step = dice.randint(done, min(done + 4, LENGTH - 1))
    place = "open" if dice.random() < 0.2 else step
    return {"step": place, "kind": dice.choice(DEADLY), "at": dice.randint(1, 6 + 3 * tries)}


@pytest.mark.timeout(3600)
def test_a_killed_writer_loses_nothing(host, postgres):
    """Killed before or after any message to the server, a writer leaves all it acknowledged and nothing by halves."""
    dice, tally, kills = random.Random(SEED), Tally(), 0
    while kills < KILLS:
        history = History(dice.randrange(10**6), LENGTH, copies=False)
        truth, url = Truth(history), postgres.url()
        done = tries = 0
        while done < LENGTH:
            tries += 1
            fault = fault_of(dice, done, tries)
            answer = host.run(url, history, done, LENGTH, fault=fault)
            done += len(answer["done"])
            kills += answer["signal"] == 9
            tally.count("open" if fault["step"] == "open" else history.steps[fault["step"]].verb)
            try:
                check(url, history, truth, done, tally, whole=done == LENGTH)
            except BaseException as error:
                error.add_note(f"seed {SEED}, history {history.seed}, {fault}")
                raise
    sys.stdout.write(f"{kills} writers killed, {tally}\n")


@pytest.mark.timeout(3600)
def test_a_killed_server_loses_nothing(host, postgres):
    """Killed with all its processes at any message, the server comes back with what was acknowledged; writers go on."""
    dice, tally, kills, refused = random.Random(SEED + 1), Tally(), 0, 0
    with supervised(postgres) as restarts:
        while kills < max(3, KILLS // 4):
            history = History(dice.randrange(10**6), LENGTH, copies=False)
            truth, url = Truth(history), postgres.url()
            done = 0
            while done < LENGTH:
                fault = fault_of(dice, done, 1)
                stop = min(LENGTH, done + 8)
                answer = host.run(url, history, done, stop, fault=fault, server=postgres.process.pid)
                assert len(answer["done"]) == stop - done, "the writer went on when the server was back"
                done = stop
                kills += answer["killed"]
                refused += len(answer["errors"])
                tally.count("open" if fault["step"] == "open" else history.steps[fault["step"]].verb)
                check(url, history, truth, done, tally, whole=True)
        assert restarts
    assert refused, "the writer felt it"
    sys.stdout.write(f"{kills} servers killed, {refused} refusals, {tally}\n")
