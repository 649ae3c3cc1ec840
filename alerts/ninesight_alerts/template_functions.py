"""The functions a template may call: Prometheus' own and the plain ones of Go's text/template.

Every function is a pure Python callable over texts, numbers, maps and lists. Nothing is looked up
by name outside this table, so a template can reach nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

from ninesight_alerts.durations import duration_ms
from ninesight_alerts.errors import TemplateError
from ninesight_alerts.go_format import go_sprintf, go_text

__all__ = ["FUNCTIONS", "Function", "truth"]

Function = Callable[..., Any]

TEXT_CHARS_MAX = 64 * 1024
PATTERN_CHARS_MAX = 1024

_LARGE = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL = ("m", "u", "n", "p", "f", "a", "z", "y")


def truth(value: Any) -> bool:
    """Say whether a value counts as true in `if`: not false, 0, nil, "" or empty. NaN is true, as in Go."""
    return bool(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TemplateError(f"a number is needed, got {go_text(value)}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TemplateError(f"a number is needed, got {go_text(value)!r}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TemplateError(f"a text is needed, got {go_text(value)}; print it first")
    return value


def _scaled(value: float, base: float, prefixes: Sequence[str]) -> str:
    prefix = ""
    for name in prefixes:
        if abs(value) < base:
            break
        prefix, value = name, value / base
    return go_sprintf("%.4g%s", value, prefix)


def _scaled_up(value: float, unit: str = "") -> str:
    prefix = ""
    for name in _SMALL:
        if abs(value) >= 1:
            break
        prefix, value = name, value * 1000
    return go_sprintf("%.4g%s%s", value, prefix, unit)


def humanize(given: Any) -> str:
    """Return a number with a metric prefix: 1234.5 becomes 1.234k."""
    value = _number(given)
    if value == 0 or not math.isfinite(value):
        return go_sprintf("%.4g", value)
    return _scaled(value, 1000, _LARGE) if abs(value) >= 1 else _scaled_up(value)


def humanize1024(given: Any) -> str:
    """Return a number with a binary prefix: 2048 becomes 2ki."""
    value = _number(given)
    if abs(value) <= 1 or not math.isfinite(value):
        return go_sprintf("%.4g", value)
    return _scaled(value, 1024, tuple(f"{name}i" for name in _LARGE))


def humanize_duration(given: Any) -> str:
    """Return seconds in words: 90 becomes 1m 30s, 0.0042 becomes 4.2ms."""
    value = _number(given)
    if not math.isfinite(value):
        return go_sprintf("%.4g", value)
    if value == 0:
        return "0s"
    if abs(value) < 1:
        return _scaled_up(value, "s")
    sign, value = ("-" if value < 0 else ""), abs(value)
    whole = int(value)
    seconds, minutes, hours, days = whole % 60, whole // 60 % 60, whole // 3600 % 24, whole // 86400
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    if minutes:
        return f"{sign}{minutes}m {seconds}s"
    return go_sprintf("%s%.4gs", sign, value)


def humanize_percentage(given: Any) -> str:
    """Return a ratio as a percentage: 0.1234 becomes 12.34%."""
    return go_sprintf("%.4g%%", _number(given) * 100)


def humanize_timestamp(given: Any) -> str:
    """Return seconds since the epoch as UTC text."""
    value = _number(given)
    if not math.isfinite(value):
        return go_sprintf("%.4g", value)
    try:
        moment = datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        raise TemplateError(f"humanizeTimestamp needs seconds since 1970, got {go_text(value)}") from None
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _compiled(pattern: Any) -> re.Pattern[str]:
    text = _text(pattern)
    if len(text) > PATTERN_CHARS_MAX:
        raise TemplateError(f"a pattern has at most {PATTERN_CHARS_MAX} characters, got {len(text)}")
    try:
        return re.compile(text)
    except re.error as error:
        raise TemplateError(f"the pattern {text!r} is not valid: {error}") from None


def replace_all(pattern: Any, replacement: Any, text: Any) -> str:
    """Replace every match; `$1` and `${name}` in the replacement stand for groups, `$$` for a dollar."""
    compiled, given = _compiled(pattern), _text(text)[:TEXT_CHARS_MAX]
    parts = re.split(r"\$(?:\{(\w+)\}|(\w+)|(\$))", _text(replacement))

    def filled(match: re.Match[str]) -> str:
        out = [parts[0]]
        for braced, plain, dollar, tail in zip(
            parts[1::4], parts[2::4], parts[3::4], parts[4::4], strict=True
        ):
            out += ["$" if dollar else _group(match, braced or plain), tail]
        return "".join(out)

    return compiled.sub(filled, given)


def _group(match: re.Match[str], name: str) -> str:
    try:
        return match[int(name) if name.isdigit() else name] or ""
    except IndexError:
        return ""


def matches(pattern: Any, text: Any) -> bool:
    """Say whether the pattern occurs in the text (unanchored, as in Go)."""
    return _compiled(pattern).search(_text(text)[:TEXT_CHARS_MAX]) is not None


def title(text: Any) -> str:
    """Return the text with the first letter of each word in upper case; other letters stay."""
    return re.sub(r"(?<!\w)\w", lambda match: match[0].upper(), _text(text))


def first(result: Any) -> Any:
    """Return the first sample of a query's result."""
    if not isinstance(result, Sequence) or isinstance(result, str):
        raise TemplateError("first() needs the result of a query")
    if not result:
        raise TemplateError("first() called on vector with no elements")
    return result[0]


