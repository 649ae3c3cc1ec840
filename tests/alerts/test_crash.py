"""kill -9 of a real process: nothing is lost, and doubles carry the same idempotency key."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ninesight_alerts import DatabaseAlerts
from ninesight_alerts.testing import LocalReceiver, wait_until

SCRIPT = Path(__file__).with_name("crash_process.py")
ROUNDS = int(os.environ.get("NINESIGHT_CRASH_ROUNDS", "6"))
SEED = int(os.environ.get("NINESIGHT_CRASH_SEED", "1"))


@pytest.fixture(scope="module")
def nursery():
    """The process that forks those under test."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forks:
        yield forks
        forks.stdin.close()


class Watch:
    """The process under test, its database and what it believes."""

    def __init__(self, folder, receiver, nursery):
        self.url = f"sqlite:///{folder}/a.db"
        self.truth = folder / "truth.json"
        self.receiver = receiver
        self.nursery = nursery
        self.pid = None
        self.say([])

    def say(self, models):
        """Change what fires, in one step."""
        fresh = self.truth.with_suffix(".new")
        fresh.write_text(json.dumps(models))
        fresh.replace(self.truth)

    def start(self, *, wait=True):
        """Begin a process; wait until it evaluates, unless it is to be killed while it starts."""
        self.nursery.stdin.write(json.dumps([self.url, str(self.truth), self.receiver.url]) + "\n")
        self.nursery.stdin.flush()
        ready, self.pid = set(), None
        while self.pid is None or (wait and self.pid not in ready):
            word, number = self.nursery.stdout.readline().split()
            if word == "ready":
                ready.add(int(number))
            else:
                self.pid = int(number)

    def kill(self):
        """kill -9, and wait until the process is gone."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            wait_until(self._gone, what="the end of the process")
            self.pid = None

    def _gone(self):
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False


@pytest.fixture
def watch_of(tmp_path, nursery):
    made = []

    def make(receiver):
        made.append(Watch(tmp_path, receiver, nursery))
        return made[-1]

    yield make
    for item in made:
        item.kill()


def test_killed_during_delivery_it_delivers_after_the_restart(watch_of):
    """The receiver has the request and has not answered: killed then, the same id and body come again."""
    with LocalReceiver(("hang", 200)) as receiver:
        watch = watch_of(receiver)
        watch.say(["m"])
        watch.start()
        receiver.wait_for(1)
        watch.kill()
        killed = time.monotonic()
        watch.start()
        first, second = receiver.wait_for(2)[:2]
        assert (second.id, second.body) == (first.id, first.body)
        assert second.at - killed < 10, "the lease of a dead process of this host is free at once"
        reader = DatabaseAlerts(watch.url)
        wait_until(lambda: any(view.outcome == "delivered" for view in reader.deliveries()))
        told = [(view.notification_id, view.attempt, view.outcome) for view in reader.deliveries()]
        assert told == [(first.id, 2, "delivered"), (first.id, 1, "retry")]
        reader.close()


def test_nothing_is_lost_over_kills_at_random_moments(watch_of):
    """Alerts come and go, the process is killed again and again, the receiver refuses now and then.

    In the end the receiver knows exactly what fires; each notification has one id and one body;
    in each group the first arrivals are in the order of their commits.
    """
    rng = random.Random(SEED)
    models = ["a", "b", "c"]
    answers = [rng.choice((200, 200, 200, 500)) for _ in range(400)] + [200]
    with LocalReceiver(answers) as receiver:
        watch = watch_of(receiver)
        for _ in range(ROUNDS):
            watch.start(wait=rng.random() < 0.7)
            end = time.monotonic() + rng.uniform(0.05, 0.9)
            while (left := end - time.monotonic()) > 0:
                watch.say([name for name in models if rng.random() < 0.5])
                time.sleep(min(left, rng.uniform(0.02, 0.3)))
            watch.kill()
        final = [name for name in models if rng.random() < 0.7]
        watch.say(final)
        watch.start()
        reader = DatabaseAlerts(watch.url)
        wait_until(lambda: _firing(reader) == set(final) and not _unfinished(reader), deadline_s=90)
        _check(receiver, reader, set(final))
        reader.close()


def _firing(reader):
    return {dict(view.labels)["model"] for view in reader.active()}


def _unfinished(reader):
    views = reader.deliveries(limit=10_000)
    done = {view.notification_id for view in views if view.outcome in {"delivered", "dead"}}
    return {view.notification_id for view in views} - done


def _check(receiver, reader, final):
    bodies = {}
    for got in receiver.received:
        assert bodies.setdefault(got.id, got.body) == got.body, "every attempt sends the same body"
    delivered = {
        view.notification_id for view in reader.deliveries(limit=10_000) if view.outcome == "delivered"
    }
    assert delivered <= set(bodies), "what counts as delivered has arrived"
    knows, begun, ended = {}, [], []
    for body in bodies.values():
        for alert in json.loads(body)["alerts"]:
            model, start = alert["labels"]["model"], alert["startsAt"]
            if alert["status"] == "firing":
                assert knows.get(model) in {None, start}, (
                    "an alert that fires anew was first told as resolved"
                )
                knows[model] = start
                begun.append((model, start))
            else:
                assert knows.pop(model) == start, "the end told is the end of what was told"
                ended.append((model, start))
    assert set(knows) == final, "the receiver knows what fires"
    assert len(begun) == len(set(begun)), "no alert is told as new under two ids"
    committed = {(dict(view.labels)["model"], view.fired_ms) for view in reader.history(limit=10_000)}
    assert len(committed) == len(begun), "every alert that fired was told"
    assert len(ended) == len(begun) - len(final), "and so was every end"
