"""Functions of a range over bins: the same answers as over the samples, from what the bins hold of them.

What bins cannot answer exactly (sums that cancel, mixed series, most functions of histograms) raises
NotInBinsError; then the samples are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ninesight_store import FAR_FUTURE
from ninesight_store.contract import Float64, Int64

from ninesight_query import ir, over_time, rates
from ninesight_query.bins import Bins, BinTile
from ninesight_query.block import Bool, Grid
from ninesight_query.context import Context
from ninesight_query.select import RangeVector, Window
from ninesight_query.spans import bin_wish, shifted

__all__ = ["BIN_FUNCTIONS", "BinVector", "NotInBinsError", "bin_vector"]

Result = tuple[Float64, Bool]

_OF_POINTS = frozenset(
    {
        "absent_over_time",
        "delta",
        "first_over_time",
        "increase",
        "last_over_time",
        "max_over_time",
        "min_over_time",
        "present_over_time",
        "rate",
        "ts_of_first_over_time",
        "ts_of_last_over_time",
    }
)
"""Functions that the histogram points which a rollup keeps are enough for."""
_OF_NUMBERS = frozenset({"delta", "increase", "rate"})
"""Those of them that ask how many points there were: only points laid out in a matrix are counted."""


_FLOAT_SAFE_MAX = 1e300
"""Sums up to here do not overflow on the way."""


class NotInBinsError(Exception):
    """The bins do not say it exactly."""


@dataclass(slots=True, eq=False)
class BinWindow(Window):
    """A tile of bins seen through windows: `low` and `high` count bins, `samples` what is in them."""

    bins: BinTile | None = field(default=None, kw_only=True)

    @property
    def held(self) -> BinTile:
        """The bins."""
        assert self.bins is not None
        return self.bins

    @property
    def samples(self) -> Int64:
        """Samples in each window: [1, T] or [R, T]."""
        held = self.held
        return held.of_group(held.before, self.high) - held.of_group(held.before, self.low)

    @property
    def first_ms(self) -> Int64:
        """Time of the first sample: [1, T] or [R, T]."""
        return self.held.of_group(self.held.first_ms, self.first)

    def of(self, name: str) -> Window:
        """Return the window over one column of the bins."""
        return self.over(self.held.column(name))

    def over(self, values: Float64) -> Window:
        """Return the window over other values [R, N]."""
        tile = replace(self.tile, values=values)
        return Window(tile, self.low, self.high, self.starts_ms, self.ends_ms, self.grid_ms, self.check)


@dataclass(slots=True, eq=False)
class BinVector(RangeVector):
    """A range vector whose samples are bins. `samples` holds the last one of each."""

    bins: Bins | None = field(default=None, kw_only=True)

    def windows(self, context: Context, *, every_step: bool = False) -> Iterator[Window]:
        """Yield the bins tile by tile; a pinned window is never repeated, for no function here needs it."""
        assert self.bins is not None
        assert not every_step
        grid_ms = self.grid.times[:1] if self.pinned else self.grid.times
        starts, ends = self.starts_ms, self.ends_ms
        for part in self.bins.tiles(len(ends), int(starts[0]), int(ends[-1])):
            context.check_deadline()
            low, high = part.tile.bounds(starts), part.tile.bounds(ends)
            yield BinWindow(part.tile, low, high, starts, ends, grid_ms, context.check_deadline, bins=part)

    def check_points(self, name: str, odd: Sequence[int] = ()) -> None:
        """Raise NotInBinsError where the histogram points that a rollup keeps are not enough."""
        samples = self.samples
        mixed = any(samples.offsets[row] != samples.offsets[row + 1] for row in samples.histograms)
        if mixed or (samples.histograms and name not in _OF_POINTS) or (odd and name in _OF_NUMBERS):
            raise NotInBinsError


def bin_vector(name: str, node: ir.RangeSelector, grid: Grid, context: Context) -> BinVector | None:
    """Return the windows of `selector[range]` over bins; None where samples have to be read for this function."""
    if name not in BIN_FUNCTIONS:
        return None
    selector = node.selector
    wish = bin_wish(selector, node.range_ms, grid, context, columns=BIN_FUNCTIONS[name].columns, newest=False)
    if wish is None:
        return None
    bins = context.fetch_bins(selector.matchers, wish)
    samples = (bins.ranged.with_resets() if context.find_resets else bins.ranged).clean()
    ends = shifted(grid, selector.offset_ms, selector.at, context)
    return BinVector(samples, ends - node.range_ms, ends, grid, node.range_ms, bins=bins)


def _rate(window: BinWindow, *, is_counter: bool, is_rate: bool) -> Result:
    first_of_bins, last_of_bins = window.of("first").tile, window.tile
    first = first_of_bins.at(window.first)
    grown = last_of_bins.at(window.last) - first
    if is_counter:
        grown = _with_resets(window, first_of_bins.values, last_of_bins.values, grown)
    ends = rates.Ends(window.first_ms, window.tile.time_at(window.last), first, window.samples)
    return rates.extrapolated(window, ends, grown, is_counter=is_counter, is_rate=is_rate)


def _with_resets(window: BinWindow, first: Float64, last: Float64, grown: Float64) -> Float64:
    """Add what resets took away inside bins, and from the end of one bin to the beginning of the next."""
    lost = window.held.column("lost")
    rows, width = lost.shape
    # Two places a bin: between them lies what fell inside, between a bin and the next what fell there.
    values, falls = np.empty((rows, 2 * width)), np.zeros((rows, 2 * width - 1), np.bool_)
    values[:, 0::2], values[:, 1::2] = lost, last
    falls[:, 0::2], falls[:, 1::2] = lost != 0, first[:, 1:] < last[:, :-1]
    times = window.tile.times
    inside = times < FAR_FUTURE
    if not inside.all():
        there = inside if window.tile.shared else inside[window.tile.owner]
        falls[:, 0::2] &= there
        falls[:, 1::2] &= there[:, 1:]
    return rates.add_lost(values, falls, 2 * window.low, 2 * window.high, grown)


def _sum(window: BinWindow) -> Float64:
    """Return the sum of each window. Raises NotInBinsError where the sums of bins may have lost digits."""
    total, low, high, count = (window.held.column(name) for name in ("sum", "low", "high", "count"))
    there = np.isfinite(total)
    tallest = np.maximum(np.abs(low), np.abs(high))
    if (np.isfinite(tallest) & (tallest * count > _FLOAT_SAFE_MAX)).any():
        raise NotInBinsError
    out = _summed(window, np.where(there, total, 0.0))
    if ((low.min(axis=1) < 0) & (high.max(axis=1) > 0)).any():
        # Values of one sign never cancel. Of others each addition may round, at the height that the sum has then.
        height = np.where((low < 0) & (high > 0), tallest * count, np.abs(total))
        noise = _summed(window, np.where(there, height * count, 0.0)) * np.finfo(np.float64).eps
        if not (noise <= np.abs(out) * over_time.RELATIVE_ERROR_MAX).all():
            raise NotInBinsError
    return out if there.all() else _with_odd(window, out, total)


def _summed(window: BinWindow, values: Float64) -> Float64:
    return over_time.sum_(window.over(values), ())[0]


def _with_odd(window: BinWindow, out: Float64, total: Float64) -> Float64:
    """Put NaN and infinities into the sums of the windows that hold them."""
    marks = (total == np.inf, total == -np.inf, np.isnan(total))
    rises, falls, lacks = (_summed(window, mark.astype(np.float64)) > 0 for mark in marks)
    out = np.where(rises, np.inf, np.where(falls, -np.inf, out))
    return np.where(lacks | (rises & falls), np.nan, out)


def _sum_over_time(window: BinWindow) -> Result:
    return _sum(window), window.count >= 1


def _avg_over_time(window: BinWindow) -> Result:
    total = _sum(window)
    if np.isinf(total).any():
        # Infinite, or only too large for a float: the samples tell.
        raise NotInBinsError
    return total / window.samples, window.count >= 1


def _count(window: BinWindow) -> Result:
    return np.broadcast_to(window.samples.astype(np.float64), window.shape), window.count >= 1


def _ts_of_first(window: BinWindow) -> Result:
    return np.broadcast_to(window.first_ms / 1000.0, window.shape), window.count >= 1


@dataclass(frozen=True, slots=True)
class BinFunction:
    """What a window of bins says to one function."""

    kernel: Callable[[BinWindow], Result]
    columns: frozenset[str] = frozenset()
    """Of `ROLLUP_COLUMNS`, those that it reads."""


_RESETS, _SUMS = frozenset({"lost"}), frozenset({"sum", "low", "high"})

BIN_FUNCTIONS: dict[str, BinFunction] = {
    "absent_over_time": BinFunction(lambda window: over_time.present(window, ())),
    "avg_over_time": BinFunction(_avg_over_time, _SUMS),
    "count_over_time": BinFunction(_count),
    "delta": BinFunction(lambda window: _rate(window, is_counter=False, is_rate=False)),
    "first_over_time": BinFunction(lambda window: over_time.first(window.of("first"), ())),
    "increase": BinFunction(lambda window: _rate(window, is_counter=True, is_rate=False), _RESETS),
    "last_over_time": BinFunction(lambda window: over_time.last(window, ())),
    "max_over_time": BinFunction(
        lambda window: over_time.maximum(window.of("high"), ()), frozenset({"high"})
    ),
    "min_over_time": BinFunction(lambda window: over_time.minimum(window.of("low"), ()), frozenset({"low"})),
    "present_over_time": BinFunction(lambda window: over_time.present(window, ())),
    "rate": BinFunction(lambda window: _rate(window, is_counter=True, is_rate=True), _RESETS),
    "sum_over_time": BinFunction(_sum_over_time, _SUMS),
    "ts_of_first_over_time": BinFunction(_ts_of_first),
    "ts_of_last_over_time": BinFunction(lambda window: over_time.ts_of_last(window, ())),
}
