"""Times and durations as request parameters: unix seconds, RFC 3339, or Prometheus durations."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

from ninesight_query.durations import duration_ms
from ninesight_query.errors import ParseError

__all__ = [
    "TIME_MAX_MS",
    "TIME_MIN_MS",
    "parse_lookback_ms",
    "parse_step_ms",
    "parse_time_ms",
    "parse_timeout_s",
    "rfc3339",
]

TIME_MAX_MS = 1 << 53
"""Times beyond are cut: 285,000 years from 1970 are enough for "everything"."""
TIME_MIN_MS = -TIME_MAX_MS

_WHOLE_DIGITS = 12
"""Whole seconds, as most times are, of so many digits lie within the bounds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FAR_PAST = "-292273086-05-16T16:47:06Z"
_FAR_FUTURE = "+292277025-08-18T07:12:54.999999999Z"


def _number(text: str) -> float | None:
    # Python reads 1_000, blanks around and non-ASCII digits as numbers; a wire format does not.
    if "_" in text or not text.isascii() or text.strip() != text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_time_ms(text: str, name: str) -> int:
    """Return a time in milliseconds, rounded. Raises ParseError, naming the parameter."""
    if len(text) <= _WHOLE_DIGITS and text.isascii() and text.isdigit():
        return int(text) * 1000
    seconds = _number(text)
    if seconds is not None:
        return round(min(max(seconds * 1000.0, TIME_MIN_MS), TIME_MAX_MS))
    if text == _FAR_PAST:
        return TIME_MIN_MS
    if text == _FAR_FUTURE:
        return TIME_MAX_MS
    if match := _RFC3339.fullmatch(text):
        day, clock, part, zone = match.groups()
        try:
            moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
        except ValueError:
            moment = None
        if moment is not None:
            return (moment - _EPOCH) // _MILLISECOND + round(float(part or 0) * 1000)
    raise ParseError(
        f'invalid parameter "{name}": a time must be unix seconds or RFC 3339, got {text!r}; '
        "write 1700000000.123 or 2023-11-14T22:13:20Z"
    )


_MILLISECOND = (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC) - _EPOCH) / 1000


def rfc3339(at_ms: int) -> str:
    """Return a time as Go's JSON writes it: UTC with milliseconds; 0 is Go's zero time, never.

    >>> rfc3339(1_700_000_000_120), rfc3339(0)
    ('2023-11-14T22:13:20.120Z', '0001-01-01T00:00:00Z')
    """
    if not at_ms:
        return "0001-01-01T00:00:00Z"
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _duration_s(text: str, name: str) -> float:
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        return duration_ms(text) / 1000.0
    except ParseError as error:
        raise ParseError(
            f'invalid parameter "{name}": a duration must be seconds or like 5m, got {text!r}'
        ) from error


def parse_step_ms(text: str) -> int:
    """Return the step of a range query in milliseconds, at least 1. Raises ParseError.

    As in Prometheus seconds are cut to nanoseconds, then to milliseconds: 33.3 is 33.299 s, `33300ms` is not.
    """
    seconds = _duration_s(text, "step")
    if _number(text) is None:
        step_ms = round(seconds * 1000.0)
    else:
        step_ms = int(min(max(seconds, 0.0), TIME_MAX_MS / 1000.0) * 1e9) // 1_000_000
    if not step_ms:
        raise ParseError(
            f'invalid parameter "step": zero or negative query resolution step widths are not accepted, '
            f"got {text!r}; try a positive number of seconds of at least 0.001"
        )
    return step_ms


def parse_lookback_ms(text: str) -> int | None:
    """Return a lookback in milliseconds; 0 or less is None, the engine's own. Raises ParseError."""
    lookback_ms = round(min(_duration_s(text, "lookback_delta") * 1000.0, TIME_MAX_MS))
    return lookback_ms if lookback_ms > 0 else None


def parse_timeout_s(text: str) -> float:
    """Return a timeout in seconds; 0 or less is over already, as in Prometheus. Raises ParseError."""
    return _duration_s(text, "timeout")
