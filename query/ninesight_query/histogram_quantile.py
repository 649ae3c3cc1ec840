"""Quantiles and fractions of native histograms, as Prometheus 3 interpolates them.

Inside an exponential bucket observations are taken as evenly spread on a logarithmic scale, inside the
zero bucket and custom buckets on a linear one. With schema 6 a quantile of the observations is thereby
known to 1.1 % (half a bucket, 2^(1/128) - 1, where interpolation is of no use).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Float64

from ninesight_query.histogram import Histogram
from ninesight_query.histogram_columns import Objects
from ninesight_query.histogram_stack import Stack, stack_of, stacks_of

__all__ = [
    "Note",
    "fraction",
    "fractions",
    "quantile",
    "quantiles",
    "stack_fraction",
    "stack_quantile",
]

Bool = npt.NDArray[np.bool_]


class Note(enum.Enum):
    """What has to be said about NaN observations: they count, but lie in no bucket."""

    NAN_RESULT = "result is NaN"
    """The quantile falls among the NaN observations."""
    NAN_SKEW = "result is skewed higher"
    """The quantile was found, but NaN observations rank above all others."""
    NAN_EXCLUDED = "excluded from all fractions"
    """NaN observations lie in no interval."""


_NONE: frozenset[Note] = frozenset()


def quantile(q: float, histogram: Histogram) -> tuple[float, frozenset[Note]]:
    """Return the q-quantile: -Inf for q < 0, +Inf for q > 1, NaN for no observations or q NaN.

    Source: Prometheus' HistogramQuantile.
    """
    values, notes = stack_quantile(q, stack_of([histogram]))
    return float(values[0]), notes


def quantiles(
    q: float | Float64, histograms: Sequence[Histogram] | Objects
) -> tuple[Float64, frozenset[Note]]:
    """[P] the quantile of each histogram, layouts mixed at will; `q` is one number or [P]."""
    out = np.zeros(len(histograms))
    notes = _NONE
    each = np.broadcast_to(np.asarray(q, np.float64), out.shape)
    for rows, stack in stacks_of(histograms):
        out[rows], said = stack_quantile(each[rows], stack)
        notes |= said
    return out, notes


def stack_quantile(q: float | Float64, stack: Stack) -> tuple[Float64, frozenset[Note]]:
    """[...] the quantile of each histogram of a stack; `q` broadcasts against its leading axes."""
    shape = stack.count.shape
    ratios = np.broadcast_to(np.asarray(q, np.float64), shape).ravel()
    count, total = stack.count.ravel(), stack.sum.ravel()
    lower, upper = stack.edges()
    buckets = stack.counts().reshape(count.size, -1)
    out = np.full(count.size, np.nan)
    out[ratios < 0], out[ratios > 1] = -np.inf, np.inf
    valid = (ratios >= 0) & (ratios <= 1) & (count != 0)
    nan_sum = np.isnan(total)
    upward = nan_sum | (ratios < 0.5)
    notes = _NONE
    for rows, forward in ((valid & upward, True), (valid & ~upward, False)):
        which = np.flatnonzero(rows)
        if not len(which):
            continue
        part = buckets if len(which) == count.size else buckets[which]
        out[which], said = _walk(
            ratios[which], count[which], nan_sum[which], part, lower, upper, stack.custom, forward
        )
        notes |= said
    return out.reshape(shape), notes


def _walk(
    q: Float64,
    total: Float64,
    nan_sum: Bool,
    buckets: Float64,
    lower: Float64,
    upper: Float64,
    custom: bool,
    forward: bool,
) -> tuple[Float64, frozenset[Note]]:
    """Find each row's bucket from one end and interpolate in it."""
    rows = np.arange(len(q))
    if buckets.shape[1] == 0:
        # Observations, but no bucket: only NaN observations look like this.
        return np.where(nan_sum, np.nan, 0.0), frozenset({Note.NAN_RESULT} if nan_sum.any() else ())
    rank = q * total if forward else (1.0 - q) * total
    ordered = buckets if forward else buckets[:, ::-1]
    running = np.cumsum(ordered, axis=1)
    reached = (running >= rank[:, None]) & (ordered != 0)
    at = np.argmax(reached, axis=1)
    missed = ~reached[rows, at]
    at[missed] = buckets.shape[1] - 1
    here, count = ordered[rows, at], np.minimum(running[rows, at], total)
    missed &= count < rank
    index = at if forward else buckets.shape[1] - 1 - at
    low, high = lower[index], upper[index]
    settled = np.full(len(q), np.nan)
    if custom:
        first, last = np.isneginf(low), np.isposinf(high)
        settled = np.where(first & (high <= 0), high, np.where(~first & last, low, settled))
        low = np.where(first & (high > 0), 0.0, low)
    else:
        low, high = _bound_zero(buckets, lower, upper, low, high)
    rank = rank - (count - here) if forward else count - rank
    with np.errstate(divide="ignore", invalid="ignore"):
        value = _interpolate(low, high, rank / here, custom)
    value = np.where(np.isnan(settled), value, settled)
    notes = _NONE
    found = ~missed
    if missed.any():
        value[missed] = np.where(nan_sum[missed], np.nan, high[missed])
        notes |= {Note.NAN_RESULT} if (nan_sum & missed).any() else _NONE
    if (nan_sum & found & (running[:, -1] < total)).any():
        notes |= {Note.NAN_SKEW}
    return value, notes


