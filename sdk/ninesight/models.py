"""A handle on one model version, for what is not a call: loading, readiness, batches, the queue, caches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ninesight.accelerator import Measured
from ninesight.batches import Execution
from ninesight.calls import Call
from ninesight.checks import amount, clean, whole
from ninesight.errors import ConfigError
from ninesight.events import BATCH, DEVICE, LOOKUP
from ninesight.labels import usable_label
from ninesight.series import ModelSeries

__all__ = ["CIRCUIT_STATES", "ModelHandle"]

CIRCUIT_STATES = {"closed": 0.0, "half_open": 1.0, "open": 2.0}
"""Values of `model_circuit_state`."""

_RESERVED = ("model", "version", "job", "instance")
_INFO_MAX = 20


class ModelHandle:
    """Says things of a model version. Safe from any thread; only `info` and `circuit` may raise, at start."""

    __slots__ = ("_series",)

    def __init__(self, series: ModelSeries) -> None:
        self._series = series

    def ready(self, ready: bool = True) -> None:
        """Say whether the model can answer now (`model_ready`)."""
        self._say("model_ready", float(bool(ready)))

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Time a load: afterwards the version is loaded; not if it raised."""
        start_s = time.perf_counter()
        yield
        self.load_duration(time.perf_counter() - start_s)
        self._say("model_loaded", 1.0)

    def load_duration(self, duration_s: float) -> None:
        """Say how long the last load took, in seconds (`model_load_duration_seconds`)."""
        seconds = self._amount("load duration", duration_s)
        if seconds is not None:
            self._say("model_load_duration_seconds", seconds)

    def loaded(self, loaded: bool = True) -> None:
        """Say whether the version is in memory (`model_loaded`); one that is not is not ready either."""
        self._say("model_loaded", float(bool(loaded)))
        if not loaded:
            self.ready(False)

    def golden_check(self, passed: bool, *, at_s: float | None = None) -> None:
        """Say whether the golden input was answered rightly, and when (Unix seconds, default now)."""
        moment = self._amount("the time of a golden check", time.time() if at_s is None else at_s)
        if moment is not None:
            self._say("model_golden_check_success", float(bool(passed)))
            self._say("model_golden_check_timestamp_seconds", moment)

    def batch(self, size: int, accelerator_seconds: float | None = None, gpu: str = "0") -> None:
        """Record one executed batch: its members, and how long which accelerator worked on it, as you measured.

        `model_batch_size` and `model_accelerator_seconds_total{gpu}`; once for the batch, not once a member.
        """
        members = whole(size)
        if members is None:
            self._series.faults.refuse("batch size must be an int of at least 0", size, "counted as no batch")
            members = 0
        here = self._series.buffers.here()
        here.put((BATCH, self._series, members))
        if accelerator_seconds is not None:
            seconds = self._amount("accelerator seconds", accelerator_seconds)
            if seconds is not None:
                here.put((DEVICE, ((self._series, 1.0),), gpu, Measured(seconds)))

    def execution(
        self,
        calls: Sequence[Call] = (),
        *,
        size: int | None = None,
        weights: Sequence[float] | None = None,
        gpu: object = None,
    ) -> Execution:
        """Return a context manager around one batch execution that serves these calls (see `Execution`).

        `size` where members are not calls; `weights` where they did not cost the same; `gpu` is the index.
        """
        return Execution(self._series, calls, size=size, weights=weights, gpu=gpu)

    def queue_depth(self, depth: float | Callable[[], float]) -> None:
        """Say how many requests wait now, or give a callable that is asked at each export."""
        self._gauge("model_queue_depth", "queue depth", depth)

    def kv_cache_usage(self, ratio: float | Callable[[], float]) -> None:
        """Say how full the KV cache is, 0 to 1, or give a callable that is asked at each export."""
        self._gauge("model_kv_cache_usage_ratio", "KV cache usage", ratio)

    def circuit(self, state: str) -> None:
        """Say the state of the model's circuit breaker: closed, half_open or open. Raises ConfigError for others."""
        if state not in CIRCUIT_STATES:
            raise ConfigError(
                f"a circuit must be {', '.join(CIRCUIT_STATES)}, got {state!r}; use one of these words"
            )
        self._say("model_circuit_state", CIRCUIT_STATES[state])

    def cache_lookup(self, cache: str, *, hit: bool) -> None:
        """Count one look-up in a cache of answers, features or prefixes."""
        self._series.buffers.here().put((LOOKUP, self._series, cache, "hit" if hit else "miss"))

    def info(self, **facts: str) -> None:
        """Say what the model is (`framework="onnx"`, ...), as labels of `model_info`.

        Raises ConfigError for more than 20 facts or a name that is no label.
        """
        wrong = [name for name in facts if not usable_label(name, _RESERVED)]
        if wrong or len(facts) > _INFO_MAX:
            raise ConfigError(
                f"info takes at most {_INFO_MAX} facts named by letters, digits and _, none of "
                f"{', '.join(sorted(_RESERVED))}; got {', '.join(wrong) or len(facts)}; rename or leave out"
            )
        self._series.info = {name: clean(value) for name, value in facts.items()}
        self._series.buffers.here()

    def _say(self, gauge: str, value: float) -> None:
        self._series.gauges[gauge] = value
        self._series.buffers.here()

    def _gauge(self, gauge: str, what: str, value: float | Callable[[], float]) -> None:
        if callable(value):
            self._series.gauges[gauge] = value
        elif (number := self._amount(what, value)) is not None:
            self._say(gauge, number)

    def _amount(self, what: str, value: float) -> float | None:
        number = amount(value)
        if number is None:
            self._series.faults.refuse(f"{what} must be a finite number of at least 0", value, "ignored")
        return number
