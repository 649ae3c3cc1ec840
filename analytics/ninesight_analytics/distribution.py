"""What is known of many observations when only buckets were kept.

Bucket k holds `counts[k]` observations in (lowers[k], uppers[k]]. Native and classic histograms
become the same value here, so a percentile and a share below a threshold are each written once:

    observations   . ...|..... . |   ..| .          rank = q x count
    cumulative     4    |10      |12   |13          the figure lies in the first bucket with cumulative >= rank

Nothing is known of where in its bucket an observation lies, so every figure is an interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_bounds import edges_of

from ninesight_analytics.arrays import Float64
from ninesight_analytics.contract import NO_DATA, Basis, Estimate

__all__ = [
    "Distribution",
    "distribution_of_classic",
    "distribution_of_native",
    "fraction_at_most",
    "percentile",
    "relative_error_of_schema",
]

# Counts out of `increase` carry rounding; a rank that equals a cumulative count on paper must not slip.
_RANK_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class Distribution:
    """Observations by bucket, ascending, empty buckets left out."""

    lowers: Float64
    uppers: Float64
    counts: Float64
    exponential: bool
    """Buckets grow by a factor: values inside are interpolated on a logarithmic scale."""
    basis: Basis
    sum: float | None = None
    """Sum of the observations, None where it was not kept."""

    @property
    def count(self) -> float:
        """Observations in all; fractional where `increase` extrapolated."""
        return math.fsum(self.counts.tolist())

    @property
    def mean(self) -> Estimate:
        """Sum over count."""
        if self.sum is None or self.count <= 0:
            return NO_DATA
        return Estimate(self.sum / self.count, count=self.count, basis=self.basis)


def relative_error_of_schema(schema: int) -> float:
    """Return the width of a native bucket relative to its lower edge: 2^(2^-schema) - 1.

    Schema 6 gives 0.0109: no figure inside the bucket is farther from the truth than that.
    """
    return float(math.exp2(math.exp2(-schema)) - 1)


def distribution_of_native(histogram: Histogram) -> Distribution:
    """Return the buckets of a native histogram, custom bounds (schema -53) included.

    Without negative buckets nothing lies below 0: an open or a zero bucket starts there, as in PromQL.
    """
    lowers, uppers, counts = edges_of(histogram)
    kept = counts > 0
    lowers, uppers = lowers[kept], uppers[kept]
    if not len(histogram.negative) and (not histogram.custom or histogram.bounds[:1] > (0.0,)):
        lowers = np.maximum(lowers, 0.0)
    if len(histogram.negative) and not len(histogram.positive):
        uppers = np.minimum(uppers, 0.0)
    return Distribution(
        lowers,
        uppers,
        counts[kept],
        exponential=not histogram.custom,
        basis=Basis.NATIVE,
        sum=histogram.sum,
    )


def distribution_of_classic(
    cumulative: Mapping[float, float], sum_of_values: float | None = None
) -> Distribution | None:
    """Return the buckets of a classic histogram given as upper bound -> cumulative count.

    None where there is no +Inf bucket: the number of observations is unknown then.
    """
    if math.inf not in cumulative:
        return None
    bounds = sorted(cumulative)
    uppers = np.array(bounds)
    lowers = np.concatenate([[0.0 if bounds[0] > 0 else -np.inf], uppers[:-1]])
    # Rounding may make a later bucket a hair smaller than the one before.
    rising = np.maximum.accumulate(np.array([cumulative[bound] for bound in bounds]))
    counts = np.diff(rising, prepend=0.0)
    kept = counts > rising[-1] * _RANK_TOLERANCE
    return Distribution(
        lowers[kept],
        uppers[kept],
        counts[kept],
        exponential=False,
        basis=Basis.CLASSIC,
        sum=sum_of_values,
    )


def percentile(distribution: Distribution, quantile: float) -> Estimate:
    """Return the nearest-rank percentile: the smallest value that at least quantile x count reach or stay under.

    lower and upper are the edges of the bucket that holds the rank, so the same percentile taken
    from a log of the same observations lies between them. The value is PromQL's interpolation.
    Above the last finite bound upper is infinite and the value is that bound. Raises ValueError
    unless 0 <= quantile <= 1.
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"a quantile must be between 0 and 1, got {quantile}")
    count = distribution.count
    if count <= 0:
        return NO_DATA
    cumulative = np.cumsum(distribution.counts)
    rank = quantile * count
    found = int(np.searchsorted(cumulative, rank * (1 - _RANK_TOLERANCE), side="left"))
    at = min(found, len(cumulative) - 1)
    before = float(cumulative[at - 1]) if at else 0.0
    share = min(max((rank - before) / float(distribution.counts[at]), 0.0), 1.0)
    lower, upper = float(distribution.lowers[at]), float(distribution.uppers[at])
    value = _inside(lower, upper, share, exponential=distribution.exponential)
    return Estimate(value, lower, upper, count, distribution.basis)


def fraction_at_most(distribution: Distribution, threshold: float) -> Estimate:
    """Return the share of observations <= threshold.

    Exact where the threshold is a bucket's edge; else lower leaves the bucket around it out and
    upper takes it whole. The value is the interpolation of PromQL's histogram_fraction.
    """
    count = distribution.count
    if count <= 0:
        return NO_DATA
    sure = float(distribution.counts[distribution.uppers <= threshold].sum())
    around = (distribution.lowers < threshold) & (threshold < distribution.uppers)
    possible = float(distribution.counts[around].sum())
    value = sure
    for lower, upper, inside in zip(
        distribution.lowers[around], distribution.uppers[around], distribution.counts[around], strict=True
    ):
        value += inside * _share_below(lower, upper, threshold, exponential=distribution.exponential)
    shares = [min(part / count, 1.0) for part in (value, sure, sure + possible)]
    if sure == count or not len(distribution.counts[distribution.uppers > threshold]):
        shares = [1.0, 1.0, 1.0]
    return Estimate(shares[0], shares[1], shares[2], count, distribution.basis)


def _inside(lower: float, upper: float, share: float, *, exponential: bool) -> float:
    """Interpolate within a bucket; an open bucket has only its finite edge to offer."""
    if math.isinf(upper):
        return lower
    if math.isinf(lower):
        return upper
    if exponential and (lower > 0 or upper < 0):
        value = lower * math.pow(upper / lower, share)
    else:
        value = lower + (upper - lower) * share
    return min(max(value, lower), upper)


def _share_below(lower: float, upper: float, threshold: float, *, exponential: bool) -> float:
    """Return how much of a bucket lies at or below a threshold inside it; nothing of an open one is claimed."""
    if math.isinf(upper) or math.isinf(lower):
        return 0.0
    if exponential and lower > 0:
        return math.log(threshold / lower) / math.log(upper / lower)
    if exponential and upper < 0:
        return 1 - math.log(threshold / upper) / math.log(lower / upper)
    return (threshold - lower) / (upper - lower)
