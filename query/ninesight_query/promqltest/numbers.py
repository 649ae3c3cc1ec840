"""Numbers as text in the notation: `5`, `-1.5e3`, `NaN`, `+Inf`, `0x1f`, `stale`."""

from __future__ import annotations

import math
import re

import numpy as np
from ninesight_store.contract import STALE_BITS

from ninesight_query.promqltest.errors import NotationError

__all__ = ["format_number", "is_number", "is_stale_value", "number"]

_NUMBER = re.compile(
    r"[+-]?(?:0x[0-9a-f]+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)", re.IGNORECASE | re.ASCII
)


def is_number(text: str) -> bool:
    """Whether the whole text is one number."""
    return _NUMBER.fullmatch(text.replace("_", "")) is not None


def number(text: str) -> float:
    """Return the number a text stands for. Raises NotationError."""
    if not _NUMBER.fullmatch(text):
        raise NotationError(f"a value must be a number, NaN, Inf or stale, got {text!r}")
    bare = text.lstrip("+-").lower()
    if bare.startswith("0x"):
        return float(int(bare, 16)) * (-1.0 if text[0] == "-" else 1.0)
    return float(text)


def is_stale_value(value: float) -> bool:
    """Whether a float is the stale marker, bit for bit."""
    return int(np.float64(value).view(np.uint64)) == STALE_BITS


def format_number(value: float) -> str:
    """Return the shortest text that reads back as the same float."""
    if is_stale_value(value):
        return "stale"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(float(value))
    return text.removesuffix(".0")
