"""Engine calls on a bounded set of threads.

request ──► [ waiting: queue_max ] ──► [ running: workers_max ] ──► reply
             one more: BusyError
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from ninesight_query.cancel import cancelling
from ninesight_query.errors import DeadlineError, QueryCancelledError
from ninesight_query.http.errors import BusyError

__all__ = ["EnginePool"]

T = TypeVar("T")
Answer = asyncio.Future[Any]


class EnginePool:
    """Runs engine calls off the event loop. `run` is called on one event loop at a time."""

    def __init__(self, workers_max: int, queue_max: int) -> None:
        self._workers = ThreadPoolExecutor(workers_max, thread_name_prefix="ninesight-query")
        self._places = workers_max + queue_max
        self.pending = 0
        """Calls that run or wait."""
        self.done_total = 0
        """Calls that came to an end."""
        self.at_once_total = 0
        """Answers that needed no call: given on the event loop."""
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
        stop, answer = threading.Event(), loop.create_future()
        self._workers.submit(self._work, call, stop, loop, answer)
        timer = loop.call_later(timeout_s, self._expired, answer, timeout_s)
        leaving: Callable[[asyncio.Future[None]], None] = partial(self._gone, answer)
        if gone is not None:
            gone.add_done_callback(leaving)
        try:
            result: T = await answer
            return result
        finally:
            timer.cancel()
            if gone is not None:
                gone.remove_done_callback(leaving)
            stop.set()

    def _work(
        self, call: Callable[[], T], stop: threading.Event, loop: asyncio.AbstractEventLoop, answer: Answer
    ) -> None:
        """Run in a worker's thread; whoever was gone before his turn came costs nothing more."""
        result, error = None, None
        try:
            if stop.is_set():
                raise QueryCancelledError("nobody waited for the answer when the query's turn came")
            with cancelling(stop):
                result = call()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(self._left, answer, result, error)
        except RuntimeError:
            # The loop was closed while the call still ran.
            self.pending -= 1
            self.done_total += 1

    def _left(self, answer: Answer, result: object, error: BaseException | None) -> None:
        self.pending -= 1
        self.done_total += 1
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    def _expired(self, answer: Answer, timeout_s: float) -> None:
        if not answer.done():
            self.timed_out_total += 1
            answer.set_exception(
                DeadlineError(
                    f"a query must be answered within {timeout_s:g} s, this one was not; "
                    "narrow its selectors or its range, or raise timeout"
                )
            )

    def _gone(self, answer: Answer, gone: asyncio.Future[None]) -> None:
        if not answer.done() and not gone.cancelled():
            self.cancelled_total += 1
            answer.set_exception(QueryCancelledError("the client went away before the answer was there"))

    def close(self) -> None:
        """End the threads; waiting calls are dropped, running ones are awaited."""
        self._workers.shutdown(wait=True, cancel_futures=True)
