"""Functions of a range vector, on the points of one series inside one window."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ninesight_query.slow.values import Point, exact_mean, exact_sum, exact_variance, quantile

__all__ = ["RANGE_FUNCTIONS", "Window"]


@dataclass(frozen=True)
class Window:
    """The points of one series in (start, end], and the time of evaluation."""

    points: Sequence[Point]
    start_ms: int
    end_ms: int
    at_ms: int

    @property
    def values(self) -> list[float]:
        """The values in order of time."""
        return [value for _, value in self.points]


def _extrapolated(window: Window, *, counter: bool, per_second: bool) -> float | None:
    """How much a series grew over the whole window, from what it grew between its first and last point."""
    if len(window.points) < 2:
        return None
    (first_ms, first), (last_ms, last) = window.points[0], window.points[-1]
    grown = last - first
    if counter:
        for (_, before), (_, after) in zip(window.points, window.points[1:], strict=False):
            if after < before:
                grown += before
    sampled_s = (last_ms - first_ms) / 1000
    between_s = sampled_s / (len(window.points) - 1)
    to_start_s = (first_ms - window.start_ms) / 1000
    to_end_s = (window.end_ms - last_ms) / 1000
    # A series that has no point near an edge is taken to begin or end half a distance beyond its own.
    if to_start_s >= between_s * 1.1:
        to_start_s = between_s / 2
    if counter and grown > 0 and first >= 0:
        # A counter was not below zero before.
        to_start_s = min(to_start_s, sampled_s * (first / grown))
    if to_end_s >= between_s * 1.1:
        to_end_s = between_s / 2
    factor = (sampled_s + to_start_s + to_end_s) / sampled_s
    if per_second:
        factor /= (window.end_ms - window.start_ms) / 1000
    return grown * factor


def _last_two(window: Window, *, counter: bool) -> float | None:
    if len(window.points) < 2:
        return None
    (before_ms, before), (last_ms, last) = window.points[-2:]
    if not counter:
        return last - before
    grown = last if last < before else last - before
    return grown / ((last_ms - before_ms) / 1000)


def _count_pairs(window: Window, counts: Callable[[float, float], bool]) -> float | None:
    if not window.points:
        return None
    values = window.values
    return float(sum(counts(before, after) for before, after in itertools.pairwise(values)))


def _changed(before: float, after: float) -> bool:
    return before != after and not (math.isnan(before) and math.isnan(after))


def _extreme(values: Sequence[float], better: Callable[[float, float], bool]) -> float:
    best = values[0]
    for value in values[1:]:
        if math.isnan(best) or better(value, best):
            best = value
    return best


def _smallest(values: Sequence[float]) -> float:
    return _extreme(values, lambda value, best: value < best)


def _largest(values: Sequence[float]) -> float:
    return _extreme(values, lambda value, best: value > best)


def _deviation(values: Sequence[float]) -> float:
    if any(map(math.isnan, values)):
        return math.nan
    middle = quantile(0.5, values)
    return quantile(0.5, [abs(value - middle) for value in values])


def _line(window: Window, from_ms: int) -> tuple[float, float] | None:
    """Return slope per second and value at `from_ms` of the least-squares line; None below two points."""
    if len(window.points) < 2:
        return None
    values = window.values
    if all(value == values[0] for value in values):
        return (0.0, values[0]) if math.isfinite(values[0]) else (math.nan, math.nan)
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan
    xs = [Fraction(time - from_ms, 1000) for time, _ in window.points]
    ys = [Fraction(value) for value in values]
    n = len(xs)
    sum_x, sum_y = sum(xs, Fraction()), sum(ys, Fraction())
    covariance = sum((x * y for x, y in zip(xs, ys, strict=True)), Fraction()) - sum_x * sum_y / n
    variance = sum((x * x for x in xs), Fraction()) - sum_x * sum_x / n
    slope = covariance / variance
    return float(slope), float(sum_y / n - slope * sum_x / n)


def _deriv(window: Window) -> float | None:
    line = _line(window, window.points[0][0] if window.points else 0)
    return None if line is None else line[0]


def _predict(window: Window, ahead_s: float) -> float | None:
    line = _line(window, window.at_ms)
    return None if line is None else line[0] * ahead_s + line[1]


def _if_any(of: Callable[[Sequence[float]], float]) -> Callable[[Window], float | None]:
    return lambda window: of(window.values) if window.points else None


def _time_of(pick: Callable[[Sequence[float]], float]) -> Callable[[Window], float | None]:
    """Return the time of the last point that has the picked value; of the last one where all are NaN."""

    def time_s(window: Window) -> float | None:
        if not window.points:
            return None
        best = pick(window.values)
        same = [time for time, value in window.points if value == best]
        return (same or [window.points[-1][0]])[-1] / 1000

    return time_s


def _of_edge(place: int) -> Callable[[Window], float | None]:
    return lambda window: window.points[place][0] / 1000 if window.points else None


RANGE_FUNCTIONS: dict[str, Callable[..., float | None]] = {
    "avg_over_time": _if_any(exact_mean),
    "changes": lambda window: _count_pairs(window, _changed),
    "count_over_time": _if_any(lambda values: float(len(values))),
    "delta": lambda window: _extrapolated(window, counter=False, per_second=False),
    "deriv": _deriv,
    "first_over_time": _if_any(lambda values: values[0]),
    "idelta": lambda window: _last_two(window, counter=False),
    "increase": lambda window: _extrapolated(window, counter=True, per_second=False),
    "irate": lambda window: _last_two(window, counter=True),
    "last_over_time": _if_any(lambda values: values[-1]),
    "mad_over_time": _if_any(_deviation),
    "max_over_time": _if_any(_largest),
    "min_over_time": _if_any(_smallest),
    "predict_linear": _predict,
    "present_over_time": _if_any(lambda _: 1.0),
    "quantile_over_time": lambda window, ratio: quantile(ratio, window.values) if window.points else None,
    "rate": lambda window: _extrapolated(window, counter=True, per_second=True),
    "resets": lambda window: _count_pairs(window, lambda before, after: after < before),
    "stddev_over_time": _if_any(lambda values: math.sqrt(exact_variance(values))),
    "stdvar_over_time": _if_any(exact_variance),
    "sum_over_time": _if_any(exact_sum),
    "ts_of_first_over_time": _of_edge(0),
    "ts_of_last_over_time": _of_edge(-1),
    "ts_of_max_over_time": _time_of(_largest),
    "ts_of_min_over_time": _time_of(_smallest),
}
"""Each takes the window and then the function's scalar arguments; None is no result."""
