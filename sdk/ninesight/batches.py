"""One batch execution that serves many requests: recorded once for the device, once for each request.

    with ninesight.model("ranker").execution(calls) as execution:
        outputs = run(inputs)

Each member gets its wait as the stage `batch`, the run as the stage `inference`, and its share of the
device seconds; the batch size is recorded once. Shares sum to the whole: equal, or by `weights`.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from types import TracebackType
from typing import Self

from ninesight.accelerator import Timer, timer
from ninesight.calls import Call, NoCall
from ninesight.checks import amount, whole
from ninesight.events import BATCH, DEVICE
from ninesight.series import ModelSeries

__all__ = ["Accelerator", "Execution"]


class Execution:
    """Times the execution of one batch. Use it as a context manager, once, on the thread that runs the batch."""

    __slots__ = ("_calls", "_gpu", "_series", "_size", "_start", "_timer", "_weights", "duration_s")

    def __init__(
        self,
        series: ModelSeries,
        calls: Sequence[Call],
        *,
        size: int | None = None,
        weights: Sequence[float] | None = None,
        gpu: object = None,
    ) -> None:
        self._series = series
        self._calls = self._known(calls)
        self._size = len(self._calls) if size is None else self._checked_size(size)
        self._weights = weights
        self._gpu = gpu
        self._start = 0.0
        self._timer: Timer | None = None
        self.duration_s: float | None = None
        """Wall seconds from entry to exit; None until then."""

    def __enter__(self) -> Self:
        self._start = now_s = perf_counter()
        for call in self._calls:
            if call is not None and call.waiting_since:
                call.add_stage("batch", max(0.0, now_s - call.waiting_since))
        self._timer = timer(self._gpu)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = self._timer
        if running is None:
            return
        running.stop()
        self._timer = None
        self.duration_s = duration_s = perf_counter() - self._start
        for call in self._calls:
            if call is not None:
                call.add_stage("inference", duration_s)
        here = self._series.buffers.here()
        here.put((BATCH, self._series, self._size))
        here.put((DEVICE, self._shares(), running.gpu, running))

    def _known(self, calls: Sequence[Call]) -> tuple[Call | None, ...]:
        """Return the members; None for what `current()` gives outside a call, or while all is off."""
        try:
            return tuple(
                call if isinstance(call, Call) and not isinstance(call, NoCall) else None for call in calls
            )
        except TypeError:
            self._series.faults.refuse("an execution takes a sequence of calls", calls, "taken as none")
            return ()

    def _checked_size(self, size: int) -> int:
        members = whole(size)
        if members is None:
            self._series.faults.refuse("batch size must be an int of at least 0", size, "counted as no batch")
        return members or 0

    def _shares(self) -> tuple[tuple[ModelSeries, float], ...]:
        """Return each series' share. Members of one series are told together; those of no call are the model's own."""
        members = [self._series if call is None else call.series for call in self._calls] or [self._series]
        if members.count(members[0]) == len(members):
            return ((members[0], 1.0),)
        weights = self._checked_weights()
        total = sum(weights)
        shares: dict[ModelSeries, float] = {}
        for series, weight in zip(members, weights, strict=True):
            shares[series] = shares.get(series, 0.0) + weight / total
        return tuple(shares.items())

    def _checked_weights(self) -> list[float]:
        equal = [1.0] * len(self._calls)
        if self._weights is None:
            return equal
        try:
            weights = [amount(weight) for weight in self._weights]
        except TypeError:
            weights = []
        usable = [weight for weight in weights if weight is not None]
        if len(usable) != len(self._calls) or sum(usable) <= 0:
            self._series.faults.refuse(
                "weights must be a number of at least 0 for each member, not all 0",
                self._weights,
                "split equally",
            )
            return equal
        return usable


class Accelerator:
    """Times work on an accelerator for the running call. Outside a call it records nothing."""

    __slots__ = ("_gpu", "_series", "_timer")

    def __init__(self, series: ModelSeries | None, gpu: object = None) -> None:
        self._series = series
        self._gpu = gpu
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        self._timer = timer(self._gpu)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running, self._timer = self._timer, None
        if running is not None and self._series is not None:
            running.stop()
            self._series.buffers.here().put((DEVICE, ((self._series, 1.0),), running.gpu, running))
