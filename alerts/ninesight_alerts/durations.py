"""Durations as Prometheus writes them: `1h30m`, `15s`, `500ms`; always integer milliseconds inside."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

__all__ = ["Duration", "duration_ms", "duration_text"]

_UNITS = (
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
)
_PATTERN = re.compile("".join(rf"(?:([0-9]{{1,12}}){unit})?" for unit, _ in _UNITS))
DURATION_MS_MAX = 100 * 365 * 24 * 3_600_000


def duration_ms(text: str) -> int:
    """Return a duration in milliseconds. Raises ValueError that says the form and what was given.

    >>> duration_ms("1h30m")
    5400000
    """
    if text == "0":
        return 0
    match = _PATTERN.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"a duration is written like 30s, 5m or 1h30m (units y w d h m s ms), got {text!r}")
    parts = zip(match.groups(), _UNITS, strict=True)
    total = sum(int(count) * unit_ms for count, (_, unit_ms) in parts if count)
    if total > DURATION_MS_MAX:
        raise ValueError(f"a duration must be at most 100y, got {text!r}")
    return total


def duration_text(milliseconds: int) -> str:
    """Return the shortest Prometheus text of a duration.

    >>> duration_text(5_400_000)
    '1h30m'
    """
    if milliseconds == 0:
        return "0s"
    text = ""
    for unit, unit_ms in _UNITS:
        count, rest = divmod(milliseconds, unit_ms)
        # Weeks and years only where they are exact, as Prometheus prints them.
        if count and (unit not in {"y", "w"} or rest == 0):
            text, milliseconds = f"{text}{count}{unit}", rest
    return text


def _checked(text: str) -> str:
    duration_ms(text)
    return text


Duration = Annotated[str, AfterValidator(_checked)]
"""A config field that holds a duration as text; read it with `duration_ms`."""
