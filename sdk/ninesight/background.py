"""Daemon threads that start on first use, never before, and stop when told.

Periodic ── wait(interval) or request ──► action() ──► next interval
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from ninesight.faults import Faults

__all__ = ["Periodic"]


class Periodic:
    """Runs `action` every so often on a daemon thread of its own; `action` returns the next wait in seconds."""

    def __init__(self, name: str, action: Callable[[], float], *, interval_s: float, faults: Faults) -> None:
        self._name = name
        self._action = action
        self._interval_s = interval_s
        self._faults = faults
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asked = 0
        self._answered = 0
        self._stopping = False

    @property
    def running(self) -> bool:
        """True from `start` until the thread has ended."""
        return self._thread is not None

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self._thread is not None:
            return
        with self._condition:
            if self._thread is None and not self._stopping:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread = thread
                thread.start()

    def ask(self, timeout_s: float) -> bool:
        """Have one whole action run from now on; False if it did not end in time, or no thread runs."""
        deadline = monotonic() + timeout_s
        with self._condition:
            if self._thread is None:
                return False
            self._asked += 1
            ticket = self._asked
            self._condition.notify_all()
            while self._answered < ticket and not self._stopping:
                left = deadline - monotonic()
                if left <= 0:
                    break
                self._condition.wait(left)
            return self._answered >= ticket

    def stop(self) -> None:
        """Have the thread end after the action under way."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end, at most so long."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _run(self) -> None:
        interval_s = self._interval_s
        while True:
            with self._condition:
                if not self._stopping and self._asked == self._answered:
                    self._condition.wait(interval_s)
                if self._stopping:
                    self._thread = None
                    return
                ticket = self._asked
            try:
                interval_s = self._action()
            except Exception as error:
                self._faults.internal(self._name, error)
            with self._condition:
                self._answered = ticket
                self._condition.notify_all()
