"""Averages and spread of histograms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ninesight_store.contract import Float64

from ninesight_query.histogram import Histogram
from ninesight_query.histogram_columns import Objects
from ninesight_query.histogram_stack import Stack, stack_of, stacks_of

__all__ = ["average", "averages", "stack_stdvar", "stdvar", "stdvars"]


def average(histogram: Histogram) -> float:
    """Return sum / count; NaN or +-Inf where count is zero."""
    return float(averages([histogram])[0])


def averages(histograms: Sequence[Histogram] | Objects) -> Float64:
    """[P] sum / count of each histogram."""
    pairs = np.array([(h.sum, h.count) for h in histograms], np.float64).reshape(-1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return pairs[:, 0] / pairs[:, 1]


def stdvar(histogram: Histogram) -> float:
    """Return the estimated variance of the observations (population, not sample)."""
    return float(stack_stdvar(stack_of([histogram]))[0])


def stdvars(histograms: Sequence[Histogram] | Objects) -> Float64:
    """[P] the variance of each histogram, layouts mixed at will."""
    out = np.zeros(len(histograms))
    for rows, stack in stacks_of(histograms):
        out[rows] = stack_stdvar(stack)
    return out


def stack_stdvar(stack: Stack) -> Float64:
    """[...] the variance of each histogram of a stack.

    Every observation is taken to lie in the middle of its bucket: the geometric mean of the edges for
    exponential buckets, zero for the bucket around zero, the arithmetic mean for custom ones.
    Source: Prometheus' histogram_stdvar.
    """
    lower, upper = stack.edges()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = stack.sum / stack.count
        if stack.custom:
            middle = (lower + upper) / 2.0
        else:
            middle = np.where(upper < 0, -1.0, 1.0) * np.sqrt(np.abs(lower)) * np.sqrt(np.abs(upper))
            middle[(lower <= 0) & (upper >= 0)] = 0.0
        counts = stack.counts()
        apart = middle - mean[..., None]
        spread = np.where(counts == 0, 0.0, counts * apart * apart).sum(axis=-1)
        return spread / stack.count  # type: ignore[no-any-return]
