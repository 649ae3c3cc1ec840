"""Functions of a range vector over histogram points, one window at a time.

Histograms are few and rich, so this half works on objects: exactness (schemas, custom bounds, reset
hints) goes before speed. A handler is asked only for windows that hold at least one histogram.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ninesight_store.contract import Float64, Int64, Labels, ResetHint

from ninesight_query import labels as label
from ninesight_query.annotations import Annotations
from ninesight_query.block import Bool, Objects
from ninesight_query.context import Context
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_layout import compact
from ninesight_query.histogram_math import (
    IncompatibleSchemasError,
    divide,
    equal,
    scale,
    subtract,
    total,
)
from ninesight_query.histogram_rate import RateNote
from ninesight_query.histogram_rate import rate as histogram_rate
from ninesight_query.histogram_reset import detect_reset
from ninesight_query.select import RangeVector
from ninesight_query.starts import began_anew, overlapping

__all__ = ["KEEP", "Handler", "HistogramWindow", "apply", "note_all"]


class Keep:
    """The answer "what the float kernel found"."""


KEEP = Keep()
Outcome = float | Histogram | Keep | None


@dataclass(frozen=True, slots=True)
class HistogramWindow:
    """What lies in one window of one series."""

    labels: Labels
    float_times: Int64
    floats: Float64
    times: Int64
    points: Sequence[Histogram]
    start_ms: int
    """Exclusive."""
    end_ms: int
    notes: Annotations
    float_starts: Int64 | None = None
    """Start timestamps of the floats, 0 where not known; None where they have none."""
    starts: Int64 | None = None
    """Those of the histograms."""

    @property
    def metric(self) -> str:
        """The metric's name, for notes."""
        return label.get(self.labels, label.METRIC_NAME)

    @property
    def mixed(self) -> bool:
        """Whether floats lie beside the histograms; says so in the notes."""
        if len(self.floats):
            self.notes.mixed_samples(self.metric)
        return bool(len(self.floats))


Handler = Callable[[HistogramWindow], Outcome]


def apply(
    name: str,
    handler: Handler,
    vector: RangeVector,
    params: Sequence[Float64],
    values: Float64,
    present: Bool,
    context: Context,
    rows: Collection[int] | None = None,
) -> Objects | None:
    """Run the handler over every window with a histogram; `values` and `present` are corrected in place.

    `rows` limits it to some series.
    """
    samples = vector.samples
    steps = values.shape[1]
    out: Objects | None = None
    starts = np.broadcast_to(vector.starts_ms, (vector.grid.count,))
    ends = np.broadcast_to(vector.ends_ms, (vector.grid.count,))
    for row in samples.histograms if rows is None else rows:
        context.check_deadline()
        run = samples.histograms[row]
        low, high = vector.run_bounds(run)
        own = slice(int(samples.offsets[row]), int(samples.offsets[row + 1]))
        float_times, floats = samples.times[own], samples.values[own]
        float_low = np.searchsorted(float_times, starts, "right")
        float_high = np.searchsorted(float_times, ends, "right")
        for step in np.flatnonzero(high[:steps] > low[:steps]):
            part = slice(int(float_low[step]), int(float_high[step]))
            window = HistogramWindow(
                samples.labels[row],
                float_times[part],
                floats[part],
                run.times[low[step] : high[step]],
                run.points[low[step] : high[step]].tolist(),
                int(starts[step]),
                int(ends[step]),
                context.annotations,
                None if samples.starts is None else samples.starts[own][part],
                None if run.starts is None else run.starts[low[step] : high[step]],
            )
            outcome = handler(window)
            if outcome is KEEP:
                continue
            present[row, step] = isinstance(outcome, float)
            if isinstance(outcome, float):
                values[row, step] = outcome
            elif outcome is not None:
                if out is None:
                    out = np.full(values.shape, None, object)
                out[row, step] = outcome
    return out


def present(_: HistogramWindow) -> Outcome:
    """1 where there is any sample."""
    return 1.0


def count(window: HistogramWindow) -> Outcome:
    """Floats and histograms together."""
    return float(len(window.floats) + len(window.points))


def first(window: HistogramWindow) -> Outcome:
    """The oldest sample."""
    if len(window.floats) and window.float_times[0] < window.times[0]:
        return KEEP
    return window.points[0]


