"""How many queries one engine evaluates at the same time.

query ──► [ waiting: waiting_max ] ──► [ running: running_max ] ──► answer
           one more: BusyError          waited too long: DeadlineError
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ninesight_query.cancel import Cancelled
from ninesight_query.errors import BusyError, DeadlineError, QueryCancelledError

__all__ = ["Gate"]

_LOOK_S = 0.05
"""How often a waiting query looks whether it is still wanted."""


class Gate:
    """Places for running queries, and for those that wait for one. Safe to use from many threads."""

    def __init__(self, running_max: int, waiting_max: int) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._running_max = running_max
        self._waiting_max = waiting_max
        self.running = 0
        self.waiting = 0

    @contextmanager
    def place(self, until_s: float, clock_s: Callable[[], float], cancelled: Cancelled) -> Iterator[None]:
        """Hold a place. Raises BusyError, DeadlineError after `until_s` of the clock, QueryCancelledError."""
        self._enter(until_s, clock_s, cancelled)
        try:
            yield
        finally:
            self.leave()

    def enter_at_once(self) -> bool:
        """Take a place if one is free, and say so. Who took one gives it back by `leave`."""
        with self._lock:
            if self.running >= self._running_max:
                return False
            self.running += 1
            return True

    def leave(self) -> None:
        """Give a place back."""
        with self._lock:
            self.running -= 1
            if self.waiting:
                self._changed.notify()

    def _enter(self, until_s: float, clock_s: Callable[[], float], cancelled: Cancelled) -> None:
        with self._changed:
            if self.running < self._running_max:
                self.running += 1
                return
            if self.waiting >= self._waiting_max:
                raise BusyError(
                    f"at most {self._running_max} queries may run and {self._waiting_max} wait, all places are "
                    "taken; try again in a moment, or raise the engine's queries_max"
                )
            self.waiting += 1
            try:
                while self.running >= self._running_max:
                    if cancelled():
                        raise QueryCancelledError("the query was cancelled while it waited for a place")
                    if clock_s() > until_s:
                        raise DeadlineError(
                            f"the query found no place within its deadline: {self._running_max} others run; "
                            "try again in a moment, or raise the engine's queries_max"
                        )
                    self._changed.wait(_LOOK_S)
                self.running += 1
            finally:
                self.waiting -= 1
