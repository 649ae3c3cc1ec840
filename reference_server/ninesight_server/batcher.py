"""Dynamic batching without a timer: a run takes whatever queued while the run before it was busy.

    submit ─► queue (bounded; full = shed) ─► collect ≤ batch_rows_max ─► run ─► futures
                   ▲ expired or cancelled members are left out ┘

A lone request waits for nobody; under load batches grow by themselves to what the device can take.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import ninesight
import numpy as np

from ninesight_server.contract import Backend, Tensors
from ninesight_server.errors import DeadlineError, InferenceError, OverloadedError

__all__ = ["Batcher", "BatcherSettings", "Member"]

_INLINE_S_MAX = 0.0005
"""A run shorter than this is done on the event loop: handing it to a thread would cost more."""


@dataclass(frozen=True, slots=True)
class BatcherSettings:
    """Bounds of one model's batcher."""

    batch_rows_max: int = 64
    queue_requests_max: int = 512
    """More waiting requests than this are shed."""


@dataclass(eq=False, slots=True)
class Member:
    """One request in the queue."""

    inputs: Tensors
    rows: int
    deadline_s: float
    """On the batcher's clock."""
    answer: asyncio.Future[Tensors]
    queued_s: float
    call: ninesight.Call | None = None
    """What the SDK records of it; None for a request of the server's own."""


@dataclass(slots=True)
class _Pending:
    members: deque[Member] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Batcher:
    """Runs one backend. All methods belong to one event loop."""

    def __init__(
        self,
        backend: Backend,
        settings: BatcherSettings,
        *,
        around_run: Callable[[Sequence[Member]], AbstractContextManager[object]] = nullcontext,
        before_run: Callable[[], float] = lambda: 0.0,
        clock_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Make a batcher that runs nothing yet.

        `around_run(members)` is entered around each run, on the thread that runs it. `before_run()` returns seconds
        to hold a run back (faults).
        """
        self._backend = backend
        self._settings = settings
        self._around_run = around_run
        self._before_run = before_run
        self._clock_s = clock_s
        self._pending = _Pending()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"run-{backend.spec.name}")
        self._per_row_s = 0.0
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._pending.members)

    def start(self) -> None:
        """Begin running batches on the current event loop."""
        self._task = asyncio.get_running_loop().create_task(
            self._work(), name=f"batches-{self._backend.spec.name}"
        )

    async def stop(self) -> None:
        """Finish what is queued, then end. Safe to call twice."""
        self._closing = True
        self._pending.wake.set()
        if self._task:
            await self._task
        self._thread.shutdown()

    def submit(
        self, inputs: Tensors, timeout_s: float, *, call: ninesight.Call | None = None, first: bool = False
    ) -> Member:
        """Queue a request; await its `answer`. Raises OverloadedError when the queue is full.

        One that goes `first` is in the next run, whatever waits: for the server's own, one at a time.
        """
        if len(self._pending.members) >= self._settings.queue_requests_max and not first:
            raise OverloadedError(
                f"{self._backend.spec.name}: at most {self._settings.queue_requests_max} requests may wait; "
                "the request was not begun, send it again later"
            )
        now_s = self._clock_s()
        rows = len(next(iter(inputs.values())))
        answer: asyncio.Future[Tensors] = asyncio.get_running_loop().create_future()
        member = Member(inputs, rows, now_s + timeout_s, answer, now_s, call)
        if first:
            self._pending.members.appendleft(member)
        else:
            self._pending.members.append(member)
        self._pending.wake.set()
        return member

    async def _work(self) -> None:
        pending = self._pending
        while True:
            if not pending.members:
                if self._closing:
                    return
                pending.wake.clear()
                await pending.wake.wait()
                # One turn of the loop lets every request already on the wire join this batch.
                await asyncio.sleep(0)
            if hold_s := self._before_run():
                await asyncio.sleep(hold_s)
            if batch := self._collect():
                await self._run(batch)

    def _collect(self) -> list[Member]:
        """Take members in order up to the row limit; those past their deadline are answered, not run."""
        members = self._pending.members
        batch: list[Member] = []
        rows = 0
        now_s = self._clock_s()
        while members:
            member = members[0]
            if member.answer.done():
                members.popleft()
            elif now_s >= member.deadline_s:
                members.popleft()
                member.answer.set_exception(
                    DeadlineError(
                        f"{self._backend.spec.name}: waited {now_s - member.queued_s:.3f} s in the queue"
                    )
                )
            elif batch and rows + member.rows > self._settings.batch_rows_max:
                break
            else:
                members.popleft()
                rows += member.rows
                batch.append(member)
        return batch

    async def _run(self, batch: list[Member]) -> None:
        rows = sum(member.rows for member in batch)
        inputs = batch[0].inputs
        if len(batch) > 1:
            inputs = {name: np.concatenate([m.inputs[name] for m in batch]) for name in inputs}
        start_s = self._clock_s()
        try:
            if 0.0 < self._per_row_s * rows < _INLINE_S_MAX:
                outputs = self._execute(batch, inputs)
            else:
                loop = asyncio.get_running_loop()
                outputs = await loop.run_in_executor(self._thread, self._execute, batch, inputs)
        except Exception as error:
            wrapped = error if isinstance(error, InferenceError) else InferenceError(str(error))
            for member in batch:
                if not member.answer.done():
                    member.answer.set_exception(wrapped)
            return
        seconds = self._clock_s() - start_s
        per_row_s = seconds / rows
        self._per_row_s = per_row_s if not self._per_row_s else 0.9 * self._per_row_s + 0.1 * per_row_s
        self._answer(batch, outputs)

    def _execute(self, batch: list[Member], inputs: Tensors) -> Tensors:
        with self._around_run(batch):
            return self._backend.run(inputs)

    @staticmethod
    def _answer(batch: list[Member], outputs: Tensors) -> None:
        first = 0
        for member in batch:
            if not member.answer.done():
                part = {name: values[first : first + member.rows] for name, values in outputs.items()}
                member.answer.set_result(part)
            first += member.rows
