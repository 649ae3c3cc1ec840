"""Many processes, one truth: real workers that record, are killed, replaced, forked and spawned."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .. import needs

needs.package("fcntl", "file locks as Linux and macOS have them")

PROGRAM = Path(__file__).with_name("worker_program.py")


class Worker:
    """One real process; `ask` sends a line and returns what it answers."""

    def __init__(self, folder):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NINESIGHT_", "OTEL_"))}
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**clean, "NINESIGHT_MULTIPROCESS_DIR": str(folder)},
        )

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, f"the worker died over {words}"
        return json.loads(line)

    def kill(self):
        self.process.kill()
        self._end()

    def leave(self):
        print("exit", file=self.process.stdin, flush=True)
        assert self.process.wait(30) == 0
        self._end()

    def _end(self):
        self.process.wait(30)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def workers(tmp_path):
    """`workers(n)` starts n real processes that share a folder; none is left over."""
    started = []

    def start(count=1):
        new = [Worker(tmp_path / "shared") for _ in range(count)]
        started.extend(new)
        return new

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.kill()


def files(folder):
    return sorted(path.name for path in (folder / "shared").iterdir())


@pytest.mark.parametrize("count", [1, 4, 16])
def test_any_worker_answers_for_all(workers, count):
    """Totals are the same for 1, 4 and 16 workers; gauges of the living are summed."""
    running = workers(count)
    for worker in running:
        assert worker.ask("run", 96 // count)
    for worker in running[:3]:
        found = worker.ask("scrape")
        assert (found["requests"], found["predictions"], found["durations"]) == (96, 96, 96)
        assert found["queue"] == count


def test_the_killed_are_remembered_and_their_files_are_not(workers, tmp_path):
    """Ten generations by SIGKILL: counts stay, gauges go, the folder does not grow."""
    (watcher,) = workers()
    first = watcher.ask("scrape")["start_ns"]
    for generation in range(10):
        (worker,) = workers()
        assert worker.ask("run", 10)
        worker.kill()
        found = watcher.ask("scrape")
        assert (found["requests"], found["durations"], found["queue"]) == (10 * (generation + 1),) * 2 + (1,)
        assert found["start_ns"] == first
    assert len(files(tmp_path)) == 4  # The watcher's two, the retired, and the folder's lock.


def test_a_restart_of_the_whole_server_goes_on_counting(workers, tmp_path):
    """Nobody is left to fold the last ones: the first of the next generation does."""
    for worker in workers(3):
        assert worker.ask("run", 5)
        worker.kill()
    (leaver,) = workers()
    assert leaver.ask("more", 4)
    leaver.leave()
    (again,) = workers()
    assert again.ask("scrape")["requests"] == 19
    assert len(files(tmp_path)) == 4


def test_requests_are_published_without_being_asked(workers, until):
    """Another worker sees them within the flush interval, with no scrape of the one that counted."""
    one, other = workers(2)
    assert one.ask("more", 7)
    until(lambda: other.ask("scrape")["requests"] == 7)
    one.kill()
    assert other.ask("scrape")["requests"] == 7


@pytest.mark.parametrize("way", ["fork", "spawn fork", "spawn spawn", "spawn forkserver"])
def test_children_of_a_worker_count_beside_it(workers, way):
    """Forked after import and after recording, or made by multiprocessing: each counts its own, none twice."""
    (worker,) = workers()
    assert worker.ask("run", 3)
    verb, *method = way.split()
    for _ in range(3):
        assert worker.ask(verb, 5, *method)
    assert worker.ask("run", 2)
    assert worker.ask("scrape")["requests"] == 20


@pytest.mark.parametrize("seed", range(3))
def test_no_order_of_kills_loses_doubles_or_turns_back(workers, tmp_path, seed):
    """A random story of work, scrapes and SIGKILLs: flushed <= shown <= done, never less than before."""
    chance = random.Random(seed)
    alive = workers(4)
    safe, unsafe, done, shown = 0, dict.fromkeys(alive, 0), 0, 0
    for _ in range(50):
        deed = chance.choice(("run", "more", "more", "scrape", "scrape", "kill", "leave"))
        worker = chance.choice(alive)
        count = chance.randint(1, 20)
        if deed in {"run", "more"}:
            assert worker.ask(deed, count)
            done += count
            unsafe[worker] += count
            if deed == "run":
                safe += unsafe.pop(worker)
                unsafe[worker] = 0
        elif deed == "scrape":
            found = worker.ask("scrape")
            safe += unsafe[worker]
            unsafe[worker] = 0
            assert found["requests"] == found["durations"] == found["predictions"]
            assert max(safe, shown) <= found["requests"] <= done
            shown = found["requests"]
        else:
            if deed == "leave":
                worker.leave()
                safe += unsafe[worker]
            else:
                worker.kill()
            alive.remove(worker)
            alive += workers()
            unsafe[alive[-1]] = 0
    for worker in alive:
        assert worker.ask("run", 1)
    found = alive[0].ask("scrape")["requests"]
    assert max(safe, shown) + len(alive) <= found <= done + len(alive)
    assert {worker.ask("scrape")["requests"] for worker in alive} == {found}
    assert len(files(tmp_path)) <= 2 * len(alive) + 2


def test_workers_killed_amid_scrapes_leave_the_folder_whole(workers, tmp_path):
    """SIGKILL at any moment of folding and reading: the next one goes on where it stopped."""
    chance = random.Random(5)
    (watcher,) = workers()
    done = 0
    for _ in range(8):
        victims = workers(2)
        for victim in victims:
            assert victim.ask("run", 10)
            done += 10
        for victim in victims:
            for _ in range(3):
                print("scrape", file=victim.process.stdin, flush=True)
            victim.process.stdout.readline()
        for victim in victims:
            if chance.random() < 0.5:
                victim.process.send_signal(signal.SIGKILL)
        for victim in victims:
            victim.kill()
        assert watcher.ask("scrape")["requests"] == done
    assert len(files(tmp_path)) == 4
