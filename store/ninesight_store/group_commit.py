"""Group commit: one commit at a time, and every batch that waits for it rides in the next one.

    submit ──queue──► nobody commits: lead, take all that wait, commit them ──► wake the others
                 └──► somebody does: sleep until it is done, or until it is one's turn to lead

A lone writer never waits: it finds nobody and leads. After a commit that several small batches shared, the next
leader waits until as many have come again, at most `group_commit_ms_max`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ninesight_store.config import StoreSettings
from ninesight_store.contract import Batch
from ninesight_store.errors import RetryableError
from ninesight_store.hot import HotDraft

__all__ = ["GroupCommit", "Pending"]

_SMALL_BATCH = 1000


@dataclass(eq=False)
class Pending:
    """A batch on its way to the disk."""

    batch: Batch
    drafts: list[HotDraft]
    done: bool = False
    error: Exception | None = field(default=None)


class GroupCommit:
    """Gathers batches for `commit`, which gets each group once and raises to fail all of it."""

    def __init__(self, commit: Callable[[list[Pending]], None], settings: StoreSettings) -> None:
        self._commit, self._settings = commit, settings
        self._mutex = threading.Lock()
        self._free = threading.Condition(self._mutex)
        self._arrived = threading.Condition(self._mutex)
        self._queue: deque[Pending] = deque()
        self._busy = False
        self._last = 1

    @property
    def waiting(self) -> int:
        """Batches that no commit has taken yet."""
        return len(self._queue)

    def submit(self, pending: Pending) -> None:
        """Return when the batch is committed; raise what its commit raised."""
        with self._mutex:
            self._queue.append(pending)
            self._arrived.notify()
            while self._busy and not pending.done:
                self._free.wait()
            leads = not pending.done
            if leads:
                self._busy = True
                self._wait_for_company(pending)
        if leads:
            try:
                self._lead(pending)
            finally:
                self._leave()
        if pending.error is not None:
            raise pending.error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold up all commits for the block; batches gather meanwhile."""
        with self._mutex:
            while self._busy:
                self._free.wait()
            self._busy = True
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._mutex:
            self._busy = False
            self._free.notify_all()

    def _wait_for_company(self, pending: Pending) -> None:
        wait_ms = self._settings.group_commit_ms_max
        if self._last > 1 and wait_ms and len(pending.batch) < _SMALL_BATCH:
            self._arrived.wait_for(lambda: len(self._queue) >= self._last, wait_ms / 1000)

    def _lead(self, own: Pending) -> None:
        while not own.done:
            with self._mutex:
                size = min(len(self._queue), self._settings.group_commit_batches_max)
                group = [self._queue.popleft() for _ in range(size)]
                self._last = size
            try:
                self._commit(group)
            except Exception as error:
                self._fail(group, error)
            except BaseException:
                self._fail(group, RetryableError("the commit was interrupted; try again"))
                raise
            finally:
                for pending in group:
                    pending.done = True

    @staticmethod
    def _fail(group: list[Pending], error: Exception) -> None:
        for pending in group:
            pending.error = error
