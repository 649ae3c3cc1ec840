"""The test's side of fault injection: starts the host, sends its children into faults, compares with the truth."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from ninesight_store import LocalStore, verify

from .histories import SETTINGS, History, Truth, state_of
from .rollups import assert_rollup

HERE = Path(__file__).parent


def compiled(gcc: str, folder: Path) -> Path:
    """Compile faults.c and return the library."""
    library = folder / "faults.so"
    command = [gcc, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(library)]
    subprocess.run([*command, str(HERE / "faults.c"), "-ldl", "-lpthread"], check=True)
    return library


class Host:
    """The process that forks those under test."""

    def __init__(self, library: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fault_host.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"LD_PRELOAD": str(library), "OPENBLAS_NUM_THREADS": "1"},
        )

    def run(self, place, history, first, stop, *, fault=None, log=None, close=False, server=None):
        """Let a process live through steps `first` to `stop` (exclusive) and return what it told.

        `place` is a folder, or the address of a database. With `server`, a process id, that one is killed instead.
        """
        request = {
            "folder": str(place) if isinstance(place, Path) else "/nowhere",
            "url": None if isinstance(place, Path) else place,
            "copies": history.copies,
            "server": server,
            "seed": history.seed,
            "length": len(history.steps),
            "first": first,
            "stop": stop,
            "fault": fault,
            "close": close,
            "log": str(log) if log else None,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["crash"] is None, answer["crash"]
        return answer

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@dataclass
class Tally:
    """What a run of the suite did, for its report."""

    kills: dict[str, int] = field(default_factory=dict)
    reopen_s: list[float] = field(default_factory=list)
    copies: set[tuple[int, str, int, int]] = field(default_factory=set)
    """Backups and restored stores that were compared already; nothing changes them later."""

    def count(self, verb: str) -> None:
        self.kills[verb] = self.kills.get(verb, 0) + 1

    def __str__(self) -> str:
        worst = max(self.reopen_s, default=0.0) * 1000
        return f"{sum(self.kills.values())} faults {self.kills}; slowest reopening {worst:.0f} ms"


def check(
    place: Path | str, history: History, truth: Truth, done: int, tally: Tally, *, whole: bool = False
) -> int:
    """Reopen what a crash left and compare everything with the truth; return the steps that are in it.

    `done` steps were acknowledged; the next one may be in it wholly or not at all (`whole`: there is no next; checksums,
    pages and rollups are verified as well). What rollups answer must always be what the samples say.
    """
    path = place / "store.db" if isinstance(place, Path) else place
    choices = [done] if whole or done >= len(history.steps) else [done, done + 1]
    horizon = truth.horizon(choices[-1])
    started = time.perf_counter()
    with LocalStore(path, SETTINGS) as store:
        got = state_of(store, horizon)
        tally.reopen_s.append(time.perf_counter() - started)
        assert_rollup(store)
        assert not store.damage()
    fits = [steps for steps in choices if truth.state(steps, horizon) == got]
    assert fits, f"after {done} acknowledged steps: {difference(truth.state(done, horizon), got)}"
    if whole:
        assert verify(path).sound
    if isinstance(place, Path):
        check_copies(place, history, truth, done, tally)
    return fits[-1]


def check_copies(folder: Path, history: History, truth: Truth, done: int, tally: Tally) -> None:
    """Whatever bears a copy's name is whole and holds its moment; a copy that was acknowledged is there."""
    made = {step.number: at for at, step in enumerate(history.steps) if step.verb == "backup"}
    for at, step in enumerate(history.steps[: done + 1]):
        if step.verb not in {"backup", "restore"}:
            continue
        target = folder / f"{'backup' if step.verb == 'backup' else 'restored'}-{step.number}.db"
        assert target.exists() or at >= done, f"{target.name} was acknowledged"
        about = target.stat() if target.exists() else None
        known = about and (history.seed, target.name, about.st_size, about.st_mtime_ns)
        if known and known not in tally.copies:
            tally.copies.add(known)
            assert verify(target).sound
            horizon = truth.horizon(made[step.number])
            with LocalStore(target, SETTINGS, read_only=True) as store:
                assert state_of(store, horizon) == truth.state(made[step.number], horizon), target.name


def difference(want, got) -> str:
    """Say where two states part."""
    if want[1] != got[1]:
        return f"metadata {want[1]} became {got[1]}"
    if want[2] != got[2]:
        return f"exemplars {str(want[2])[:600]} became {str(got[2])[:600]}"
    for name, column in want[0].items():
        if got[0][name] != column:
            return f"{name} differs: {str(column)[:400]} became {str(got[0][name])[:400]}"
    return "nothing"


def copy_of(folder: Path, target: Path) -> Path:
    """Copy a crashed folder as it is; shared memory is not on the disk, so it stays behind."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*-shm")))
