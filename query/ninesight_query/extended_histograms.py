"""`anchored` and `smoothed` over native histograms: the half of extended.py that works on objects.

Edges are interpolated bucket by bucket; after a counter's reset the line begins at the empty histogram.
Where floats and histograms meet within reach, the element is removed with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ninesight_store.contract import Float64, ResetHint

from ninesight_query import range_histograms as ranges
from ninesight_query.annotations import Annotations
from ninesight_query.block import Bool, Objects
from ninesight_query.context import Context
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_layout import compact
from ninesight_query.histogram_math import IncompatibleSchemasError, Sum, add, divide, scale, subtract
from ninesight_query.histogram_reset import detect_reset
from ninesight_query.ir import Extension
from ninesight_query.range_histograms import HistogramWindow
from ninesight_query.select import RangeVector

__all__ = ["apply_extended", "points_between", "smoothed_points"]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one step sees of one series within reach of its window."""

    window: HistogramWindow
    extension: Extension
    times: list[int]
    """Of the histograms."""

    @property
    def points(self) -> Sequence[Histogram]:
        return self.window.points

    @property
    def notes(self) -> Annotations:
        return self.window.notes


def _walk(vector: RangeVector, steps: int, context: Context) -> Iterator[tuple[int, int, _Seen]]:
    """Yield row, step and what is seen there, for every step that sees a histogram."""
    samples, reach_ms = vector.samples, vector.reach_ms
    later_ms = reach_ms if vector.extension is Extension.SMOOTHED else 0
    starts = np.broadcast_to(vector.starts_ms, (vector.grid.count,))
    ends = np.broadcast_to(vector.ends_ms, (vector.grid.count,))
    for row, run in samples.histograms.items():
        own = slice(int(samples.offsets[row]), int(samples.offsets[row + 1]))
        times, values = samples.times[own], samples.values[own]
        low, high = (np.searchsorted(run.times, e, "right") for e in (starts - reach_ms, ends + later_ms))
        float_low, float_high = (
            np.searchsorted(times, e, "right") for e in (starts - reach_ms, ends + later_ms)
        )
        for step in np.flatnonzero(high[:steps] > low[:steps]).tolist():
            context.check_deadline()
            part, floats = slice(low[step], high[step]), slice(float_low[step], float_high[step])
            window = HistogramWindow(
                samples.labels[row],
                times[floats],
                values[floats],
                run.times[part],
                run.points[part].tolist(),
                int(starts[step]),
                int(ends[step]),
                context.annotations,
            )
            yield row, step, _Seen(window, vector.extension, run.times[part].tolist())


def apply_extended(
    name: str, vector: RangeVector, values: Float64, present: Bool, context: Context
) -> Objects | None:
    """Return the histograms that a function gives; `values` and `present` are corrected in place."""
    out: Objects | None = None
    for row, step, seen in _walk(vector, values.shape[1], context):
        found = _counted(name, seen) if name in ("changes", "resets") else _change(name, seen)
        present[row, step] = isinstance(found, float)
        if isinstance(found, float):
            values[row, step] = found
        elif found is not None:
            if out is None:
                out = np.full(values.shape, None, object)
            out[row, step] = found
    return out


def _counted(name: str, seen: _Seen) -> float | None:
    """Count changes or resets from the newest sample before the range on."""
    window = seen.window
    start_ms = window.start_ms
    every = sorted([*window.times.tolist(), *window.float_times.tolist()])
    if every[-1] <= start_ms:
        return None
    anchor_ms = max((at_ms for at_ms in every if at_ms <= start_ms), default=start_ms + 1)
    low, float_low = (int(np.searchsorted(times, anchor_ms)) for times in (window.times, window.float_times))
    inside = replace(
        window,
        times=window.times[low:],
        points=window.points[low:],
        float_times=window.float_times[float_low:],
        floats=window.floats[float_low:],
    )
    if not len(inside.times):
        pairs = list(zip(inside.floats[:-1].tolist(), inside.floats[1:].tolist(), strict=True))
        return float(sum((b < a) if name == "resets" else (a != b) for a, b in pairs))
    found = (ranges.changes if name == "changes" else ranges.resets)(inside)
    return found if isinstance(found, float) else None


def _change(name: str, seen: _Seen) -> Histogram | None:
    if seen.window.mixed:
        return None
    is_counter = name != "delta"
    try:
        found = _difference(seen, is_counter=is_counter)
    except IncompatibleSchemasError:
        seen.notes.mixed_schemas(seen.window.metric)
        return None
    if found is None:
        return None
    if name == "rate":
        found = divide(found, (seen.window.end_ms - seen.window.start_ms) / 1000.0)
    return compact(replace(found, hint=ResetHint.GAUGE))


