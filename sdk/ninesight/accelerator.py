"""How long an accelerator worked: CUDA events where PyTorch runs on a GPU, wall time elsewhere.

A CUDA event pair is read when the GPU has passed it, on the aggregation thread: nobody synchronises
a stream for us. `basis` says how a time was measured: `cuda_event`, `wall` or `reported`.
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any, Protocol

__all__ = ["CudaTimer", "Measured", "Timer", "WallTimer", "timer"]


class Timer(Protocol):
    """Measures one piece of work. Made when it begins; `stop` is called once, when it ends."""

    basis: str
    """cuda_event, wall or reported."""
    gpu: str
    """Index of the device."""

    def stop(self) -> None:
        """End the measurement. Does not wait for the device."""

    def seconds(self) -> float | None:
        """Return the seconds; None while the device has not got there. Any thread, after `stop`."""


class Measured:
    """Seconds somebody else measured."""

    __slots__ = ("_seconds", "basis", "gpu")

    def __init__(self, seconds: float, basis: str = "reported", gpu: str = "0") -> None:
        self._seconds = seconds
        self.basis = basis
        self.gpu = gpu

    def stop(self) -> None:
        """Do nothing."""

    def seconds(self) -> float | None:
        """Return the seconds as given."""
        return self._seconds


class WallTimer:
    """Wall time of the wrapped execution."""

    __slots__ = ("_seconds", "_start", "basis", "gpu")

    def __init__(self, gpu: str) -> None:
        self.basis = "wall"
        self.gpu = gpu
        self._seconds = 0.0
        self._start = perf_counter()

    def stop(self) -> None:
        """Read the clock."""
        self._seconds = perf_counter() - self._start

    def seconds(self) -> float | None:
        """Return the seconds between the two readings."""
        return self._seconds


class CudaTimer:
    """Two events on the current stream of the current device."""

    __slots__ = ("_begin", "_end", "basis", "gpu")

    def __init__(self, torch: Any, gpu: str | None) -> None:
        self.basis = "cuda_event"
        self.gpu = str(torch.cuda.current_device()) if gpu is None else gpu
        self._begin = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)
        self._begin.record()

    def stop(self) -> None:
        """Put the second event on the stream."""
        self._end.record()

    def seconds(self) -> float | None:
        """Return the GPU's own time between the events, once it has passed the second."""
        if not self._end.query():
            return None
        return float(self._begin.elapsed_time(self._end)) / 1000.0


def timer(gpu: object = None) -> Timer:
    """Return a running timer. CUDA is used only where the process has begun to use it: it cannot be begun for us."""
    torch = sys.modules.get("torch")
    name = None if gpu is None else str(gpu)
    try:
        if torch is not None and torch.cuda.is_initialized():
            return CudaTimer(torch, name)
    except Exception:  # noqa: S110 - a half-imported or broken torch: wall time is told as such.
        pass
    return WallTimer(name or "0")
