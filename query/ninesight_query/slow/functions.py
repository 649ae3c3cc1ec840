"""Functions of one number, applied to each element of an instant vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["FUNCTIONS"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _guarded(of: Callable[[float], float], below: float = math.nan) -> Callable[[float], float]:
    """Give NaN, or +-Inf for an overflow, where Python raises."""

    def safe(value: float) -> float:
        try:
            return of(value)
        except OverflowError:
            return math.inf
        except ValueError:
            return below if value == 0 else math.nan

    return safe


def _whole(of: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: float(of(value)) if math.isfinite(value) else value


def _sign(value: float) -> float:
    return value if math.isnan(value) or value == 0 else math.copysign(1, value)


def _round(value: float, nearest: float = 1.0) -> float:
    """Round to a multiple, ties up."""
    inverse = 1.0 / nearest
    scaled = value * inverse + 0.5
    return (float(math.floor(scaled)) if math.isfinite(scaled) else scaled) / inverse


def _clamp(value: float, low: float, high: float) -> float | None:
    if low > high:
        return None
    if math.isnan(value) or math.isnan(low) or math.isnan(high):
        return math.nan
    return max(low, min(high, value))


def _date(part: Callable[[datetime], int]) -> Callable[[float], float]:
    def of(value: float) -> float:
        return (
            float(part(_EPOCH + timedelta(seconds=math.floor(value)))) if math.isfinite(value) else math.nan
        )

    return of


def _days(moment: datetime) -> int:
    first = moment.replace(day=1)
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1).toordinal() - first.toordinal()


FUNCTIONS: dict[str, Callable[..., float | None]] = {
    "abs": abs,
    "ceil": _whole(math.ceil),
    "clamp": _clamp,
    "clamp_max": lambda value, high: _clamp(value, -math.inf, high),
    "clamp_min": lambda value, low: _clamp(value, low, math.inf),
    "day_of_month": _date(lambda moment: moment.day),
    "day_of_week": _date(lambda moment: moment.isoweekday() % 7),
    "day_of_year": _date(lambda moment: moment.timetuple().tm_yday),
    "days_in_month": _date(_days),
    "exp": _guarded(math.exp),
    "floor": _whole(math.floor),
    "hour": _date(lambda moment: moment.hour),
    "ln": _guarded(math.log, -math.inf),
    "log10": _guarded(math.log10, -math.inf),
    "log2": _guarded(math.log2, -math.inf),
    "minute": _date(lambda moment: moment.minute),
    "month": _date(lambda moment: moment.month),
    "round": _round,
    "sgn": _sign,
    "sqrt": _guarded(math.sqrt),
    "year": _date(lambda moment: moment.year),
}