def _bound_zero(
    buckets: Float64, lower: Float64, upper: Float64, low: Float64, high: Float64
) -> tuple[Float64, Float64]:
    """Let the zero bucket end at zero on a side where the histogram has no other bucket."""
    straddles = (low < 0) & (high > 0)
    if not straddles.any():
        return low, high
    has_negative = (buckets[:, upper < 0] != 0).any(axis=1)
    has_positive = (buckets[:, lower > 0] != 0).any(axis=1)
    low = np.where(straddles & has_positive & ~has_negative, 0.0, low)
    high = np.where(straddles & has_negative & ~has_positive, 0.0, high)
    return low, high


def _interpolate(low: Float64, high: Float64, part: Float64, custom: bool) -> Float64:
    """Return the value `part` of the way up each bucket: linear around zero, else logarithmic."""
    linear = low + (high - low) * part
    if custom:
        return linear
    log_low, log_high = np.log2(np.abs(low)), np.log2(np.abs(high))
    up = np.exp2(log_low + (log_high - log_low) * part)
    down = -np.exp2(log_high + (log_low - log_high) * (1.0 - part))
    return np.where((low <= 0) & (high >= 0), linear, np.where(low > 0, up, down))


def fraction(lower: float, upper: float, histogram: Histogram) -> tuple[float, frozenset[Note]]:
    """Return the share of observations between two values, NaN where there are none.

    Source: Prometheus' HistogramFraction.
    """
    values, notes = stack_fraction(lower, upper, stack_of([histogram]))
    return float(values[0]), notes


def fractions(
    lower: float | Float64, upper: float | Float64, histograms: Sequence[Histogram] | Objects
) -> tuple[Float64, frozenset[Note]]:
    """[P] the share between two values of each histogram; the bounds are numbers or [P]."""
    out = np.zeros(len(histograms))
    lows = np.broadcast_to(np.asarray(lower, np.float64), out.shape)
    highs = np.broadcast_to(np.asarray(upper, np.float64), out.shape)
    notes = _NONE
    for rows, stack in stacks_of(histograms):
        out[rows], said = stack_fraction(lows[rows], highs[rows], stack)
        notes |= said
    return out, notes


def stack_fraction(
    lower: float | Float64, upper: float | Float64, stack: Stack
) -> tuple[Float64, frozenset[Note]]:
    """[...] the share between two values of each histogram of a stack; bounds broadcast."""
    shape = stack.count.shape
    total = stack.count.ravel()
    lows = np.broadcast_to(np.asarray(lower, np.float64), shape).ravel()
    highs = np.broadcast_to(np.asarray(upper, np.float64), shape).ravel()
    buckets = stack.counts().reshape(total.size, -1)
    inside = buckets.sum(axis=1)
    nan_sum = np.isnan(stack.sum.ravel())
    counted = np.where(nan_sum, inside, total)
    edges = _edges_by_row(stack, buckets)
    below = _rank(lows, buckets, *edges, counted, stack.custom)
    above = _rank(highs, buckets, *edges, counted, stack.custom)
    with np.errstate(divide="ignore", invalid="ignore"):
        out = (above - below) / total
    out = np.where(lows >= highs, 0.0, out)
    out[(total == 0) | np.isnan(lows) | np.isnan(highs)] = np.nan
    skipped = bool((nan_sum & (inside < total) & (total != 0)).any())
    return out.reshape(shape), frozenset({Note.NAN_EXCLUDED}) if skipped else _NONE


def _edges_by_row(stack: Stack, buckets: Float64) -> tuple[Float64, Float64, Bool]:
    """Return (lower, upper) [P, B] with the bucket around zero cut where a side is empty, and which it is [B]."""
    lower, upper = stack.edges()
    around = (lower <= 0) & (upper >= 0)
    if stack.custom:
        has_negative = np.zeros(len(buckets), np.bool_)
        has_positive = (buckets != 0).any(axis=1)
    else:
        has_negative = (buckets[:, upper < 0] != 0).any(axis=1)
        has_positive = (buckets[:, lower > 0] != 0).any(axis=1)
    lows = np.broadcast_to(lower, buckets.shape).copy()
    highs = np.broadcast_to(upper, buckets.shape).copy()
    lows[np.ix_(has_positive & ~has_negative, around)] = 0.0
    highs[np.ix_(has_negative & ~has_positive, around)] = 0.0
    return lows, highs, around


def _rank(
    values: Float64,
    buckets: Float64,
    lower: Float64,
    upper: Float64,
    around: Bool,
    counted: Float64,
    custom: bool,
) -> Float64:
    """Return how many observations of each row lie below its value."""
    if buckets.shape[1] == 0:
        return counted.copy() if len(values) == 0 else np.where(np.isneginf(values), 0.0, counted)
    rows = np.arange(len(values))
    met = (lower >= values[:, None]) | (upper > values[:, None])
    at = np.argmax(met, axis=1)
    found = met[rows, at]
    low, high, here = lower[rows, at], upper[rows, at], buckets[rows, at]
    before = np.cumsum(buckets, axis=1)[rows, at] - here
    with np.errstate(divide="ignore", invalid="ignore"):
        linear = np.where(np.isneginf(low), here, before + here * (values - low) / (high - low))
        inside = linear if custom else np.where(around[at], linear, before + here * _share(values, low, high))
    out = np.where(found, np.where(low >= values, before, inside), counted)
    return np.where(out > counted, counted, out)


def _share(values: Float64, low: Float64, high: Float64) -> Float64:
    """Return how far up its bucket each value lies on the logarithmic scale."""
    log_low, log_high, log_value = np.log2(np.abs(low)), np.log2(np.abs(high)), np.log2(np.abs(values))
    share: Float64 = np.where(
        values > 0,
        (log_value - log_low) / (log_high - log_low),
        1.0 - (log_value - log_high) / (log_low - log_high),
    )
    return share
