"""Classic histogram families turned into native ones with custom bounds (`load_with_nhcb`).

`x_bucket{le}`, `x_count` and `x_sum` of one label set become the series `x` of schema -53.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from ninesight_store.contract import Labels

from ninesight_query.histogram import CUSTOM_SCHEMA, Histogram
from ninesight_query.histogram_layout import compact
from ninesight_query.promqltest.errors import NotationError
from ninesight_query.promqltest.numbers import is_number, is_stale_value, number
from ninesight_query.promqltest.series import Point, SeriesLine

__all__ = ["native_families"]


@dataclass
class _Family:
    """What one family counted at one step."""

    buckets: dict[float, float] = field(default_factory=dict)
    count: float | None = None
    sum: float = 0.0

    def histogram(self) -> Histogram:
        bounds = sorted(bound for bound in self.buckets if not math.isinf(bound))
        cumulative = [self.buckets[bound] for bound in bounds]
        count = self.count
        if count is None:
            count = self.buckets.get(math.inf, cumulative[-1] if cumulative else 0.0)
        cumulative.append(self.buckets.get(math.inf, count))
        counts = np.diff(cumulative, prepend=0.0)
        if (counts < 0).any():
            raise NotationError(
                f"counts of classic buckets must rise with le, got {cumulative} for le {bounds} and +Inf"
            )
        return compact(
            Histogram(schema=CUSTOM_SCHEMA, count=count, sum=self.sum, positive=counts, bounds=tuple(bounds))
        )


def native_families(lines: Iterable[SeriesLine]) -> tuple[SeriesLine, ...]:
    """Return the native series of every classic family among the lines. Raises NotationError."""
    families: dict[Labels, dict[int, _Family]] = {}
    for line in lines:
        pairs = dict(line.labels)
        base, _, part = pairs.get("__name__", "").rpartition("_")
        if part not in ("bucket", "count", "sum") or not base:
            continue
        bound = pairs.pop("le", "") if part == "bucket" else ""
        if part == "bucket" and (not is_number(bound) or math.isnan(number(bound))):
            continue
        labels = tuple(sorted((pairs | {"__name__": base}).items()))
        steps = families.setdefault(labels, {})
        for step, point in enumerate(line.points):
            if isinstance(point, float) and not is_stale_value(point):
                _note(steps.setdefault(step, _Family()), part, bound, point)
    return tuple(_series(labels, steps) for labels, steps in families.items() if steps)


def _note(family: _Family, part: str, bound: str, value: float) -> None:
    if part == "bucket":
        family.buckets[number(bound)] = value
    elif part == "count":
        family.count = value
    else:
        family.sum = value


def _series(labels: Labels, steps: dict[int, _Family]) -> SeriesLine:
    points: list[Point] = [None] * (max(steps) + 1)
    for step, family in steps.items():
        points[step] = family.histogram()
    return SeriesLine(labels, tuple(points))
