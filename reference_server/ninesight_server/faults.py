"""Faults a demo or a test may switch on: a model that answers late, or fails a share of its requests."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ninesight_server.errors import InferenceError, InvalidInputError

__all__ = ["Fault", "FaultSwitch", "read_fault"]

_DELAY_MS_MAX = 60_000.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a model; the default is nothing."""

    delay_ms: float = 0.0
    """Added before every batch."""
    error_ratio: float = 0.0
    """Share of requests answered with 500."""


class FaultSwitch:
    """The fault now in force for one model."""

    def __init__(self, random_01: Callable[[], float] = random.random) -> None:
        self.fault = Fault()
        self._random_01 = random_01

    def delay_s(self) -> float:
        """Seconds to hold the next batch back."""
        return self.fault.delay_ms / 1000.0

    def maybe_fail(self) -> None:
        """Raise InferenceError for the faulty share of requests."""
        if self.fault.error_ratio and self._random_01() < self.fault.error_ratio:
            raise InferenceError("injected fault")


def read_fault(body: Any) -> Fault:
    """Read `{"delay_ms": 250, "error_ratio": 0.1}`. Raises InvalidInputError."""
    if not isinstance(body, dict) or not set(body) <= {"delay_ms", "error_ratio"}:
        raise InvalidInputError(
            'a fault must be a JSON object with "delay_ms" and "error_ratio", nothing else'
        )
    delay_ms, error_ratio = body.get("delay_ms", 0.0), body.get("error_ratio", 0.0)
    for name, value, most in (("delay_ms", delay_ms, _DELAY_MS_MAX), ("error_ratio", error_ratio, 1.0)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise InvalidInputError(f"{name} must be a number from 0 to {most:g}, got {value!r}")
    return Fault(float(delay_ms), float(error_ratio))