def last(window: HistogramWindow) -> Outcome:
    """The newest sample."""
    if len(window.floats) and window.float_times[-1] > window.times[-1]:
        return KEEP
    return window.points[-1]


def ts_of_first(window: HistogramWindow) -> Outcome:
    """Seconds of the oldest sample."""
    times = [int(window.times[0]), *(int(time) for time in window.float_times[:1])]
    return min(times) / 1000.0


def ts_of_last(window: HistogramWindow) -> Outcome:
    """Seconds of the newest sample."""
    times = [int(window.times[-1]), *(int(time) for time in window.float_times[-1:])]
    return max(times) / 1000.0


def ignored(window: HistogramWindow) -> Outcome:
    """Only floats count."""
    if not len(window.floats):
        return None
    window.notes.ignored_in_range(window.metric)
    return KEEP


def ignored_for_line(window: HistogramWindow) -> Outcome:
    """Only floats count, and two of them are needed."""
    if not len(window.floats):
        return None
    window.notes.ignored_in_range(window.metric)
    return KEEP


def rate(window: HistogramWindow) -> Outcome:
    """Per-second increase of a counter histogram."""
    return _extrapolated(window, is_counter=True, is_rate=True)


def increase(window: HistogramWindow) -> Outcome:
    """Increase of a counter histogram."""
    return _extrapolated(window, is_counter=True, is_rate=False)


def delta(window: HistogramWindow) -> Outcome:
    """Difference of a gauge histogram."""
    return _extrapolated(window, is_counter=False, is_rate=False)


def _extrapolated(window: HistogramWindow, *, is_counter: bool, is_rate: bool) -> Outcome:
    if window.mixed:
        return None
    points, began_ms = window.points, None
    if is_counter and window.starts is not None:
        points = _marked(window.points, window.times, window.starts)
        first = int(window.starts[0])
        if first and window.start_ms < first < window.times[0]:
            began_ms = first
        if overlapping(window.times, window.starts).any():
            window.notes.overlapping_start(window.metric)
    result, notes = histogram_rate(
        points,
        window.times,
        window.start_ms,
        window.end_ms,
        is_counter=is_counter,
        is_rate=is_rate,
        began_ms=began_ms,
    )
    note_all(window.notes, window.metric, notes)
    return result


def _marked(points: Sequence[Histogram], times: Int64, starts: Int64) -> list[Histogram]:
    """Return the points with the hint RESET where the start timestamp tells of one."""
    out = list(points)
    for place in (np.flatnonzero(began_anew(times, starts)) + 1).tolist():
        if out[place].hint is not ResetHint.GAUGE:
            out[place] = replace(out[place], hint=ResetHint.RESET)
    return out


def note_all(annotations: Annotations, metric: str, notes: frozenset[RateNote]) -> None:
    """Say what a rate had to say."""
    for note in notes:
        match note:
            case RateNote.NOT_COUNTER:
                annotations.not_counter(metric)
            case RateNote.NOT_GAUGE:
                annotations.not_gauge(metric)
            case RateNote.MIXED_SCHEMAS:
                annotations.mixed_schemas(metric)
            case RateNote.RECONCILED_SUBTRACTION:
                annotations.reconciled("subtraction")
            case RateNote.RECONCILED_ADDITION:
                annotations.reconciled("addition")


def irate(window: HistogramWindow) -> Outcome:
    """Per-second increase between the last two samples."""
    return _last_two(window, is_counter=True)


def idelta(window: HistogramWindow) -> Outcome:
    """Difference between the last two samples."""
    return _last_two(window, is_counter=False)


