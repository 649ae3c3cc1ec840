"""Engine calls on a bounded set of threads.

request ──► [ waiting: queue_max ] ──► [ running: workers_max ] ──► reply
             one more: BusyError
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ninesight_query.errors import DeadlineError
from ninesight_query.http.errors import BusyError

__all__ = ["EnginePool"]

T = TypeVar("T")


class EnginePool:
    """Runs engine calls off the event loop. `run` is called on one event loop at a time."""

    def __init__(self, workers_max: int, queue_max: int) -> None:
        self._workers = ThreadPoolExecutor(workers_max, thread_name_prefix="ninesight-query")
        self._places = workers_max + queue_max
        self.pending = 0
        """Calls that run or wait."""
        self.done_total = 0
        """Calls that came to an end."""
        self.refused_total = 0
        """Calls refused because all places were taken."""
        self.timed_out_total = 0
        """Calls whose client waited too long; the engine still ends them by its own deadline."""

    async def run(self, call: Callable[[], T], timeout_s: float) -> T:
        """Run a call and return its result.

        Raises BusyError where no place is free, DeadlineError after `timeout_s`, and what the call raises.
        A call that ran out of time keeps its place until it ends.
        """
        if self.pending >= self._places:
            self.refused_total += 1
            raise BusyError(
                f"at most {self._places} queries may run and wait, all places are taken; try again in a moment"
            )
        self.pending += 1
        loop = asyncio.get_running_loop()
        future = self._workers.submit(call)
        future.add_done_callback(lambda ended: self._leave(loop, ended))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
        except TimeoutError as error:
            if future.done() and not future.cancelled():
                raise
            self.timed_out_total += 1
            raise DeadlineError(
                f"a query must be answered within {timeout_s:g} s, this one was not; "
                "narrow its selectors or its range, or raise timeout"
            ) from error

    def _leave(self, loop: asyncio.AbstractEventLoop, _: Future[T]) -> None:
        try:
            loop.call_soon_threadsafe(self._left)
        except RuntimeError:
            # The loop was closed while the call still ran.
            self._left()

    def _left(self) -> None:
        self.pending -= 1
        self.done_total += 1

    def close(self) -> None:
        """End the threads; waiting calls are dropped, running ones are awaited."""
        self._workers.shutdown(wait=True, cancel_futures=True)
