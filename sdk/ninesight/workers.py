"""Many worker processes of one server: any of them answers for all, whatever dies and is replaced.

    multiprocess_dir/
      directory.lock          held (flock) by who reads all or folds the dead
      export.lock             held for life by the one worker that pushes for all
      worker-<id>.lock        held for life by its worker; free means the worker is dead
      worker-<id>.json        that worker's totals, replaced whole by rename
      retired.json            counters and histograms of the dead, and the ids of the last that were added
      delivered.json          with delta temporality: the totals as they were pushed last, whoever pushed

A worker writes only its own file, so nobody waits for anybody. A dead worker's file is added to
`retired.json` once: the ids written with the sum say what is in it, should the folder itself be
killed before it could remove the file. So the folder holds two files a living worker, and no
counter goes backwards. The kernel frees a lock when its process dies, by SIGKILL too.

Promised: a request that ended is in the totals of the next scrape of its own worker, and of any
other within `PUBLISH_S` (longer where writing takes more than a twentieth of the time). What a
worker killed by SIGKILL had not yet published is lost; nothing is counted twice.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ninesight.codec import decode, encode
from ninesight.contract import Snapshot
from ninesight.errors import RetryableError
from ninesight.faults import Faults
from ninesight.handles import Handles
from ninesight.merge import bounded, counts_only, merged

__all__ = ["PUBLISH_S", "Workers"]

PUBLISH_S = 0.25
"""Seconds within which a worker's totals are there for the others to read."""

RETIRED_POINTS_MAX = 20_000
"""Series of one metric that are remembered of the dead; further ones become `__other__`."""

_IDLE_S = 0.75
_LOCK_WAIT_S = 5.0
_FILE_BYTES_MAX = 256 << 20


