"""When requests leave: a Poisson process whose rate follows a shape. Pure in (shape, rate, duration, generator)."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["SHAPES", "arrivals", "rate_at"]

SHAPES = ("steady", "burst", "fault")

_BURST_EVERY_S = 20.0
_BURST_S = 5.0
_BURST_FACTOR = 3.0


def rate_at(shape: str, at_s: float, rate_per_s: float) -> float:
    """Return requests per second at a time since the start. `fault` is steady: the server changes, not the traffic."""
    if shape == "burst" and at_s % _BURST_EVERY_S >= _BURST_EVERY_S - _BURST_S:
        return rate_per_s * _BURST_FACTOR
    return rate_per_s


def arrivals(shape: str, rate_per_s: float, duration_s: float, rng: random.Random) -> Iterator[float]:
    """Yield seconds since the start, ascending, by thinning (Lewis and Shedler 1979).

    Open loop: a slow server does not slow the arrivals, so its queueing is seen in full.
    """
    highest = rate_per_s * (_BURST_FACTOR if shape == "burst" else 1.0)
    at_s = rng.expovariate(highest)
    while at_s < duration_s:
        if rng.random() * highest <= rate_at(shape, at_s, rate_per_s):
            yield at_s
        at_s += rng.expovariate(highest)
