"""Numbers and values as Go prints them: people have templates that count on exactly that."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

__all__ = ["go_exponent", "go_float", "go_quote", "go_sprintf", "go_text"]

_VERB = re.compile(r"%([-+# 0]*)(\d{1,3})?(\.\d{0,3})?(.)", re.DOTALL)


def go_float(value: float) -> str:
    """Return a float as Go's %v: the shortest digits, exponent form below 1e-4 and from 1e6 on.

    >>> go_float(0.25), go_float(1500000.0), go_float(2.0)
    ('0.25', '1.5e+06', '2')
    """
    if not math.isfinite(value):
        return _special(value)
    sign, digits, tail = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(tail, int)
    exponent = len(digits) - 1 + tail
    if digits != (0,) and not -4 <= exponent < 6:
        text = "".join(map(str, digits))
        mantissa = f"{text[0]}.{text[1:]}".rstrip(".")
        return f"{'-' if sign else ''}{mantissa}e{exponent:+03d}"
    return format(value, f".{max(0, -tail)}f")


def go_exponent(value: float) -> str:
    """Return a float as Go's %e with the shortest digits, which Prometheus uses for an alert's value.

    >>> go_exponent(0.0), go_exponent(1234.5), go_exponent(-2e-300)
    ('0e+00', '1.2345e+03', '-2e-300')
    """
    if not math.isfinite(value):
        return _special(value)
    sign, digits, tail = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(tail, int)
    exponent = len(digits) - 1 + tail if digits != (0,) else 0
    text = "".join(map(str, digits))
    return f"{'-' if sign else ''}{f'{text[0]}.{text[1:]}'.rstrip('.')}e{exponent:+03d}"


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def go_quote(text: str) -> str:
    """Return a text in double quotes with escapes, as Go's %q and as matchers are written."""
    return json.dumps(text, ensure_ascii=False)


def go_text(value: Any) -> str:
    """Return a value as Go's %v prints it.

    >>> go_text({"b": 1.0, "a": "x"}), go_text([True, None])
    ('map[a:x b:1]', '[true <nil>]')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{go_text(key)}:{go_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, Sequence):
        return f"[{' '.join(go_text(item) for item in value)}]"
    return str(value)


def go_sprintf(layout: str, *values: Any) -> str:
    """Return the layout filled as Go's Sprintf does; a wrong verb shows as `%!d(string=x)`, never raises.

    >>> go_sprintf("%s is %.1f%% (%d)", "a", 12.34, 7)
    'a is 12.3% (7)'
    """
    waiting = iter(values)
    text = _VERB.sub(lambda match: _filled(match, waiting), layout)
    extra = ", ".join(f"{_type(value)}={go_text(value)}" for value in waiting)
    return f"{text}%!(EXTRA {extra})" if extra else text


def _filled(match: re.Match[str], waiting: Iterator[Any]) -> str:
    flags, width, precision, verb = match.groups()
    if verb == "%":
        return "%"
    try:
        value = next(waiting)
    except StopIteration:
        return f"%!{verb}(MISSING)"
    plain = _verb_text(verb, flags, precision, value)
    if plain is None:
        return f"%!{verb}({_type(value)}={go_text(value)})"
    return _padded(plain, flags, int(width or 0), numeric=isinstance(value, int | float))


def _verb_text(verb: str, flags: str, precision: str | None, value: Any) -> str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb == "v" and not (number and precision):
        return go_text(value)
    if verb in "sq" and isinstance(value, str):
        text = value[: int(precision[1:] or 0)] if precision else value
        return text if verb == "s" else go_quote(text)
    if verb == "s" and not number and not isinstance(value, bool):
        return go_text(value)
    if verb == "t" and isinstance(value, bool):
        return go_text(value)
    if verb in "dxXob" and number and isinstance(value, int):
        return format(value, ("+" if "+" in flags else "") + verb)
    if verb in "veEfFgG" and number and isinstance(value, float):
        return _float_text(value, "g" if verb == "v" else verb, flags, precision)
    return None


def _float_text(value: float, verb: str, flags: str, precision: str | None) -> str:
    if not math.isfinite(value):
        return _special(value)
    if verb in "gG" and precision is None:
        text = go_float(value).upper() if verb == "G" else go_float(value)
        return f"+{text}" if "+" in flags and value >= 0 else text
    digits = int(precision[1:] or 0) if precision else 6
    return format(value, f"{'+' if '+' in flags else ''}.{digits}{verb}")


def _padded(text: str, flags: str, width: int, *, numeric: bool) -> str:
    if "-" in flags:
        return text.ljust(width)
    return text.zfill(width) if "0" in flags and numeric else text.rjust(width)


def _type(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", type(None): "<nil>"}
    return names.get(type(value), "map" if isinstance(value, Mapping) else "[]interface {}")
