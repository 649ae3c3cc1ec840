"""Prometheus durations as text: `5m`, `1h30m`, `250ms`, `0`. Milliseconds inside, always integers."""

from __future__ import annotations

import re

from ninesight_query.errors import ParseError

__all__ = ["duration_ms", "format_duration"]

_UNITS_MS = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_MILLISECONDS_MAX = (1 << 63) // 1_000_000
"""The largest duration of Prometheus: it counts nanoseconds in 64 bits."""

_CHARACTERS_MAX = 140
"""Seven numbers of 64 bits with their units."""


def duration_ms(text: str, *, signed: bool = False) -> int:
    """Return a duration in milliseconds; with `signed` a leading + or - is allowed.

    Raises ParseError where the text is no duration or is longer than 292 years.
    """
    sign, body = 1, text.strip()
    if signed and body[:1] in ("+", "-"):
        sign, body = (-1 if body[0] == "-" else 1), body[1:]
    if body == "0":
        return 0
    match = _DURATION.fullmatch(body) if 0 < len(body) <= _CHARACTERS_MAX else None
    if match is None:
        shown = text if len(text) <= _CHARACTERS_MAX else text[:_CHARACTERS_MAX] + "..."
        raise ParseError(
            f"a duration must be whole numbers with units in falling order (y w d h m s ms), got {shown!r}; "
            "write 5m, 1h30m or 250ms"
        )
    total = sum(
        int(part) * unit
        for part, unit in zip(match.groups(), _UNITS_MS.values(), strict=True)
        if part is not None
    )
    if total > _MILLISECONDS_MAX:
        raise ParseError(f"a duration must be at most 292 years, got {text!r}; write a shorter one")
    return sign * total


def format_duration(milliseconds: int) -> str:
    """Return the shortest exact notation: 90000 is `1m30s`, 0 is `0s`."""
    if milliseconds == 0:
        return "0s"
    rest, out = abs(milliseconds), "-" if milliseconds < 0 else ""
    for unit, size in _UNITS_MS.items():
        if unit in ("y", "w") and rest % size:
            continue
        count, rest = divmod(rest, size)
        if count:
            out += f"{count}{unit}"
    return out