def _bounds(seen: _Seen) -> tuple[int, int] | None:
    """Return the first and last point that matter; None where the window has no answer."""
    times, last = seen.times, len(seen.times) - 1
    start_ms, end_ms = seen.window.start_ms, seen.window.end_ms
    first = max(0, sum(at_ms <= start_ms for at_ms in times[:last]) - 1)
    smooth = seen.extension is Extension.SMOOTHED
    if smooth:
        last = sum(at_ms < end_ms for at_ms in times[:last])
    if times[last] <= start_ms or (smooth and times[first] > end_ms):
        return None
    return first, last


def _difference(seen: _Seen, *, is_counter: bool) -> Histogram | None:
    bounds = _bounds(seen)
    if bounds is None:
        return None
    first, last = bounds
    points = seen.points
    if any(point.custom != points[first].custom for point in points[first : last + 1]):
        raise IncompatibleSchemasError
    if is_counter and any(point.hint is ResetHint.GAUGE for point in points[first : last + 1]):
        seen.notes.not_counter(seen.window.metric)
    left, right = _edges(seen, first, last, is_counter=is_counter)
    if not is_counter and not (left.hint is right.hint is ResetHint.GAUGE):
        seen.notes.not_gauge(seen.window.metric)
    grown = _told(subtract(right, left), "subtraction", seen.notes)
    for lost in _lost(seen, first, last, left, right) if is_counter else ():
        grown = _told(add(grown, lost), "addition", seen.notes)
    return grown


def _told(outcome: Sum, operation: str, notes: Annotations) -> Histogram:
    if outcome.bounds_reconciled:
        notes.reconciled(operation)
    return outcome.histogram


def _edges(seen: _Seen, first: int, last: int, *, is_counter: bool) -> tuple[Histogram, Histogram]:
    left, right = seen.points[first], seen.points[last]
    if seen.extension is Extension.SMOOTHED:
        start_ms, end_ms, times = seen.window.start_ms, seen.window.end_ms, seen.times
        if times[first] < start_ms:
            left = _line(seen, first, start_ms, is_counter=is_counter)
        if last > 0 and times[last] > end_ms:
            right = _line(seen, last - 1, end_ms, is_counter=is_counter)
    return left, right


def _line(seen: _Seen, older: int, at_ms: int, *, is_counter: bool) -> Histogram:
    """Return the point at a time between a sample and the next."""
    (t1, t2), (h1, h2) = seen.times[older : older + 2], seen.points[older : older + 2]
    if at_ms in (t1, t2):
        return h1 if at_ms == t1 else h2
    share = (at_ms - t1) / (t2 - t1)
    if is_counter and detect_reset(h2, h1):
        return scale(h2, share)
    risen = scale(_told(subtract(h2, h1), "subtraction", seen.notes), share)
    return _told(add(risen, h1), "addition", seen.notes)


def _lost(seen: _Seen, first: int, last: int, left: Histogram, right: Histogram) -> Iterator[Histogram]:
    """Yield what a counter had reached before each reset between the edges."""
    points = seen.points
    before, place = left, first + 1
    if (
        seen.extension is Extension.SMOOTHED
        and seen.times[first] < seen.window.start_ms
        and detect_reset(points[first + 1], points[first])
    ):
        # The left edge lies on the line after this reset.
        before, place = points[first + 1], place + 1
    if place > last:
        return
    for point in points[place:last]:
        if detect_reset(point, before):
            yield before
        before = point
    if detect_reset(right, before):
        yield before


def smoothed_points(vector: RangeVector, present: Bool, context: Context) -> Objects | None:
    """Return the histograms of a smoothed instant selector; `present` is corrected in place."""
    out: Objects | None = None
    for row, step, seen in _walk(vector, present.shape[1], context):
        present[row, step] = False
        if seen.window.mixed:
            continue
        found = _at(seen)
        if found is not None:
            if out is None:
                out = np.full(present.shape, None, object)
            out[row, step] = found
    return out


def _at(seen: _Seen) -> Histogram | None:
    at_ms, times = seen.window.end_ms, seen.times
    older = sum(each <= at_ms for each in times) - 1
    if older < 0:
        return None
    if older == len(times) - 1:
        return seen.points[older]
    try:
        return _line(seen, older, at_ms, is_counter=False)
    except IncompatibleSchemasError:
        seen.notes.mixed_schemas(seen.window.metric)
        return None


def points_between(vector: RangeVector, context: Context) -> dict[int, list[tuple[int, Histogram]]]:
    """Return, by row, the histograms of the one window of an instant query, with its edges."""
    out = {}
    for row, _, seen in _walk(vector, 1, context):
        bounds = _bounds(seen)
        if bounds is None:
            continue
        first, last = bounds
        window = seen.window
        try:
            left, right = _edges(seen, first, last, is_counter=False)
        except IncompatibleSchemasError:
            seen.notes.mixed_schemas(window.metric)
            continue
        inside = [
            (at_ms, point)
            for at_ms, point in zip(seen.times[first : last + 1], seen.points[first : last + 1], strict=True)
            if window.start_ms < at_ms < window.end_ms
        ]
        out[row] = [(window.start_ms, left), *inside, (window.end_ms, right)]
    return out
