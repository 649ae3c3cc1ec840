"""Engine calls on a bounded set of threads.

request ──► [ waiting: queue_max ] ──► [ running: workers_max ] ──► reply
             one more: BusyError
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ninesight_query.cancel import cancelling
from ninesight_query.errors import DeadlineError, QueryCancelledError
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
        """Calls whose client waited too long."""
        self.cancelled_total = 0
        """Calls whose client went away."""

    async def run(
        self, call: Callable[[], T], timeout_s: float, *, gone: asyncio.Future[None] | None = None
    ) -> T:
        """Return what the call returns. `gone` is done once the client does not wait any more.

        Raises BusyError when no place is free, DeadlineError after `timeout_s`, QueryCancelledError when the
        client went, and what the call raises. The engine is told to stop in both cases; the call keeps its
        place until it did.
        """
        if timeout_s <= 0:
            raise DeadlineError(
                f"a query must get some time, got a timeout of {timeout_s:g} s; write timeout=30s"
            )
        if self.pending >= self._places:
            self.refused_total += 1
            raise BusyError(
                f"at most {self._places} queries may run and wait, all places are taken; try again in a moment"
            )
        self.pending += 1
        loop = asyncio.get_running_loop()
        stop = threading.Event()
        future = self._workers.submit(_stoppable, call, stop)
        future.add_done_callback(lambda ended: self._leave(loop, ended))
        answer = asyncio.wrap_future(future)
        waited: list[asyncio.Future[Any]] = [answer] if gone is None else [answer, gone]
        try:
            await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
        finally:
            if not answer.done():
                stop.set()
                answer.cancel()
        if gone is not None and gone.done():
            self.cancelled_total += 1
            raise QueryCancelledError("the client went away before the answer was there")
        self.timed_out_total += 1
        raise DeadlineError(
            f"a query must be answered within {timeout_s:g} s, this one was not; "
            "narrow its selectors or its range, or raise timeout"
        )

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


def _stoppable(call: Callable[[], T], stop: threading.Event) -> T:
    """Run in a worker's thread; whoever was gone before his turn came costs nothing more."""
    if stop.is_set():
        raise QueryCancelledError("nobody waited for the answer when the query's turn came")
    with cancelling(stop):
        return call()
