"""Run tasks at their intervals on a monotonic clock: one thread decides, a bounded pool works.

    due list ─► not running? ─ yes ► pool ─► task.run()
                     └ no ► this turn is left out and counted (never two at once)

The first turn of a task is put off by a fixed share of its interval, taken from its name, so that
many targets do not all answer in the same moment.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ninesight_collector.counters import Counters

__all__ = ["Schedule", "Task", "offset_s"]

_log = logging.getLogger(__name__)
_OFFSET_S_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Task:
    """Something done again and again. `run` must not raise; if it does, that is logged and the loop goes on."""

    name: str
    interval_s: float
    run: Callable[[], None]
    offset_s: float = 0.0
    """Wait before the first turn, seconds."""


def offset_s(name: str, interval_s: float) -> float:
    """Return where in its interval (at most 5 s in) a task of this name begins; always the same for a name."""
    share = zlib.crc32(name.encode()) / 2**32
    return share * min(interval_s, _OFFSET_S_MAX)


class Schedule:
    """Runs tasks between `start` and `stop`. Not restartable."""

    def __init__(
        self,
        tasks: Sequence[Task],
        counters: Counters,
        *,
        workers: int = 8,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks = tasks
        self._counters = counters
        self._monotonic = monotonic
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="ninesight-collect")
        self._running: dict[int, Future[None]] = {}
        self._thread = threading.Thread(target=self._loop, name="ninesight-schedule", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Begin no more turns and wait for those under way; False if some still ran after the timeout."""
        deadline = self._monotonic() + timeout_s
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._pool.shutdown(wait=False, cancel_futures=True)
        # A future cancelled before its turn is never "done" to `wait`: nobody is left to tell it.
        begun = [future for future in self._running.values() if not future.cancelled()]
        left = wait(begun, max(0.0, deadline - self._monotonic())).not_done
        if not left:
            self._pool.shutdown(wait=True)
        return not left and not self._thread.is_alive()

    def _loop(self) -> None:
        began = self._monotonic()
        due = [(began + task.offset_s, place) for place, task in enumerate(self._tasks)]
        heapq.heapify(due)
        while due and not self._stopping.wait(max(0.0, due[0][0] - self._monotonic())):
            at, place = heapq.heappop(due)
            self._turn(place)
            interval_s = self._tasks[place].interval_s
            # After a pause (a suspended laptop) the missed turns are not made up for.
            missed = max(0, int((self._monotonic() - at) / interval_s))
            heapq.heappush(due, (at + interval_s * (missed + 1), place))

    def _turn(self, place: int) -> None:
        task = self._tasks[place]
        before = self._running.get(place)
        if before is not None and not before.done():
            self._counters.add("overruns_total", task=task.name)
            return
        self._running[place] = self._pool.submit(self._run, task)

    def _run(self, task: Task) -> None:
        try:
            task.run()
        except Exception:
            _log.exception("the task %s broke; it goes on at its next turn", task.name)
