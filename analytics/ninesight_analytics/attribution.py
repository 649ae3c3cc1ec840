"""Split a bill by measured accelerator-seconds, so that attributed + idle is the bill by construction.

A pool is priced capacity with a bill: one GPU, or all of them together. A model's share of a pool is

    amount = bill x seconds / capacity        and what nobody used stays idle.

Measured seconds above the capacity (clocks differ, `increase` extrapolates) are scaled down to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ninesight_analytics.contract import Key

__all__ = ["Pool", "Split", "split"]


@dataclass(frozen=True, slots=True)
class Pool:
    """Capacity that was paid for, and what each model (model, version) used of it."""

    bill: float
    capacity_s: float
    used_s: Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Split:
    """The outcome: sum of amounts + idle == bill."""

    amounts: Mapping[Key, float]
    idle: float
    scaled: float
    """Measured over available seconds of the fullest pool; above 1 its shares were scaled down."""


def split(pools: Sequence[Pool]) -> Split:
    """Split each pool's bill among its users in proportion to their seconds."""
    shares: dict[Key, list[float]] = {}
    idle: list[float] = []
    scaled = 0.0
    for pool in pools:
        measured = math.fsum(max(used, 0.0) for used in pool.used_s.values())
        divisor = max(pool.capacity_s, measured)
        if measured > 0 and pool.bill > 0:
            scaled = max(scaled, measured / pool.capacity_s if pool.capacity_s > 0 else math.inf)
        given = {
            key: pool.bill * (max(used, 0.0) / divisor) if divisor > 0 else 0.0
            for key, used in pool.used_s.items()
        }
        for key, amount in given.items():
            shares.setdefault(key, []).append(amount)
        rest = pool.bill - math.fsum(given.values())
        # Rounding may leave 1e-17 too much on a full pool; idle is never negative.
        idle.append(max(rest, 0.0))
    return Split({key: math.fsum(parts) for key, parts in shares.items()}, math.fsum(idle), scaled)
