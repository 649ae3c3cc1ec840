"""Functions of each float by itself: mathematics, angles, dates, clamping, rounding. Histograms drop out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ninesight_store.contract import Float64, Int64

from ninesight_query.block import Block, Scalars, without_name
from ninesight_query.context import Context

__all__ = ["DATE_FUNCTIONS", "MATH_FUNCTIONS", "clamp", "date", "elementwise", "round_to"]

Unary = Callable[[Float64], Float64]

MATH_FUNCTIONS: dict[str, Unary] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": lambda x: x * 180.0 / np.pi,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": lambda x: x * np.pi / 180.0,
    "sgn": lambda x: np.where(x < 0, -1.0, np.where(x > 0, 1.0, x)),
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}


def elementwise(block: Block, function: Unary, context: Context) -> Block:
    """Apply a function to every float; the metric's name goes."""
    with np.errstate(all="ignore"):
        values = function(block.values)
    return without_name(block.floats(values), delayed=context.settings.delayed_name_removal)


def clamp(block: Block, low: Float64, high: Float64, context: Context) -> Block:
    """Keep every float within low..high; where low > high there is no result."""
    with np.errstate(all="ignore"):
        values = np.minimum(block.values, high)
        values = np.maximum(values, low)
    out = block.floats(values, block.present & ~(high < low))
    return without_name(out, delayed=context.settings.delayed_name_removal)


def round_to(block: Block, nearest: Float64, context: Context) -> Block:
    """Round to the nearest multiple, ties upwards."""
    with np.errstate(all="ignore"):
        inverse = 1.0 / nearest
        return elementwise(block, lambda x: np.floor(x * inverse + 0.5) / inverse, context)


def _days(seconds: Int64) -> Int64:
    return seconds // 86_400


def _civil(seconds: Int64) -> tuple[Int64, Int64, Int64]:
    """Return year, month (1..12) and day (1..31) in UTC."""
    moments = _days(seconds).astype("datetime64[D]")
    months = moments.astype("datetime64[M]")
    years = months.astype("datetime64[Y]")
    return (
        years.astype(np.int64) + 1970,
        (months - years.astype("datetime64[M]")).astype(np.int64) + 1,
        (moments - months.astype("datetime64[D]")).astype(np.int64) + 1,
    )


def _day_of_year(seconds: Int64) -> Int64:
    moments = _days(seconds).astype("datetime64[D]")
    days: Int64 = (moments - moments.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    return days + 1


def _days_in_month(seconds: Int64) -> Int64:
    months = _days(seconds).astype("datetime64[D]").astype("datetime64[M]")
    days: Int64 = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    return days


DATE_FUNCTIONS: dict[str, Callable[[Int64], Int64]] = {
    "day_of_month": lambda seconds: _civil(seconds)[2],
    "day_of_week": lambda seconds: (_days(seconds) + 4) % 7,
    "day_of_year": _day_of_year,
    "days_in_month": _days_in_month,
    "hour": lambda seconds: seconds // 3600 % 24,
    "minute": lambda seconds: seconds // 60 % 60,
    "month": lambda seconds: _civil(seconds)[1],
    "year": lambda seconds: _civil(seconds)[0],
}
SECONDS_MAX = 9.0e15


def date(name: str, args: Sequence[Block | Scalars], times_ms: Int64, context: Context) -> Block:
    """A part of the date (UTC) of every value in seconds, or of the evaluation time without an argument."""
    part = DATE_FUNCTIONS[name]
    if not args:
        seconds = (times_ms - times_ms % 1000) // 1000
        return Block.of_row((), part(seconds).astype(np.float64), np.ones(len(times_ms), np.bool_))
    block = args[0]
    assert isinstance(block, Block)

    def apply(values: Float64) -> Float64:
        usable = np.isfinite(values) & (np.abs(values) < SECONDS_MAX)
        found = part(np.trunc(np.where(usable, values, 0.0)).astype(np.int64)).astype(np.float64)
        return np.where(usable, found, np.nan)

    return elementwise(block, apply, context)
