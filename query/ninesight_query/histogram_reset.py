"""Whether a counter histogram began anew between two points."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Float64, ResetHint

from ninesight_query.histogram import Histogram
from ninesight_query.histogram_layout import coarsen_run, common_bounds, to_bounds, widen_zero
from ninesight_query.histogram_stack import Stack

__all__ = ["detect_reset", "stack_resets"]

Bool = npt.NDArray[np.bool_]


def detect_reset(current: Histogram, previous: Histogram) -> bool:
    """Whether `current` cannot have grown out of `previous`: some count fell.

    The hints RESET and NOT_RESET of `current` win; gauges are compared like any other.
    A finer schema or a narrower zero bucket than before also means a new beginning.
    Source: Prometheus' FloatHistogram.DetectReset.
    """
    if current.hint is ResetHint.RESET:
        return True
    if current.hint is ResetHint.NOT_RESET:
        return False
    if current.count < previous.count:
        return True
    if current.custom != previous.custom:
        return True
    if current.custom:
        bounds = common_bounds(current.bounds, previous.bounds)
        now, then = to_bounds(current, bounds), to_bounds(previous, bounds)
        return _fell(now.positive_start, now.positive, then.positive_start, then.positive)
    if current.schema > previous.schema or current.zero_threshold < previous.zero_threshold:
        return True
    previous = widen_zero(previous, current.zero_threshold)
    if previous.zero_threshold != current.zero_threshold:
        return True
    if current.zero_count < previous.zero_count:
        return True
    shift = previous.schema - current.schema
    return _fell(
        current.positive_start,
        current.positive,
        *coarsen_run(previous.positive_start, previous.positive, shift),
    ) or _fell(
        current.negative_start,
        current.negative,
        *coarsen_run(previous.negative_start, previous.negative, shift),
    )


def stack_resets(stack: Stack) -> Bool:
    """[N] whether each point of a series began anew against the one before; the first never did."""
    out = np.zeros(len(stack.count), np.bool_)
    out[1:] = (
        (stack.count[1:] < stack.count[:-1])
        | (stack.zero[1:] < stack.zero[:-1])
        | (stack.positive[1:] < stack.positive[:-1]).any(axis=1)
        | (stack.negative[1:] < stack.negative[:-1]).any(axis=1)
    )
    out[1:] |= stack.hint[1:] == int(ResetHint.RESET)
    out &= stack.hint != int(ResetHint.NOT_RESET)
    return out


def _fell(start: int, now: Float64, start_before: int, before: Float64) -> bool:
    """Whether any bucket counts less than before; a bucket outside a run counts zero."""
    if len(before) == 0:
        return False
    fitted = np.zeros(len(before))
    first, last = max(start, start_before), min(start + len(now), start_before + len(before))
    if last > first:
        fitted[first - start_before : last - start_before] = now[first - start : last - start]
    return bool((fitted < before).any())
