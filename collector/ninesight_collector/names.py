"""Names as Prometheus writes them."""

from __future__ import annotations

import math
import re
from decimal import Decimal

__all__ = ["format_float", "label_name", "metric_name"]

_METRIC_BAD = re.compile(r"[^a-zA-Z0-9_:]")
_LABEL_BAD = re.compile(r"[^a-zA-Z0-9_]")


def metric_name(name: str) -> str:
    """Return the name with every character outside [a-zA-Z0-9_:] as `_`, and `_` before a leading digit."""
    clean = _METRIC_BAD.sub("_", name)
    return f"_{clean}" if clean[:1].isdigit() else clean


def label_name(name: str) -> str:
    """Return the name with every character outside [a-zA-Z0-9_] as `_`.

    A leading digit, and the reserved `__`, get `key` in front: no attribute can replace `__name__`.
    """
    clean = _LABEL_BAD.sub("_", name)
    if clean[:1].isdigit():
        return f"key_{clean}"
    return f"key{clean}" if clean.startswith("__") else clean


def format_float(value: float) -> str:
    """Return `le` and `quantile` values in the one spelling that Prometheus 3 normalises to: 1.0, 0.005, +Inf."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0.0"
    # Go's strconv 'g' with the shortest digits: an exponent below 1e-4 and from 1e+06 on.
    sign, digits, power = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(power, int)
    exponent = len(digits) + power - 1
    if -4 <= exponent < 6:
        text = format(Decimal((sign, digits, power)), "f")
        return text if "." in text else f"{text}.0"
    tail = "".join(map(str, digits[1:]))
    return f"{'-' * sign}{digits[0]}{'.' if tail else ''}{tail}e{exponent:+03d}"
