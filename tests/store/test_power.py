"""Power loss: what a disk may hold after one, worked out from a log of every write and sync, is always a sound store.

A process under test lives through a history while faults.so writes down each call that changes a file. The power then
fails between two of them: of each file all that was synced is there, and of what was not any part, torn at sectors.
Names (link, unlink, rename) are taken as a journalling file system keeps them, in order.
"""

from __future__ import annotations

import os
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .fault_world import Tally, check
from .histories import History, Truth

SEED = int(os.environ.get("NINESIGHT_STORE_SEED", "20261125"))
CUTS = int(os.environ.get("NINESIGHT_STORE_CUTS", "12"))
LENGTH, SECTOR = 40, 512
HEAD = struct.Struct("<IIQq")


@dataclass
class Inode:
    """One file: what is surely on the disk, and what was written since its last sync."""

    durable: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[str, int, bytes]] = field(default_factory=list)

    def sync(self):
        for change in self.waiting:
            apply(self.durable, change)
        self.waiting = []

    def after_power_loss(self, dice):
        """Return a content that the disk may hold: each waiting write is there, lost, or torn."""
        content = bytearray(self.durable)
        share = dice.choice([0.0, 0.3, 0.7, 1.0])
        for kind, offset, data in self.waiting:
            if dice.random() < share:
                whole = kind == "T" or dice.random() < 0.7
                apply(
                    content,
                    (kind, offset, data if whole else data[: dice.randrange(0, len(data) + 1, SECTOR)]),
                )
        return content


def apply(content, change):
    kind, offset, data = change
    if kind == "T":
        del content[offset:]
        content.extend(bytes(max(0, offset - len(content))))
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


class Disk:
    """A folder's files as a log of calls makes them."""

    def __init__(self, folder, *, honest=True):
        self.honest = honest
        self.files = {str(path): Inode(bytearray(path.read_bytes())) for path in folder.iterdir()}
        self.done = 0

    def do(self, kind, path, offset, data):
        if kind == "N":
            self.done += 1
        elif kind in "WT":
            self.files.setdefault(path, Inode()).waiting.append((kind, offset, data))
        elif kind == "S" and path in self.files and self.honest:
            self.files[path].sync()
        elif kind == "U":
            self.files.pop(path, None)
        elif kind in "LR":
            source, target = path.split("\n")
            self.files[target] = self.files[source]
            if kind == "R":
                del self.files[source]

    def lay_down(self, folder, dice):
        folder.mkdir()
        contents = {id(inode): inode.after_power_loss(dice) for inode in self.files.values()}
        for path, inode in self.files.items():
            (folder / Path(path).name).write_bytes(contents[id(inode)])


def calls_of(log):
    """Read the log of faults.so: (kind, path, offset, data) of each call."""
    content, at, calls = log.read_bytes(), 0, []
    while at < len(content):
        kind, path_len, data_len, offset = HEAD.unpack_from(content, at)
        at += HEAD.size
        path = content[at : at + path_len].decode()
        at += path_len
        calls.append((chr(kind), path, offset, content[at : at + data_len]))
        at += data_len
    return calls


def cuts(host, tmp_path, seed, *, honest=True):
    """Yield (folder after a power loss, history, truth, acknowledged steps) for cuts drawn from the seed."""
    history, dice = History(seed, LENGTH), random.Random(seed)
    folder, log = tmp_path / "live", tmp_path / "log"
    folder.mkdir()
    history.begin(folder)
    disk = Disk(folder, honest=honest)
    assert len(host.run(folder, history, 0, LENGTH, log=log)["done"]) == LENGTH
    calls, truth = calls_of(log), Truth(history)
    chosen = sorted(dice.sample(range(1, len(calls) + 1), CUTS))
    for number, (low, high) in enumerate(zip([0, *chosen[:-1]], chosen, strict=True)):
        for call in calls[low:high]:
            disk.do(*call)
        after = tmp_path / f"cut{number}"
        disk.lay_down(after, dice)
        yield after, history, truth, disk.done


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(3))
def test_a_power_loss_costs_nothing_that_was_acknowledged(host, tmp_path, number):
    """Wherever the power fails, the store opens with every acknowledged step, and the step under way wholly or not."""
    seed, tally = SEED + 300 + number, Tally()
    for folder, history, truth, done in cuts(host, tmp_path, seed):
        try:
            check(folder, history, truth, done, tally)
        except BaseException as error:
            error.add_note(
                f"replay: NINESIGHT_STORE_SEED={seed - 300} NINESIGHT_STORE_CUTS={CUTS}, number 0, {folder.name}"
            )
            raise


def test_a_disk_that_lies_about_syncs_is_noticed(host, tmp_path):
    """Were syncs without effect, acknowledged steps would be lost: so the test above would see a missing sync."""
    lost = 0
    for folder, history, truth, done in cuts(host, tmp_path, SEED + 400, honest=False):
        try:
            check(folder, history, truth, done, Tally())
        except Exception:
            lost += 1
    assert lost
