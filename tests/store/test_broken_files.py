"""Files that were cut, flipped or locked away: what is sound is read, what is not is said, and nothing hangs."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ninesight_store import LocalStore, StoreError, StoreSettings, backup, labels_of, verify
from ninesight_store.testing import batch_of

from .fault_world import copy_of
from .histories import SETTINGS, History, Truth, state_of

SEED = int(os.environ.get("NINESIGHT_STORE_SEED", "20261125"))
LENGTH = 25
WRITER = Path(__file__).with_name("writer_process.py")


@pytest.fixture
def crashed(host, tmp_path):
    """A folder as kill -9 left it, with a log full of commits; its history and truth."""
    history = next(
        one
        for one in (History(SEED + 2 * at, LENGTH) for at in range(50))
        if one.steps[-1].verb in {"write", "group"}
    )
    folder = tmp_path / "crashed"
    folder.mkdir()
    history.begin(folder)
    host.run(folder, history, 0, LENGTH)
    assert (folder / "store.db-wal").stat().st_size > 4096
    return folder, history, Truth(history)


def prefix_of(folder, truth):
    """Return after how many steps the store is as it is now, or None."""
    horizon = truth.horizon(LENGTH)
    with LocalStore(folder / "store.db", SETTINGS) as store:
        got = state_of(store, horizon)
    return next((steps for steps in range(LENGTH, -1, -1) if truth.state(steps, horizon) == got), None)


def test_a_cut_log_gives_an_earlier_moment(crashed, tmp_path):
    """Wherever the write-ahead log is cut off, the store opens at a moment between two steps, whole and sound."""
    folder, _, truth = crashed
    dice, moments = random.Random(SEED), []
    size = (folder / "store.db-wal").stat().st_size
    for at in sorted(dice.randrange(size) for _ in range(12)):
        after = copy_of(folder, tmp_path / "cut")
        os.truncate(after / "store.db-wal", at)
        moments.append(prefix_of(after, truth))
        assert moments[-1] is not None, f"cut at byte {at}"
        assert verify(after / "store.db").sound
    assert moments == sorted(moments), "a longer log never holds less"


def test_a_flipped_bit_in_the_log_is_never_believed(crashed, tmp_path):
    """A damaged log ends where the damage is: what is read is an earlier moment, or verify says what is wrong."""
    folder, _, truth = crashed
    dice = random.Random(SEED)
    for _ in range(12):
        after = copy_of(folder, tmp_path / "flipped")
        log = after / "store.db-wal"
        content = bytearray(log.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        log.write_bytes(content)
        try:
            moment = prefix_of(after, truth)
        except StoreError:
            moment = None
        assert moment is not None or not verify(after / "store.db").sound


LOCKED = """
import json, os, sys
from pathlib import Path
from ninesight_store import LocalStore, StoreSettings, StoreError, verify, labels_of
from ninesight_store.testing import batch_of
import ninesight_store.backend_sqlite
folder, uid = Path(sys.argv[1]), int(sys.argv[2])
if uid:
    os.setresuid(uid, uid, uid)
def said(work):
    try:
        return repr(work())
    except StoreError as error:
        return f"{type(error).__name__}: {error}"
def write():
    with LocalStore(folder / "store.db", StoreSettings(busy_timeout_ms=100)) as store:
        store.write(batch_of({"m": [(1, 1.0)]}))
print(json.dumps([said(write), said(lambda: LocalStore(folder / "store.db", read_only=True)),
                  said(lambda: verify(folder / "backup.db").sound)]))
