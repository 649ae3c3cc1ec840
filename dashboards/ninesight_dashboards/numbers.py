"""Numbers as people read them: three significant digits, one unit, no false precision.

Every function takes a finite float in the base unit and returns text. What is missing is not a
number: callers say "no data" or "no traffic" themselves.
"""

from __future__ import annotations

import math

__all__ = [
    "age",
    "amount",
    "bytes_iec",
    "duration",
    "milliseconds",
    "money",
    "percent",
    "significant",
    "unit_text",
]

_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_IEC = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))


def significant(value: float, digits: int = 3) -> str:
    """Return `value` with that many significant digits, without exponent; whole digits are never cut."""
    if value == 0:
        return "0"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    rounded = round(value, decimals)
    if rounded != 0:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:.{min(decimals, 12)}f}"
    return text.rstrip("0").rstrip(".") if "." in text and abs(value) < 1e-3 else text


def amount(value: float) -> str:
    """Return a count or rate with an SI suffix: 950, 1.20k, 3.40M."""
    if math.isinf(value):
        return significant(value)
    for factor, suffix in _SI:
        if abs(value) >= factor * 0.9995:
            return f"{significant(value / factor)}{suffix}"
    if value == round(value) and abs(value) < 1000:
        return f"{value:.0f}"
    return significant(value)


def duration(seconds: float) -> str:
    """Return a duration: 412 µs, 950 ms, 1.02 s, 1 m 12 s, 2 h 5 m, 3 d 4 h."""
    if math.isinf(seconds):
        return "∞"
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds == 0:
        return "0 s"
    if seconds < 0.9995e-3:
        return f"{significant(seconds * 1e6)} µs"
    if seconds < 0.9995:
        return f"{significant(seconds * 1e3)} ms"
    if seconds < 59.95:
        return f"{significant(seconds)} s"
    return age(seconds)


def age(seconds: float) -> str:
    """Return whole units, the two largest: 12 s, 3 m 12 s, 2 h 5 m, 3 d 4 h."""
    whole = max(0, round(seconds))
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def milliseconds(seconds: float) -> str:
    """Return milliseconds without unit, for table columns headed "ms": 0.412, 12.3, 1,240."""
    value = seconds * 1e3
    if math.isinf(value):
        return "∞"
    return f"{value:,.0f}" if abs(value) >= 999.5 else significant(value)


def percent(ratio: float) -> str:
    """Return a ratio as a percentage; near 100 % it keeps as many nines as there are.

    0.432 -> 43.2 %, 0.9995 -> 99.95 %, 0.000012 -> <0.01 %. Nothing but 1 is shown as 100 %.
    """
    value = ratio * 100
    if value == 0:
        return "0 %"
    if 0 < abs(value) < 0.01:
        return "<0.01 %" if value > 0 else ">-0.01 %"
    if 99 <= value < 100:
        return f"{_nines(value)} %"
    if value == round(value) and abs(value) >= 10:
        return f"{value:.0f} %"
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{decimals}f} %"


def _nines(value: float) -> str:
    """Two digits of what is missing to 100, cut and not rounded: a target just missed never looks met."""
    decimals = min(5, max(1, math.ceil(1 - math.log10(100 - value) - 1e-9)))
    cut = min(math.floor(value * 10**decimals + 1e-6) / 10**decimals, 100 - 10**-decimals)
    return f"{cut:.{decimals}f}".rstrip("0").rstrip(".")


def bytes_iec(count: float) -> str:
    """Return bytes in binary units: 512 B, 1.50 GiB."""
    for factor, suffix in _IEC:
        if abs(count) >= factor * 0.9995:
            return f"{significant(count / factor)} {suffix}"
    return f"{count:.0f} B"


def money(value: float, currency: str, *, fine: bool = False) -> str:
    """Return an amount with its currency code: two decimals, or four where `fine` (per-request prices)."""
    decimals = 4 if fine else 2
    if value and abs(value) < 0.5 * 10**-decimals:
        return f"<{10**-decimals:.{decimals}f} {currency}"
    return f"{value:,.{decimals}f} {currency}"


def unit_text(value: float, unit: str) -> str:
    """Return `value` in a panel's unit: s, ratio, bytes, req/s, requests, items, a currency..."""
    if unit == "s":
        return duration(value)
    if unit == "ratio":
        return percent(value)
    if unit == "bytes":
        return bytes_iec(value)
    return amount(value)
