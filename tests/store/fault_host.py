"""A process that forks the processes under test: each lives through a part of a history and meets one fault.

It is started with faults.so preloaded and has everything imported, so a fork costs milliseconds. It reads one
request a line (JSON) and answers each with one line:

    {"folder", "url", "seed", "length", "copies", "first", "stop", "close", "log", "server",
     "fault": {"step", "kind", "at", "more", "permille"}}
    {"opened": calls, "done": [[step, calls], ...], "errors": [...], "signal": 9}

With `server`, the id of a database server's first process, a kill takes that server with all its processes.
`fault.step` is a step's number, or "open": opening the store, recovery and upgrade included. A step that raises
RetryableError is tried again, as a sender would.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import alembic.command  # noqa: F401 - imported once, before the forks
import ninesight_store.backend_sqlite
import numpy.ma  # noqa: F401 - numpy imports it at first use: a tenth of a second in every child
from histories import SETTINGS, History
from ninesight_store import LocalStore, RetryableError, backup, restore

KINDS = {"none": 0, "kill_before": 1, "kill_after": 2, "torn": 3, "no_space": 4, "broken": 5}
TRIES_MAX = 2000
# Checkpoints, and pages that leave the cache before their commit, are write points too: small bounds make both common.
ninesight_store.backend_sqlite._CHECKPOINT_PAGES = 24
ninesight_store.backend_sqlite._CACHE_KIB = 40


@lru_cache(maxsize=4)
def history_of(seed, length, copies):
    """Draw a history once, for all that live through it."""
    return History(seed, length, copies=copies)


class Child:
    """The process under test."""

    def __init__(self, request, told, answers):
        self.request, self.told = request, told
        self.folder = Path(request["folder"])
        self.place = request["url"] or self.folder / "store.db"
        self.history = history_of(request["seed"], request["length"], request["copies"])
        self.faults = ctypes.CDLL(None)
        self.faults.fault_sockets(request["url"] is not None)
        if request["server"]:
            self.faults.fault_ask(told, answers)
        self.fault = request.get("fault") or {"step": None}
        self.armed = False
        self.errors = []

    def run(self):
        """Live through the steps; tell of each when it is done."""
        if self.request.get("log"):
            self.faults.fault_log(os.open(self.request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        self.arm("open")
        store = self.until_kept(lambda: LocalStore(self.place, SETTINGS))
        self.tell({"opened": self.faults.fault_calls()})
        for number in range(self.request["first"], self.request["stop"]):
            step = self.history.steps[number]
            self.arm(number)
            if step.verb == "reopen":
                store.close()
                store = self.until_kept(lambda: LocalStore(self.place, SETTINGS))
            else:
                self.until_kept(lambda store=store, step=step: self.do(store, step))
            self.faults.fault_note(b"done %d" % number)
            self.tell({"done": [number, self.faults.fault_calls()]})
        if self.request.get("close"):
            store.close()

    def arm(self, place):
        """Count the write points of this step; from its own step on the fault waits for its turn."""
        if self.armed:
            return
        if self.fault["step"] == place:
            self.armed = True
            kind, at = KINDS[self.fault["kind"]], self.fault["at"]
            more, permille = self.fault.get("more", 0), self.fault.get("permille", 0)
        else:
            kind = at = more = permille = 0
        arguments = [ctypes.c_long(number) for number in (at, more, permille)]
        self.faults.fault_arm(os.fsencode(self.folder), kind, *arguments)

    def until_kept(self, work):
        for _ in range(TRIES_MAX):
            try:
                return work()
            except RetryableError as error:
                self.tell({"error": str(error)})
                if self.request["server"]:
                    time.sleep(0.05)
        raise RuntimeError(f"still refused after {TRIES_MAX} tries")

    def do(self, store, step):
        if step.verb == "write":
            store.write(step.batches[0])
        elif step.verb == "group":
            write_together(store, step.batches)
        elif step.verb == "backup":
            target = self.folder / f"backup-{step.number}.db"
            if not target.exists():
                backup(self.place, target)
        elif step.verb == "restore":
            target = self.folder / f"restored-{step.number}.db"
            if not target.exists():
                restore(self.folder / f"backup-{step.number}.db", target)
        elif step.verb == "keep":
            store.keep_index()
        elif step.verb == "fold":
            store.fold(fresh=True)
        elif step.verb == "fill":
            store.fill_rollups(step.at_ms)
        else:
            getattr(store, step.verb)(step.at_ms)

    def tell(self, message):
        os.write(self.told, json.dumps(message).encode() + b"\n")


def write_together(store, batches):
    """Make all batches wait for one commit, and raise what it raised."""
    errors = []

    def write(batch):
        try:
            store.write(batch)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(batch,)) for batch in batches]
    with store._writer._commits.alone():
        for thread in threads:
            thread.start()
        while store._writer._commits.waiting < len(batches):
            pass
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def life(request):
    """Fork the process under test and return what became of it."""
    history_of(request["seed"], request["length"], request["copies"])
    reading, writing = os.pipe()
    answers, answering = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        code = 1
        try:
            Child(request, writing, answers).run()
            code = 0
        except BaseException:
            text = traceback.format_exc()[-3000:]
            os.write(writing, json.dumps({"crash": text}).encode() + b"\n")
        finally:
            os._exit(code)
    os.close(writing)
    answer = {"opened": None, "done": [], "errors": [], "crash": None, "killed": False}
    with os.fdopen(reading, "rb") as pipe:
        for line in pipe:
            message = json.loads(line)
            if "kill" in message:
                kill_all(request["server"])
                answer["killed"] = True
                os.write(answering, b".")
            elif "done" in message:
                answer["done"].append(message["done"])
            elif "error" in message:
                answer["errors"].append(message["error"])
            else:
                answer |= message
    status = os.waitpid(pid, 0)[1]
    for end in (answers, answering):
        os.close(end)
    return answer | {"signal": status & 0x7F}


def kill_all(server):
    """Kill a server and its children at once; the first one last, so that it starts no other."""
    os.kill(server, signal.SIGSTOP)
    for about in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The fields behind the name, which may hold anything.
            parent = int(about.read_text().rpartition(")")[2].split()[1])
            if parent == server:
                os.kill(int(about.parent.name), signal.SIGKILL)
    os.kill(server, signal.SIGKILL)


def main():
    for line in sys.stdin:
        sys.stdout.write(json.dumps(life(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