"""


def test_a_folder_that_cannot_be_written(tmp_path):
    """Writing and reading a store there are refused with what must hold; a backup is read and verified all the same."""
    folder = tmp_path / "locked"
    folder.mkdir()
    with LocalStore(folder / "store.db") as store:
        store.write(batch_of({"m": [(0, 1.0)]}))
        backup(folder / "store.db", folder / "backup.db")
    for name in folder.iterdir():
        name.chmod(0o444)
    folder.chmod(0o555)
    # Permissions do not bind root: the process gives that up once everything is imported.
    uid = 0
    if os.geteuid() == 0:
        uid = 65_534
        for above in [tmp_path, *tmp_path.parents][:-2]:
            above.chmod(above.stat().st_mode | 0o055)
    try:
        told = subprocess.run(
            [sys.executable, "-c", LOCKED, str(folder), str(uid)], capture_output=True, text=True, check=True
        )
    finally:
        folder.chmod(0o755)
    writing, reading, verifying = json.loads(told.stdout)
    assert writing.startswith("RetryableError: opening ")
    assert "and its folder must be there and writable for this user; nothing was kept" in writing
    assert reading.endswith("or its writer must be running (SQLite keeps a log beside it); or read a backup")
    assert verifying == "True"


def test_one_of_two_writers_is_killed_and_the_other_goes_on(tmp_path):
    """Whatever a killed writer held, the other writes on at once, and all that either acknowledged is there."""
    path, dice = tmp_path / "store.db", random.Random(SEED)
    LocalStore(path).close()
    kept = set()
    survivor = writer(path, 100_000, 300)
    try:
        for turn in range(5):
            victim = writer(path, turn * 1000, 1000)
            assert select.select([victim.stdout], [], [], 60)[0], "the victim did not start"
            for _ in range(dice.randrange(1, 6)):
                kept |= ticks_of(os.read(victim.stdout.fileno(), 65_536))
            victim.send_signal(signal.SIGKILL)
            kept |= ticks_of(victim.stdout.read())
            victim.wait()
            victim.stdout.close()
        kept |= ticks_of(survivor.stdout.read())
        assert survivor.wait(120) == 0, "the survivor was never refused"
    finally:
        survivor.kill()
        survivor.wait()
        survivor.stdout.close()
    assert kept > set(range(100_000, 100_300))
    with LocalStore(path, StoreSettings(), read_only=True) as store:
        columns = store.select([], 0, 2**50)
    per_series = {
        labels: set(part.tolist())
        for labels, part in zip(
            columns.labels, np.split(columns.timestamps, columns.offsets[1:-1]), strict=True
        )
    }
    floats = [per_series[labels_of("m", {"i": str(at)})] for at in range(40)]
    assert all(one == floats[0] for one in floats), "a batch is there whole or not at all"
    assert {tick * 60_000 for tick in kept} <= floats[0]
    assert verify(path).sound


def writer(path, first, ticks):
    command = [sys.executable, str(WRITER), f"sqlite:///{path}", str(first), str(ticks), "0", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)


def ticks_of(said):
    """Read whole lines; a line cut in two by the pipe's end is left out."""
    return {int(line) for line in said[: said.rfind(b"\n") + 1].split()}


FULL = """
import json, resource, sys
from pathlib import Path
import numpy as np
from ninesight_store import Batch, LocalStore, RetryableError, SeriesTable, StoreError, StoreSettings, backup, labels_of, verify
path = Path(sys.argv[1])
table = SeriesTable(tuple(labels_of("m", {"i": str(i)}) for i in range(1000)))
rows = np.arange(1000, dtype=np.int32)
store = LocalStore(path, StoreSettings(seal_after_ms=0))
def write(tick):
    store.write(Batch(table, rows, np.full(1000, tick, np.int64), np.random.default_rng(tick).random(1000)))
def raised(work):
    try:
        work()
    except StoreError as error:
        return f"{type(error).__name__}: {error}"
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
kept, refused = 0, None
while refused is None and kept < 1000:
    refused = raised(lambda: write(kept))
    kept += refused is None
again = raised(lambda: write(kept))
sealing = raised(lambda: store.seal(2**40))
copying = raised(lambda: backup(path, path.with_name("copy.db")))
readable = len(store.select([], 0, 2**40).timestamps)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
write(kept)
store.seal(2**40)
backup(path, path.with_name("later.db"))
total = len(store.select([], 0, 2**40).timestamps)
print(json.dumps([refused, again, sealing, copying, kept, readable, total, verify(path).sound, verify(path.with_name("later.db")).sound]))
"""


def test_a_full_disk_is_told_and_gone_on_from(tmp_path):
    """Where files may not grow, writing is refused to be tried again and reading goes on; with room all is as before."""
    told = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "store.db")], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    refused, again, _, copying, kept, readable, total, sound, copy_sound = json.loads(told.stdout)
    for one in (refused, again):
        assert one.startswith("RetryableError: writing "), one
    assert copying is None or copying.startswith("RetryableError: "), copying
    assert kept > 10
    assert (readable, total) == (kept * 1000, (kept + 1) * 1000)
    assert sound
    assert copy_sound
