"""Values from a request, taken as they come: numpy scalars too, and nothing raises."""

from __future__ import annotations

from math import isfinite
from operator import index
from typing import Any

__all__ = ["TEXT_MAX", "amount", "clean", "whole"]

TEXT_MAX = 256
"""Characters of a label value; the rest is cut off."""


def whole(value: Any) -> int | None:
    """Return an integer of at least 0; None for anything else."""
    try:
        count = index(value)
    except Exception:
        return None
    return count if count >= 0 else None


def amount(value: Any) -> float | None:
    """Return a finite float of at least 0; None for anything else."""
    try:
        number = float(value)
    except Exception:
        return None
    return number if isfinite(number) and number >= 0.0 else None


def clean(value: Any) -> str:
    """Return a label value: text that UTF-8 can carry, at most 256 characters."""
    try:
        text = str(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text[:TEXT_MAX].encode("utf-8", "replace").decode()
