"""What the slow evaluator works on: samples, vectors, and sums without rounding."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ninesight_store.contract import Labels

__all__ = [
    "METADATA",
    "Element",
    "Point",
    "exact_mean",
    "exact_sum",
    "exact_variance",
    "is_stale",
    "keep",
    "quantile",
    "without",
]

Point = tuple[int, float]
"""Time in milliseconds and value."""

METADATA = ("__name__", "__type__", "__unit__")


@dataclass(frozen=True)
class Element:
    """One element of an instant vector."""

    labels: Labels
    value: float
    drop_name: bool = False
    """Whether the name goes at the end of the query (delayed name removal)."""


def is_stale(value: float) -> bool:
    """Whether a value is the stale marker, by its bits."""
    return struct.pack(">d", value) == bytes.fromhex("7ff0000000000002")


def keep(labels: Labels, names: Sequence[str]) -> Labels:
    """Return only the labels of these names."""
    return tuple((name, value) for name, value in labels if name in names)


def without(labels: Labels, names: Sequence[str]) -> Labels:
    """Return the labels but those of these names."""
    return tuple((name, value) for name, value in labels if name not in names)


def _special(values: Sequence[float]) -> float | None:
    """Return the sum where it is not finite, None where every value is."""
    infinite = {value for value in values if math.isinf(value)}
    if any(math.isnan(value) for value in values) or len(infinite) == 2:
        return math.nan
    return infinite.pop() if infinite else None


def _finite(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def exact_sum(values: Iterable[float]) -> float:
    """Return the sum, rounded once."""
    all_ = list(values)
    special = _special(all_)
    return special if special is not None else _finite(sum(map(Fraction, all_), Fraction()))


def exact_mean(values: Iterable[float]) -> float:
    """Return the mean, rounded once."""
    all_ = list(values)
    special = _special(all_)
    return special if special is not None else _finite(sum(map(Fraction, all_), Fraction()) / len(all_))


def exact_variance(values: Iterable[float]) -> float:
    """Return the population variance, rounded once; NaN where a value is not finite."""
    all_ = list(values)
    if any(not math.isfinite(value) for value in all_):
        return math.nan
    exact = [Fraction(value) for value in all_]
    mean = sum(exact, Fraction()) / len(exact)
    return _finite(sum(((value - mean) ** 2 for value in exact), Fraction()) / len(exact))


def quantile(ratio: float, values: Iterable[float]) -> float:
    """Return the ratio-quantile: linear between the two nearest ranks, NaN below everything."""
    ordered = sorted(values, key=lambda value: (not math.isnan(value), 0.0 if math.isnan(value) else value))
    if not ordered or math.isnan(ratio):
        return math.nan
    if ratio < 0:
        return -math.inf
    if ratio > 1:
        return math.inf
    rank = ratio * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(len(ordered) - 1, low + 1)
    weight = rank - low
    return ordered[low] * (1 - weight) + ordered[high] * weight
