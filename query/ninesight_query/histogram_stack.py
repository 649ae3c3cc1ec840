"""Many histograms of one layout as matrices: what makes whole grids fast.

A stack has one schema, one zero threshold and one set of custom bounds; its arrays share their
leading axes (points, or series x steps) and buckets are the last axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Float64, Int32, ResetHint

from ninesight_query.histogram import CUSTOM_SCHEMA, Histogram
from ninesight_query.histogram_bounds import upper_bounds
from ninesight_query.histogram_columns import Objects
from ninesight_query.histogram_layout import trim_run

__all__ = ["Stack", "stack_of", "stacks_of"]

_HINTS = tuple(ResetHint)


@dataclass(frozen=True)
class Stack:
    """Histograms of one layout; `...` are the leading axes. Arrays are shared and never changed."""

    schema: int
    zero_threshold: float
    bounds: tuple[float, ...]
    count: Float64
    """[...]"""
    sum: Float64
    """[...]"""
    zero: Float64
    """[...] counts of the zero bucket."""
    positive_start: int
    positive: Float64
    """[..., Wp]"""
    negative_start: int
    negative: Float64
    """[..., Wn]"""
    hint: Int32
    """[...] ResetHint"""

    @property
    def custom(self) -> bool:
        """Whether the bounds are custom."""
        return self.schema == CUSTOM_SCHEMA

    def edges(self) -> tuple[Float64, Float64]:
        """Return (lower, upper) of all buckets, lowest first: negative, zero (exponential only), positive."""
        start, width = self.positive_start, self.positive.shape[-1]
        if self.custom:
            full = np.concatenate(([-np.inf], np.array(self.bounds, np.float64), [np.inf]))
            part = full[start : start + width + 1]
            return part[:-1], part[1:]
        threshold = self.zero_threshold
        positive = upper_bounds(self.schema, start - 1, width + 1)
        below = -upper_bounds(self.schema, self.negative_start - 1, self.negative.shape[-1] + 1)[::-1]
        # A bucket that reaches into the zero bucket begins at its edge: no value lies in two buckets.
        lower = np.concatenate((below[:-1], [-threshold], np.maximum(positive[:-1], threshold)))
        upper = np.concatenate((np.minimum(below[1:], -threshold), [threshold], positive[1:]))
        return lower, upper

    def counts(self) -> Float64:
        """Return [..., B] the counts of all buckets in the order of `edges`."""
        if self.custom:
            return self.positive
        zero = np.maximum(self.zero, 0.0)[..., None]
        return np.concatenate((self.negative[..., ::-1], zero, self.positive), axis=-1)

    def objects(self) -> Objects:
        """Return [...] the same as Histogram values; bucket runs are views of the stack."""
        shape = self.count.shape
        out: Objects = np.empty(self.count.size, object)
        positive = self.positive.reshape(len(out), self.positive.shape[-1])
        negative = self.negative.reshape(len(out), self.negative.shape[-1])
        columns = (self.count, self.sum, self.zero, self.hint)
        rows = zip(*(column.ravel().tolist() for column in columns), strict=True)
        for k, (count, total, zero, hint) in enumerate(rows):
            out[k] = Histogram(
                self.schema,
                count,
                total,
                self.zero_threshold,
                zero,
                self.positive_start,
                positive[k],
                self.negative_start,
                negative[k],
                self.bounds,
                _HINTS[hint],
            )
        return out.reshape(shape)


def _side(runs: Sequence[tuple[int, Float64]]) -> tuple[int, Float64]:
    """Stack runs into one [P, W] matrix; returns the first index and the matrix."""
    starts = {(start, len(run)) for start, run in runs if len(run)}
    if not starts:
        return 0, np.zeros((len(runs), 0))
    first = min(start for start, _ in starts)
    width = max(start + size for start, size in starts) - first
    if len(starts) == 1 and all(len(run) for _, run in runs):
        return first, np.array([run for _, run in runs])
    out = np.zeros((len(runs), width))
    for row, (start, run) in zip(out, runs, strict=True):
        row[start - first : start - first + len(run)] = run
    return first, out


def stack_of(histograms: Sequence[Histogram] | Objects) -> Stack:
    """Return one or more histograms of one layout as a stack [P].

    The layout (schema, zero threshold, bounds) is the first one's; the others must have it too.
    """
    points: list[Histogram] = list(histograms)
    first = points[0]
    positive_start, positive = _side([(h.positive_start, h.positive) for h in points])
    negative_start, negative = _side([(h.negative_start, h.negative) for h in points])
    scalars = np.array([(h.count, h.sum, h.zero_count) for h in points], np.float64)
    return Stack(
        schema=first.schema,
        zero_threshold=first.zero_threshold,
        bounds=first.bounds,
        count=scalars[:, 0],
        sum=scalars[:, 1],
        zero=scalars[:, 2],
        positive_start=positive_start,
        positive=positive,
        negative_start=negative_start,
        negative=negative,
        hint=np.array([h.hint for h in points], np.int32),
    )


_WIDTH_MAX = 4096
"""Stacks wider than this are cut into single points: two far buckets shall not cost a dense matrix."""


def stacks_of(histograms: Sequence[Histogram] | Objects) -> Iterator[tuple[npt.NDArray[np.intp], Stack]]:
    """Group histograms by layout; yields (positions, stack) for each group."""
    groups: dict[tuple[int, float, tuple[float, ...]], list[int]] = {}
    points: list[Histogram] = list(histograms)
    for k, point in enumerate(points):
        groups.setdefault((point.schema, point.zero_threshold, point.bounds), []).append(k)
    for members in groups.values():
        part = [points[k] for k in members]
        if len(part) > 1 and max(_width(part, "positive"), _width(part, "negative")) > _WIDTH_MAX:
            for k, point in zip(members, part, strict=True):
                yield np.array([k]), stack_of([point])
        else:
            yield np.array(members), stack_of(part)


def _width(points: Sequence[Histogram], side: str) -> int:
    runs = [
        trim_run(getattr(h, f"{side}_start"), getattr(h, side))
        if len(getattr(h, side)) > 512
        else (getattr(h, f"{side}_start"), getattr(h, side))
        for h in points
    ]
    filled = [(start, len(run)) for start, run in runs if len(run)]
    if not filled:
        return 0
    return max(start + size for start, size in filled) - min(start for start, _ in filled)
