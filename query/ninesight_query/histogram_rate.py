"""rate, increase and delta of histograms: the difference over a window, extrapolated to its ends."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import replace

from ninesight_store.contract import Int64, ResetHint

from ninesight_query.histogram import Histogram
from ninesight_query.histogram_columns import Objects
from ninesight_query.histogram_layout import compact, to_schema
from ninesight_query.histogram_math import IncompatibleSchemasError, add, scale, subtract
from ninesight_query.histogram_reset import detect_reset

__all__ = ["RateNote", "extrapolation", "increase_between", "rate"]


class RateNote(enum.Enum):
    """What has to be said about a rate."""

    NOT_COUNTER = "not_counter"
    """rate or increase over gauge histograms."""
    NOT_GAUGE = "not_gauge"
    """delta over counter histograms."""
    MIXED_SCHEMAS = "mixed_schemas"
    """The window mixes both kinds: no result."""
    RECONCILED_SUBTRACTION = "reconciled_subtraction"
    """Custom bounds differed between the first and the last point."""
    RECONCILED_ADDITION = "reconciled_addition"
    """Custom bounds differed where a reset was made good."""


Notes = frozenset[RateNote]
_NONE: Notes = frozenset()


def rate(
    points: Sequence[Histogram] | Objects,
    timestamps_ms: Sequence[int] | Int64,
    range_start_ms: int,
    range_end_ms: int,
    *,
    is_counter: bool,
    is_rate: bool,
    began_ms: int | None = None,
) -> tuple[Histogram | None, Notes]:
    """Return the extrapolated difference over (range_start, range_end], and what must be said of it.

    rate is a counter and a rate, increase a counter, delta neither. None for fewer than two points, or
    where the points cannot be subtracted. The result is a gauge. Source: Prometheus' extrapolatedRate.
    `began_ms` is when a counter began, where that lies inside the window: it was zero then, one point is enough,
    and nothing is guessed before it.
    """
    if len(points) < (1 if began_ms is not None else 2):
        return None, _NONE
    grown, notes = increase_between(points, is_counter=is_counter) if len(points) > 1 else (None, _NONE)
    if grown is None and len(points) > 1:
        return None, notes
    if began_ms is not None:
        return _from_zero(
            points, timestamps_ms, (range_start_ms, range_end_ms), began_ms, grown, notes, is_rate
        )
    assert grown is not None
    factor = extrapolation(
        int(timestamps_ms[0]),
        int(timestamps_ms[-1]),
        len(points),
        range_start_ms,
        range_end_ms,
        first=points[0].count,
        grown=grown.count,
        is_counter=is_counter,
    )
    if is_rate:
        factor /= (range_end_ms - range_start_ms) / 1000.0
    return scale(grown, factor), notes


def _from_zero(
    points: Sequence[Histogram] | Objects,
    timestamps_ms: Sequence[int] | Int64,
    span_ms: tuple[int, int],
    began_ms: int,
    grown: Histogram | None,
    notes: Notes,
    is_rate: bool,
) -> tuple[Histogram | None, Notes]:
    first: Histogram = points[0]
    try:
        whole = first if grown is None else add(grown, first).histogram
    except IncompatibleSchemasError:
        return None, frozenset({RateNote.MIXED_SCHEMAS})
    first_ms, last_ms = int(timestamps_ms[0]), int(timestamps_ms[-1])
    sampled_s = (last_ms - began_ms) / 1000.0
    to_end_s = 0.0
    if len(points) > 1:
        distance_s = (last_ms - first_ms) / 1000.0 / (len(points) - 1)
        to_end_s = (span_ms[1] - last_ms) / 1000.0
        if to_end_s >= distance_s * 1.1:
            to_end_s = distance_s / 2.0
    factor = (sampled_s + to_end_s) / sampled_s
    if is_rate:
        factor /= (span_ms[1] - span_ms[0]) / 1000.0
    return scale(compact(replace(whole, hint=ResetHint.GAUGE)), factor), notes


def extrapolation(
    first_ms: int,
    last_ms: int,
    size: int,
    range_start_ms: int,
    range_end_ms: int,
    *,
    first: float,
    grown: float,
    is_counter: bool,
) -> float:
    """Return the factor from the sampled to the whole window.

    An end nearer than 1.1 sample distances is reached in full, another by half a distance; a counter
    never goes back beyond the time at which it would have been zero.
    """
    sampled = (last_ms - first_ms) / 1000.0
    distance = sampled / (size - 1)
    threshold = distance * 1.1
    to_start = (first_ms - range_start_ms) / 1000.0
    to_end = (range_end_ms - last_ms) / 1000.0
    if to_start >= threshold:
        to_start = distance / 2.0
    if is_counter and grown > 0 and first >= 0:
        to_start = min(to_start, sampled * (first / grown))
    if to_end >= threshold:
        to_end = distance / 2.0
    return (sampled + to_start + to_end) / sampled


def increase_between(
    points: Sequence[Histogram] | Objects, *, is_counter: bool
) -> tuple[Histogram | None, Notes]:
    """Return last - first over two or more points, resets made good where it is a counter."""
    notes: set[RateNote] = set()
    first, last = points[0], points[-1]
    if is_counter and any(h.hint is ResetHint.GAUGE for h in points):
        notes.add(RateNote.NOT_COUNTER)
    if is_counter and detect_reset(points[1], first):
        # What was before the reset is of no use, neither is its layout.
        first = Histogram(schema=points[1].schema, bounds=points[1].bounds)
    middle = points[1:-1] if is_counter else ()
    if any(h.custom != first.custom for h in (*middle, last)):
        return None, frozenset({RateNote.MIXED_SCHEMAS})
    if is_counter and not last.custom:
        # A coarser point in between limits the resolution of all.
        last = to_schema(last, min(h.schema for h in (first, *points[1:])))
    try:
        difference = subtract(last, first)
        grown = difference.histogram
        if difference.bounds_reconciled:
            notes.add(RateNote.RECONCILED_SUBTRACTION)
        if is_counter:
            grown = _with_resets(grown, first, points, notes)
    except IncompatibleSchemasError:
        return None, frozenset({RateNote.MIXED_SCHEMAS})
    if not is_counter and not (points[0].hint is points[-1].hint is ResetHint.GAUGE):
        notes.add(RateNote.NOT_GAUGE)
    return compact(replace(grown, hint=ResetHint.GAUGE)), frozenset(notes)


def _with_resets(
    grown: Histogram, first: Histogram, points: Sequence[Histogram] | Objects, notes: set[RateNote]
) -> Histogram:
    """Add back what each counter had reached before it began anew."""
    before = first
    for now in points[1:]:
        if detect_reset(now, before):
            made_good = add(grown, before)
            grown = made_good.histogram
            if made_good.bounds_reconciled:
                notes.add(RateNote.RECONCILED_ADDITION)
        before = now
    return grown
