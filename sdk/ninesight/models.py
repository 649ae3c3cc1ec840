"""A handle on one model version, for what is not a call: readiness, loading, batches, the queue."""

from __future__ import annotations

import re
from collections.abc import Callable

from ninesight.aggregate import BATCH
from ninesight.checks import amount, clean, whole
from ninesight.errors import ConfigError
from ninesight.series import ModelSeries

__all__ = ["ModelHandle"]

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_RESERVED = {"model", "version", "job", "instance"}
_INFO_MAX = 20


class ModelHandle:
    """Says things of a model version. Safe from any thread; only `info` may raise, at start."""

    __slots__ = ("_series",)

    def __init__(self, series: ModelSeries) -> None:
        self._series = series

    def ready(self, ready: bool = True) -> None:
        """Say whether the model can answer now (`model_ready`)."""
        self._series.ready = bool(ready)
        self._series.buffers.here()

    def load_duration(self, duration_s: float) -> None:
        """Say how long the last load took, in seconds (`model_load_duration_seconds`)."""
        seconds = self._amount("load duration", duration_s)
        if seconds is not None:
            self._series.load_duration_s = seconds
            self._series.buffers.here()

    def batch(self, size: int, accelerator_seconds: float | None = None, gpu: str = "0") -> None:
        """Record one executed batch: its members, and how long which accelerator worked on it.

        `model_batch_size` and `model_accelerator_seconds_total{gpu}`; once for the batch, not once a member.
        """
        seconds = None
        if accelerator_seconds is not None:
            seconds = self._amount("accelerator seconds", accelerator_seconds)
        members = whole(size)
        if members is None:
            self._series.faults.refuse("batch size must be an int of at least 0", size, "counted as no batch")
            members = 0
        self._series.buffers.here().put((BATCH, self._series, members, seconds, gpu))

    def queue_depth(self, depth: float | Callable[[], float]) -> None:
        """Say how many requests wait now, or give a callable that is asked at each export."""
        if callable(depth):
            self._series.queue_depth = depth
        elif (count := self._amount("queue depth", depth)) is not None:
            self._series.queue_depth = count

    def info(self, **facts: str) -> None:
        """Say what the model is (`framework="onnx"`, ...), as labels of `model_info`.

        Raises ConfigError for more than 20 facts or a name that is no label.
        """
        wrong = [
            name for name in facts if not _LABEL.match(name) or name.startswith("__") or name in _RESERVED
        ]
        if wrong or len(facts) > _INFO_MAX:
            raise ConfigError(
                f"info takes at most {_INFO_MAX} facts named by letters, digits and _, none of "
                f"{', '.join(sorted(_RESERVED))}; got {', '.join(wrong) or len(facts)}; rename or leave out"
            )
        self._series.info = {name: clean(value) for name, value in facts.items()}
        self._series.buffers.here()

    def _amount(self, what: str, value: float) -> float | None:
        number = amount(value)
        if number is None:
            self._series.faults.refuse(f"{what} must be a finite number of at least 0", value, "ignored")
        return number