def label(name: Any, sample: Any) -> str:
    """Return a label of a sample, "" where it has none."""
    return str(_sample(sample)["Labels"].get(_text(name), ""))


def value_of(sample: Any) -> float:
    """Return the value of a sample."""
    return float(_sample(sample)["Value"])


def _sample(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or "Labels" not in given or "Value" not in given:
        raise TemplateError(f"a sample of a query's result is needed, got {go_text(given)}")
    return given


def sort_by_label(name: Any, result: Any) -> list[Any]:
    """Return a query's result sorted by one label, otherwise in its old order."""
    return sorted(result, key=lambda sample: label(name, sample))


def _kind(value: Any) -> str:
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "string"), (type(None), "nil")):
        if isinstance(value, kind):
            return name
    return "other"


def _same_kind(left: Any, right: Any, *, ordered: bool) -> None:
    pair = {_kind(left), _kind(right)}
    if "other" in pair or len(pair) > 1 or (ordered and pair & {"bool", "nil"}):
        raise TemplateError(
            f"incompatible types for comparison: {_kind(left)} {go_text(left)} and {_kind(right)} {go_text(right)}"
        )


def equal(left: Any, *others: Any) -> bool:
    """Say whether the first value equals any of the others; values of two kinds are an error, as in Go."""
    if not others:
        raise TemplateError("eq: missing argument for comparison")
    for other in others:
        _same_kind(left, other, ordered=False)
    return left in others


def _ordered(compare: Callable[[Any, Any], bool]) -> Function:
    def function(left: Any, right: Any) -> bool:
        _same_kind(left, right, ordered=True)
        return compare(left, right)

    return function


def index(item: Any, *keys: Any) -> Any:
    """Return item[key1][key2]...; a missing map key gives ""."""
    for key in keys:
        if isinstance(item, Mapping):
            item = item.get(key, "")
        elif isinstance(item, Sequence) and isinstance(key, int) and 0 <= key < len(item):
            item = item[key]
        else:
            raise TemplateError(f"index: no element {go_text(key)} in {go_text(item)[:80]}")
    return item


def length(item: Any) -> int:
    """Return how many elements a text (in bytes), map or list has."""
    if isinstance(item, str):
        return len(item.encode())
    if isinstance(item, Mapping | Sequence):
        return len(item)
    raise TemplateError(f"len of type {_kind(item)}")


def spaced(*values: Any) -> str:
    """Return the values joined as Go's Sprint: a blank between two neighbours that are no texts."""
    out = ""
    for position, value in enumerate(values):
        glue = position and not isinstance(value, str) and not isinstance(values[position - 1], str)
        out += f" {go_text(value)}" if glue else go_text(value)
    return out


def parse_duration(text: Any) -> float:
    """Return a Prometheus duration in seconds."""
    try:
        return duration_ms(_text(text)) / 1000
    except ValueError as error:
        raise TemplateError(str(error)) from None


def strip_port(address: Any) -> str:
    """Return host:port without the port."""
    text = _text(address)
    host, colon, port = text.rpartition(":")
    return (
        host.strip("[]") if colon and port.isdigit() and (":" not in host or host.startswith("[")) else text
    )


def strip_domain(address: Any) -> str:
    """Return the first label of a host name, its port kept; addresses stay."""
    text = _text(address)
    host, colon, port = text.partition(":")
    if re.fullmatch(r"[\d.]+|\[.*|.*:.*:.*", text.removesuffix(f":{port}") if colon else text):
        return text
    return host.split(".", 1)[0] + (f":{port}" if colon else "")


def _link(tab: int) -> Function:
    return lambda expr: f"/graph?g0.expr={quote_plus(_text(expr))}&g0.tab={tab}"


FUNCTIONS: Mapping[str, Function] = {
    "args": lambda *values: {f"arg{position}": value for position, value in enumerate(values)},
    "eq": equal,
    "first": first,
    "ge": _ordered(lambda left, right: left >= right),
    "graphLink": _link(0),
    "gt": _ordered(lambda left, right: left > right),
    "humanize": humanize,
    "humanize1024": humanize1024,
    "humanizeDuration": humanize_duration,
    "humanizePercentage": humanize_percentage,
    "humanizeTimestamp": humanize_timestamp,
    "index": index,
    "label": label,
    "le": _ordered(lambda left, right: left <= right),
    "len": length,
    "lt": _ordered(lambda left, right: left < right),
    "match": matches,
    "ne": lambda left, right: not equal(left, right),
    "not": lambda value: not truth(value),
    "parseDuration": parse_duration,
    "print": spaced,
    "printf": lambda layout, *values: go_sprintf(_text(layout), *values),
    "println": lambda *values: " ".join(go_text(value) for value in values) + "\n",
    "reReplaceAll": replace_all,
    "safeHtml": _text,
    "sortByLabel": sort_by_label,
    "stripDomain": strip_domain,
    "stripPort": strip_port,
    "strvalue": lambda sample: label("__value__", sample),
    "tableLink": _link(1),
    "title": title,
    "toLower": lambda text: _text(text).lower(),
    "toUpper": lambda text: _text(text).upper(),
    "urlQueryEscape": lambda text: quote_plus(_text(text)),
    "urlquery": lambda *values: quote_plus(spaced(*values)),
    "value": value_of,
}
"""By the name a template uses. `and`, `or`, `query`, `externalURL` and `pathPrefix` belong to the renderer."""
