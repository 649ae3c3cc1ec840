"""Durations as people write them: "15s", "250ms", "5m"."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

__all__ = ["Duration", "duration_s"]

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")


def duration_s(text: object) -> float:
    """Return the seconds of "15s", "1m30s" or "250ms".

    Raises ValueError for anything else, a bare number included: 15 of what?
    """
    if not isinstance(text, str) or not _WHOLE.fullmatch(text):
        raise ValueError(
            f'a duration must be a number with a unit (ms, s, m, h, d) such as "15s", got {text!r}'
        )
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    if seconds <= 0:
        raise ValueError(f'a duration must be above zero, got "{text}"')
    return seconds


Duration = Annotated[float, BeforeValidator(duration_s)]
"""A pydantic field in seconds, written as "15s"."""