class Workers:
    """This process among the workers that share a folder. Safe from any thread; made anew after a fork."""

    def __init__(
        self,
        folder: str,
        faults: Faults,
        *,
        buckets_max: int = 1024,
        retired_points_max: int = RETIRED_POINTS_MAX,
        now_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder = folder
        """As it was given."""
        self._folder = Path(folder)
        self._faults = faults
        self._buckets_max = buckets_max
        self._retired_points_max = retired_points_max
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.RLock()
        self._id = f"{os.getpid()}-{now_ns()}"
        self._handles = Handles()
        self._alive: int | None = None
        self._elected: int | None = None
        self._delivered: Snapshot | None = None
        self._busy = False
        self._due_s = 0.0
        self._version = -1

    def publish(self, make: Callable[[], Snapshot]) -> None:
        """Write this worker's totals. Raises OSError where the folder does not take them."""
        with self._lock:
            if (
                not self._busy
            ):  # A user's callable, asked for a gauge, may flush: that is this snapshot already.
                self._write(make)

    def publish_when_due(self, make: Callable[[], Snapshot], version: int) -> None:
        """Publish unless that was done just now; every second if `version` has not changed (gauges may have).

        What fails is counted, and tried again next time.
        """
        now_s = self._clock()
        if now_s < self._due_s or (version == self._version and now_s < self._due_s + _IDLE_S):
            return
        try:
            self.publish(make)
            self._version = version
        except OSError as error:
            self._due_s = self._clock() + PUBLISH_S
            self._faults.internal("writing to multiprocess_dir", error)

    def merged(self, make: Callable[[], Snapshot]) -> Snapshot:
        """Return the totals of all workers, living and dead. Raises RetryableError where the folder cannot be read."""
        with self._lock:
            if self._busy:
                return make()
            try:
                own = self._write(make)
                with self._directory():
                    return self._read_all(own)
            except OSError as error:
                raise RetryableError(f"multiprocess_dir {self._folder} cannot be read: {error}") from None

    def elected(self) -> bool:
        """Return True for the one living worker that pushes for all; another takes over when it is gone."""
        with self._lock:
            if self._elected is None:
                try:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    self._elected = self._handles.hold(self._folder / "export.lock")
                    if self._elected is not None:
                        # Another may have pushed before: its deltas are not ours to send again.
                        self._delivered = self._read_delivered()
                except OSError as error:
                    self._faults.internal("electing who pushes", error)
            return self._elected is not None

    def delivered(self) -> Snapshot | None:
        """Return the totals as they were pushed last by whoever pushed; for the elected one."""
        return self._delivered

    def note_delivered(self, snapshot: Snapshot) -> None:
        """Keep the totals that were pushed, for whoever pushes next. For the elected one."""
        with self._lock:
            self._delivered = counts_only(snapshot)
            try:
                self._replace("delivered", encode(self._delivered))
            except OSError as error:
                self._faults.internal("writing what was pushed to multiprocess_dir", error)

    def resign(self) -> None:
        """Let another worker push."""
        with self._lock:
            self._handles.close(self._elected)
            self._elected = None

    def forget(self) -> None:
        """Let go of all files. In the child of a fork: the parent's locks stay the parent's, and only its."""
        self._handles.close_all()
        self._alive = self._elected = None

    def _write(self, make: Callable[[], Snapshot]) -> Snapshot:
        began_s = self._clock()
        if self._alive is None:
            self._join()
        self._busy = True
        try:
            # Under the lock: an older snapshot must not replace a newer one.
            snapshot = make()
        finally:
            self._busy = False
        self._replace(f"worker-{self._id}", encode(snapshot))
        now_s = self._clock()
        self._due_s = now_s + max(PUBLISH_S, 20.0 * (now_s - began_s))
        return snapshot

    def _join(self) -> None:
        """Be alive: the lock is taken while nobody looks for dead workers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._directory():
            self._alive = self._handles.hold(self._folder / f"worker-{self._id}.lock")
            self._fold()

    def _read_all(self, own: Snapshot) -> Snapshot:
        dead = self._fold()
        others = [own] if dead is None else [own, dead]
        paths = [path for path in self._folder.glob("worker-*.json") if path.stem != f"worker-{self._id}"]
        others += [found[0] for path in paths if (found := self._read(path)) is not None]
        return merged(others, buckets_max=self._buckets_max, refused=self._refused)

    def _fold(self) -> Snapshot | None:
        """Add the dead workers' counts to the retired ones, once each, and remove their files; return the sum."""
        retired = self._folder / "retired.json"
        known = self._read(retired) if retired.exists() else None
        whole, added = (None, set()) if known is None else (known[0], set(known[1]))
        dead = [path for path in self._folder.glob("worker-*.lock") if self._is_dead(path)]
        if not dead:
            return whole
        for lock in dead:
            path = lock.with_suffix(".json")
            if path.stem in added or not path.exists() or (found := self._read(path)) is None:
                continue
            counts = counts_only(found[0])
            both = [counts] if whole is None else [whole, counts]
            whole = merged(both, buckets_max=self._buckets_max, refused=self._refused)
            whole = bounded(whole, self._retired_points_max, buckets_max=self._buckets_max)
            added.add(path.stem)
        if whole is not None:
            self._replace("retired", encode(whole, added=sorted(added & {path.stem for path in dead})))
        for lock in dead:
            # The lock goes last: without it nobody would find the other files again.
            for path in (lock.with_suffix(".json"), lock.with_suffix(".tmp"), lock):
                path.unlink(missing_ok=True)
        return whole

    def _is_dead(self, lock: Path) -> bool:
        if lock.stem == f"worker-{self._id}":
            return False
        handle = self._handles.hold(lock)
        self._handles.close(handle)
        return handle is not None

    def _read_delivered(self) -> Snapshot | None:
        path = self._folder / "delivered.json"
        found = self._read(path) if path.exists() else None
        return None if found is None else found[0]

    def _read(self, path: Path) -> tuple[Snapshot, list[str]] | None:
        try:
            if path.stat().st_size > _FILE_BYTES_MAX:
                raise ValueError(f"must be at most {_FILE_BYTES_MAX} bytes")
            snapshot, beside = decode(path.read_bytes())
            return snapshot, [str(name) for name in beside.get("added", ())]
        except ValueError as error:
            self._faults.internal(f"reading {path.name.split('-')[0]} in multiprocess_dir", error)
            return None

    def _replace(self, name: str, data: bytes) -> None:
        partial = self._folder / f"{name}.tmp"
        partial.write_bytes(data)
        partial.replace(self._folder / f"{name}.json")

    def _refused(self, name: str) -> None:
        self._faults.internal(
            "adding the totals of workers", ValueError(f"{name} has other classic buckets or another kind")
        )

    @contextmanager
    def _directory(self) -> Iterator[None]:
        """Hold the folder's lock; raises OSError if another process keeps it for 5 s."""
        deadline_s = self._clock() + _LOCK_WAIT_S
        while (handle := self._handles.hold(self._folder / "directory.lock")) is None:
            if self._clock() > deadline_s:
                raise OSError(f"another worker holds directory.lock for more than {_LOCK_WAIT_S:g} s")
            self._sleep(0.002)
        try:
            yield
        finally:
            self._handles.close(handle)
