"""How sure a ratio is: Wilson's score interval."""

from __future__ import annotations

import math

__all__ = ["Z_95", "wilson"]

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution: two-sided 95 %."""


def wilson(hits: float, count: float, z: float = Z_95) -> tuple[float, float]:
    """Return the interval (lower, upper) of the ratio hits/count, both within 0..1.

    E. B. Wilson, "Probable inference" (1927): unlike the textbook interval it stays honest for
    few observations and for ratios near 0 and 1. Counts may be fractional, as `increase` gives
    them. Without observations the interval is (0, 1): nothing is known.
    """
    if count <= 0:
        return 0.0, 1.0
    ratio = min(max(hits / count, 0.0), 1.0)
    square = z * z
    centre = ratio + square / (2 * count)
    spread = z * math.sqrt(ratio * (1 - ratio) / count + square / (4 * count * count))
    scale = 1 + square / count
    # At the ends the formula is exact only on paper; rounding may leave 1e-17 beyond the ratio.
    lower = 0.0 if ratio == 0 else max(0.0, min((centre - spread) / scale, ratio))
    upper = 1.0 if ratio == 1 else min(1.0, max((centre + spread) / scale, ratio))
    return lower, upper