def _last_two(window: HistogramWindow, *, is_counter: bool) -> Outcome:
    points = window.points
    if is_counter and window.starts is not None:
        points = _marked(points, window.times, window.starts)
    newest: list[tuple[int, float | Histogram]] = [
        *zip(window.float_times[-2:].tolist(), window.floats[-2:].tolist(), strict=True),
        *zip(window.times[-2:].tolist(), points[-2:], strict=True),
    ]
    newest = sorted(newest, key=lambda pair: pair[0])[-2:]
    if len(newest) < 2:
        return None
    (then_ms, then), (now_ms, now) = newest
    if isinstance(then, float) and isinstance(now, float):
        return KEEP
    if not isinstance(then, Histogram) or not isinstance(now, Histogram):
        window.notes.mixed_samples(window.metric)
        return None
    gauges = (then.hint is ResetHint.GAUGE, now.hint is ResetHint.GAUGE)
    if is_counter and any(gauges):
        window.notes.not_counter(window.metric)
    if not is_counter and not all(gauges):
        window.notes.not_gauge(window.metric)
    result = now
    if not is_counter or not detect_reset(now, then):
        try:
            difference = subtract(now, then)
        except IncompatibleSchemasError:
            window.notes.mixed_schemas(window.metric)
            return None
        if difference.bounds_reconciled:
            window.notes.reconciled("subtraction")
        result = difference.histogram
    result = compact(replace(result, hint=ResetHint.GAUGE))
    return divide(result, (now_ms - then_ms) / 1000.0) if is_counter else result


def sum_(window: HistogramWindow) -> Outcome:
    """Sum of the histograms."""
    if window.mixed:
        return None
    return _summed(window)


def avg(window: HistogramWindow) -> Outcome:
    """Mean of the histograms."""
    if window.mixed:
        return None
    summed = _summed(window)
    if summed is None or (np.isfinite(summed.count) and np.isfinite(summed.sum)):
        return None if summed is None else divide(summed, float(len(window.points)))
    share = 1.0 / len(window.points)
    return _summed(replace(window, points=[scale(point, share) for point in window.points]))


def _summed(window: HistogramWindow) -> Histogram | None:
    hints = {point.hint for point in window.points}
    try:
        summed = total(window.points)
    except IncompatibleSchemasError:
        window.notes.mixed_schemas(window.metric)
        return None
    if ResetHint.RESET in hints and ResetHint.NOT_RESET in hints:
        window.notes.reset_collision("aggregation")
    if summed.bounds_reconciled:
        window.notes.reconciled("aggregation")
    return summed.histogram


def changes(window: HistogramWindow) -> Outcome:
    """How often the sample changed; a float never equals a histogram."""
    return _counted(window, _changed)


def resets(window: HistogramWindow) -> Outcome:
    """How often the sample fell; a change of kind is a reset."""
    return (
        _counted(window, _fell)
        if window.starts is None and window.float_starts is None
        else _restarts(window)
    )


def _restarts(window: HistogramWindow) -> float:
    """How often the sample fell or is known to have begun anew."""
    kinds = (
        (window.float_times, window.floats, window.float_starts),
        (window.times, window.points, window.starts),
    )
    samples: list[tuple[int, int, float | Histogram]] = []
    for times, points, starts in kinds:
        begun = np.zeros(len(times), np.int64) if starts is None else starts
        values = points.tolist() if isinstance(points, np.ndarray) else points
        samples += zip(times.tolist(), begun.tolist(), values, strict=True)
    samples.sort(key=lambda sample: sample[0])
    ordered = [sample for _, _, sample in samples]
    began = began_anew(
        np.array([time for time, _, _ in samples], np.int64),
        np.array([start for _, start, _ in samples], np.int64),
    )
    fell = [_fell(now, then) for then, now in itertools.pairwise(ordered)]
    return float(np.count_nonzero(began | np.array(fell, np.bool_)))


def _counted(window: HistogramWindow, event: Callable[[float | Histogram, float | Histogram], bool]) -> float:
    pairs: list[tuple[int, float | Histogram]] = [
        *zip(window.float_times.tolist(), window.floats.tolist(), strict=True),
        *zip(window.times.tolist(), window.points, strict=True),
    ]
    ordered = [sample for _, sample in sorted(pairs, key=lambda pair: pair[0])]
    return float(sum(event(now, then) for then, now in itertools.pairwise(ordered)))


def _changed(now: float | Histogram, then: float | Histogram) -> bool:
    if isinstance(now, Histogram) and isinstance(then, Histogram):
        return not equal(now, then)
    if isinstance(now, float) and isinstance(then, float):
        return now != then and not (np.isnan(now) and np.isnan(then))
    return True


def _fell(now: float | Histogram, then: float | Histogram) -> bool:
    if isinstance(now, Histogram) and isinstance(then, Histogram):
        return detect_reset(now, then)
    if isinstance(now, float) and isinstance(then, float):
        return now < then
    return True
