"""The simulated past of one model: request counts by time of day, values as probabilities of buckets.

Everything is a pure function of time and a seeded generator, so that a history can be written again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import Float64, Int32

__all__ = ["PROFILES", "SCHEMA", "Distribution", "ModelProfile", "durations", "sizes"]

SCHEMA = 6
"""The SDK's own resolution, so that the past and the live data merge without loss."""
_PER_OCTAVE = 2**SCHEMA


@dataclass(frozen=True)
class ModelProfile:
    """How one model behaves in the simulated past."""

    model: str
    version: str
    requests_per_s: float
    """Mean over the day; nights are quieter, afternoons busier."""
    sigma: float
    """Spread of the lognormal times."""
    stages_s: tuple[tuple[str, float], ...]
    """Median seconds of each stage; a request takes about their sum."""
    accelerator_s: float
    """Accelerator-seconds a request uses."""
    error_ratio: float

    @property
    def median_s(self) -> float:
        """Median seconds of a request."""
        return sum(seconds for _, seconds in self.stages_s)

    def rate_at(self, second_of_day: float) -> float:
        """Requests per second at a time of day: a sine with its peak at 15:00."""
        phase = 2 * math.pi * (second_of_day / 86400.0 - 0.375)
        return self.requests_per_s * (1.0 + 0.4 * math.sin(phase))


PROFILES = (
    ModelProfile(
        "digits-light",
        "1",
        20.0,
        0.35,
        (("preprocess", 0.0002), ("batch", 0.0003), ("inference", 0.0004), ("postprocess", 0.00004)),
        0.0004,
        0.0008,
    ),
    ModelProfile(
        "ranker-heavy",
        "1",
        20.0,
        0.30,
        (("preprocess", 0.0002), ("batch", 0.0009), ("inference", 0.0035), ("postprocess", 0.00004)),
        0.003,
        0.002,
    ),
)


@dataclass(frozen=True)
class Distribution:
    """Values as probabilities of exponential buckets."""

    index: Int32
    """Prometheus index of each bucket: bucket i ends at 2^(i/64)."""
    probability: Float64
    middle: Float64
    """What an observation in each bucket adds to the sum."""

    def draw(self, rng: np.random.Generator, observations: int, *, slower_steps: int = 0) -> Float64:
        """Return new observations per bucket; `slower_steps` moves all of them up that many buckets (64 double)."""
        counts = rng.multinomial(observations, self.probability).astype(np.float64)
        if not slower_steps:
            return counts
        shifted = np.zeros_like(counts)
        shifted[slower_steps:] = counts[:-slower_steps]
        shifted[-1] += counts[-slower_steps:].sum()
        return shifted


def durations(median_s: float, sigma: float) -> Distribution:
    """Return a lognormal time; room above it lets an incident treble all values."""
    low = math.floor(math.log2(median_s * math.exp(-4 * sigma)) * _PER_OCTAVE)
    high = math.ceil(math.log2(median_s * math.exp(4 * sigma)) * _PER_OCTAVE) + 2 * _PER_OCTAVE
    edges = 2.0 ** (np.arange(low, high + 1, dtype=np.float64) / _PER_OCTAVE)
    z = (np.log(edges) - math.log(median_s)) / sigma
    mass = np.diff([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in z])
    return Distribution(
        np.arange(low + 1, high + 1, dtype=np.int32), mass / mass.sum(), np.sqrt(edges[:-1] * edges[1:])
    )


def sizes(probability_of: dict[int, float]) -> Distribution:
    """Return whole numbers, each exactly at the upper edge of its bucket (powers of two)."""
    values = np.array(sorted(probability_of), np.float64)
    shares = np.array([probability_of[int(value)] for value in values])
    index = np.round(np.log2(values) * _PER_OCTAVE).astype(np.int32)
    return Distribution(index, shares / shares.sum(), values)
