"""A durable queue on the disk: what was added is there after kill -9 or a power cut, until it is done.

    add ──► append + fdatasync (callers that wait share one) ──► take(shard) ──► done ──► file deleted when empty

Order holds within a shard. `done` is written down without a sync: after a power cut the last records may be
taken once more, never lost. Bounded by bytes and by age; what falls over the edge is the oldest, and counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ninesight_store.errors import RetryableError

from ninesight_collector.forward.segment import Ref, Segment, pack_record

__all__ = ["Record", "Spool", "SpoolSettings", "SpoolState"]

_log = logging.getLogger(__name__)
_CURSOR = struct.Struct("<QQI")


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Bounds of a queue."""

    shards: int = 4
    bytes_max: int = 1 << 30
    age_s_max: float = 86_400.0
    segment_bytes_max: int = 16 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """Something to add."""

    shard: int
    samples: int
    body: bytes


@dataclass(frozen=True, slots=True)
class SpoolState:
    """How full the queue is."""

    records: int
    samples: int
    bytes: int
    """On the disk, what is done but shares a file with what is not included."""
    oldest_ms: int
    """When the oldest waiting record was added; 0 for an empty queue."""


class Spool:
    """The queue of one receiver. Thread-safe; one process at a time."""

    def __init__(
        self,
        folder: Path,
        settings: SpoolSettings,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        dropped: Callable[[str, int], None] = lambda reason, samples: None,
    ) -> None:
        """Open the queue in `folder`, with what waits there. `dropped(reason, samples)` hears of losses.

        Raises OSError.
        """
        self._folder, self._settings = folder, settings
        self._now_ms, self._dropped = now_ms, dropped
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._syncing = threading.Lock()
        self._closed = False
        self._waiting: list[deque[Ref]] = [deque() for _ in range(settings.shards)]
        self._old: deque[Ref] = deque()
        """Records of another number of shards: they go first, one after another."""
        self._segments: dict[int, Segment] = {}
        self._left: dict[int, int] = {}
        """Records of each segment that are not done."""
        self._cursors: dict[int, int] = {}
        self._appended = self._synced = self._highest = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._guard = _locked(folder)
        self._load()
        self._active = self._begin_segment()

    def add(self, records: Sequence[Record]) -> None:
        """Keep the records; they are on the disk when this returns. Raises RetryableError."""
        written_ms = self._now_ms()
        blobs = [pack_record(one.shard, one.samples, written_ms, one.body) for one in records]
        try:
            with self._lock:
                if self._closed:
                    raise RetryableError("the queue is closed; send the same again later")
                if self._active.size >= self._settings.segment_bytes_max:
                    self._rotate()
                segment = self._active
                at = segment.append(b"".join(blobs))
                for one, blob in zip(records, blobs, strict=True):
                    ref = Ref(segment.number, at, len(one.body), one.shard, one.samples, written_ms)
                    self._waiting[one.shard].append(ref)
                    at += len(blob)
                self._left[segment.number] += len(records)
                self._appended += 1
                mine = self._appended
                self._bound()
                self._arrived.notify_all()
            self._sync(mine)
        except OSError as error:
            raise RetryableError(f"the queue cannot be written: {error}; free some space") from error

    def take(self, shard: int, samples_max: int, timeout_s: float) -> list[Ref]:
        """Return the next records of a shard, together at most `samples_max` samples (or one record).

        They stay in the queue until `done`. Empty after the timeout or when the queue was closed. Records of
        an earlier number of shards go to shard 0, and hold up the others until they are done.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while not self._closed:
                self._expire()
                if queue := self._queue_of(shard):
                    return _first(queue, samples_max)
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._arrived.wait(left)
        return []

    def body(self, ref: Ref) -> bytes | None:
        """Return the body of a record; None if it was dropped meanwhile, or is damaged."""
        with self._lock:
            segment = self._segments.get(ref.segment)
            return None if segment is None else segment.read(ref)

    def done(self, refs: Sequence[Ref]) -> list[Ref]:
        """Forget records that `take` returned, sent or not, in their order; return those that still waited."""
        removed: list[Ref] = []
        with self._lock:
            for ref in refs:
                segment = self._segments.get(ref.segment)
                if segment is None:
                    continue
                same = segment.shards == self._settings.shards
                queue = self._waiting[ref.shard] if same else self._old
                if queue and queue[0] == ref:
                    removed.append(queue.popleft())
                    self._mark(ref, segment.shards)
                    self._finish(ref)
            self._arrived.notify_all()
        return removed

    def state(self) -> SpoolState:
        """Return how full it is."""
        with self._lock:
            queues = [queue for queue in (self._old, *self._waiting) if queue]
            return SpoolState(
                sum(len(queue) for queue in queues),
                sum(ref.samples for queue in queues for ref in queue),
                self._bytes(),
                min((queue[0].written_ms for queue in queues), default=0),
            )

    def close(self) -> None:
        """Close the files; what waits stays on the disk. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._arrived.notify_all()
        with self._syncing, self._lock:
            for segment in self._segments.values():
                segment.close()
            for cursor in self._cursors.values():
                os.close(cursor)
            self._segments, self._cursors = {}, {}
            os.close(self._guard)

    def _queue_of(self, shard: int) -> deque[Ref]:
        if self._old:
            return self._old if shard == 0 else deque()
        return self._waiting[shard]

    def _finish(self, ref: Ref) -> None:
        left = self._left.get(ref.segment)
        if left is None:
            return
        self._left[ref.segment] = left - 1
        if left == 1 and ref.segment != self._active.number:
            self._remove(ref.segment)

    def _remove(self, number: int) -> None:
        segment = self._segments.pop(number)
        del self._left[number]
        segment.close()
        segment.path.unlink(missing_ok=True)

    def _expire(self) -> None:
        oldest_ms = self._now_ms() - int(self._settings.age_s_max * 1000)
        for queue in (self._old, *self._waiting):
            lost = 0
            while queue and queue[0].written_ms < oldest_ms:
                ref = queue.popleft()
                lost += ref.samples
                self._finish(ref)
            if lost:
                self._dropped("age", lost)

    def _bound(self) -> None:
        """Drop the oldest files until the bytes fit; the one being written stays."""
        while self._bytes() > self._settings.bytes_max and len(self._segments) > 1:
            number = min(self._segments)
            lost = 0
            for queue in (self._old, *self._waiting):
                while queue and queue[0].segment == number:
                    lost += queue.popleft().samples
            self._remove(number)
            self._dropped("full", lost)

    def _bytes(self) -> int:
        return sum(segment.size for segment in self._segments.values())

    def _sync(self, mine: int) -> None:
        with self._syncing:
            with self._lock:
                if self._synced >= mine or self._closed:
                    return
                target, active = self._appended, self._active
            try:
                active.sync()
            except OSError:
                with self._lock:
                    # One that was left meanwhile was synced then, and may be closed.
                    if active is self._active:
                        raise
            self._synced = target

    def _rotate(self) -> None:
        self._active.sync()
        before, self._active = self._active, self._begin_segment()
        if not self._left[before.number]:
            self._remove(before.number)

    def _begin_segment(self) -> Segment:
        self._highest += 1
        number = self._highest
        segment = Segment(self._folder / f"{number:012d}.q", number, self._settings.shards, create=True)
        segment.sync()
        _sync_folder(self._folder)
        self._segments[number], self._left[number] = segment, 0
        return segment

    def _load(self) -> None:
        paths = sorted(self._folder.glob("*.q"))
        for path in paths:
            number = int(path.stem)
            self._highest = max(self._highest, number)
            segment = Segment(path, number, self._settings.shards, create=False)
            done = self._done_until(segment.shards)
            refs = [ref for ref in segment.scan() if (number, ref.end) > done.get(ref.shard, (0, 0))]
            if not segment.sound and path != paths[-1]:
                _log.warning("%s is damaged: what follows its last sound record is lost", path)
                self._dropped("damaged", 0)
            if not refs:
                segment.close()
                path.unlink()
                continue
            self._segments[number], self._left[number] = segment, len(refs)
            for ref in refs:
                same = segment.shards == self._settings.shards
                (self._waiting[ref.shard] if same else self._old).append(ref)

    def _mark(self, ref: Ref, shards: int) -> None:
        """Write down that everything of a shard up to this record is done."""
        entry = struct.pack("<QQ", ref.segment, ref.end)
        with contextlib.suppress(OSError):
            # Not written, it is only sent once more after a crash.
            os.pwrite(
                self._cursor(shards), entry + struct.pack("<I", zlib.crc32(entry)), ref.shard * _CURSOR.size
            )

    def _cursor(self, shards: int) -> int:
        if shards not in self._cursors:
            path = self._folder / f"done-{shards}"
            self._cursors[shards] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._cursors[shards]

    def _done_until(self, shards: int) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        raw = os.pread(self._cursor(shards), shards * _CURSOR.size, 0)
        for shard in range(len(raw) // _CURSOR.size):
            segment, end, check = _CURSOR.unpack_from(raw, shard * _CURSOR.size)
            if check == zlib.crc32(raw[shard * _CURSOR.size :][: _CURSOR.size - 4]):
                found[shard] = (segment, end)
        return found


def _first(queue: deque[Ref], samples_max: int) -> list[Ref]:
    taken: list[Ref] = []
    samples = 0
    for ref in queue:
        samples += ref.samples
        if taken and samples > samples_max:
            break
        taken.append(ref)
    return taken


def _locked(folder: Path) -> int:
    """Return a descriptor that holds the folder for this process. Raises OSError where another has it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
