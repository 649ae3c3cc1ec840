"""`anchored` and `smoothed` ranges: what stands at both edges, and how much a series changed between them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ninesight_query.ir import Extension
from ninesight_query.slow.values import Point

__all__ = ["extended_change", "extended_count"]


def _on_line(older: Point, newer: Point, at_ms: int, *, counter: bool) -> float:
    """Return the value at a time between two points; a counter that fell rises from zero."""
    base = 0.0 if counter and newer[1] < older[1] else older[1]
    return base + (newer[1] - base) * ((at_ms - older[0]) / (newer[0] - older[0]))


def extended_change(
    points: Sequence[Point], start_ms: int, end_ms: int, extension: Extension, *, counter: bool
) -> float | None:
    """Return right - left, with what a counter lost at each reset between; `points` reach beyond both edges."""
    smoothed = extension is Extension.SMOOTHED
    before = [point for point in points if point[0] <= start_ms]
    inside = [point for point in points if start_ms < point[0] <= end_ms]
    after = [point for point in points if point[0] > end_ms] if smoothed else []
    if not inside and not (before and after):
        return None
    first = (inside or after)[0]
    if not before:
        left = first[1]
    elif smoothed and before[-1][0] < start_ms:
        left = _on_line(before[-1], first, start_ms, counter=counter)
    else:
        left = before[-1][1]
    if after and not (inside and inside[-1][0] == end_ms):
        right = _on_line((inside or before)[-1], after[0], end_ms, counter=counter)
    else:
        right = inside[-1][1]
    result = right - left
    if counter:
        between = [value for time, value in inside if time < end_ms]
        for then, now in itertools.pairwise([left, *between, right]):
            if now < then:
                result += then
    return result


def extended_count(points: Sequence[Point], start_ms: int, end_ms: int) -> list[float] | None:
    """Return the values of an anchored window, the newest one before it among them; None where it is empty."""
    inside = [value for time, value in points if start_ms < time <= end_ms]
    before = [value for time, value in points if time <= start_ms]
    return [*before[-1:], *inside] if inside else None
