"""The simulated past of one model: request counts by time of day, durations as bucket probabilities.

Everything is a pure function of time and a seeded generator, so that a history can be written again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import Float64, Int32

__all__ = ["PROFILES", "SCHEMA", "DurationModel", "ModelProfile"]

SCHEMA = 6
"""The SDK's own resolution, so that the past and the live data merge without loss."""


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """How one model behaves in the simulated past."""

    model: str
    version: str
    requests_per_s: float
    """Mean over the day; nights are quieter, afternoons busier."""
    median_s: float
    sigma: float
    """Spread of the lognormal service time."""
    accelerator_s: float
    """Accelerator-seconds a request uses."""
    error_ratio: float

    def rate_at(self, second_of_day: float) -> float:
        """Requests per second at a time of day: a sine with its peak at 15:00."""
        phase = 2 * math.pi * (second_of_day / 86400.0 - 0.375)
        return self.requests_per_s * (1.0 + 0.6 * math.sin(phase))


PROFILES = (
    ModelProfile("digits-light", "1", 40.0, 0.0035, 0.35, 0.0004, 0.0008),
    ModelProfile("ranker-heavy", "1", 9.0, 0.018, 0.30, 0.0065, 0.002),
)


class DurationModel:
    """A lognormal service time as probabilities of exponential buckets."""

    def __init__(self, median_s: float, sigma: float) -> None:
        base = 2.0 ** (2.0**-SCHEMA)
        low = math.floor(math.log(median_s * math.exp(-5 * sigma), base))
        high = math.ceil(math.log(median_s * math.exp(5 * sigma), base))
        self.index: Int32 = np.arange(low + 1, high + 1, dtype=np.int32)
        """Prometheus index of each bucket: bucket i ends at base^i."""
        edges = base ** np.arange(low, high + 1, dtype=np.float64)
        z = (np.log(edges) - math.log(median_s)) / sigma
        cdf = np.array([0.5 * math.erfc(-v / math.sqrt(2.0)) for v in z])
        mass = np.diff(cdf)
        self.probability: Float64 = mass / mass.sum()
        self.middle_s: Float64 = np.sqrt(edges[:-1] * edges[1:])
        """Geometric middle of each bucket, in seconds: what the sum is made of."""

    def draw(self, rng: np.random.Generator, requests: int, slow_factor_steps: int = 0) -> Float64:
        """Return new observations per bucket; `slow_factor_steps` moves all of them up that many buckets."""
        counts = rng.multinomial(requests, self.probability).astype(np.float64)
        if slow_factor_steps:
            shifted = np.zeros_like(counts)
            shifted[slow_factor_steps:] = counts[:-slow_factor_steps]
            shifted[-1] += counts[-slow_factor_steps:].sum()
            return shifted
        return counts
