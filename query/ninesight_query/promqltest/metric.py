"""The front of a series line: `name{label="value"}`, also `{"utf-8 name", label="value"}`."""

from __future__ import annotations

import re

from ninesight_store.contract import Labels

from ninesight_query.promqltest.errors import NotationError

__all__ = ["parse_metric", "unquote"]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_SPACE = re.compile(r"\s*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))"
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unquote(text: str) -> str:
    """Return the value of a Go string literal in any of its three quotes. Raises NotationError."""
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "\"'`":
        raise NotationError(f"a string must be quoted, got {text}; put it in double quotes")
    body = text[1:-1]
    if text[0] == "`":
        return body
    return _ESCAPE.sub(_unescape, body)


def _unescape(match: re.Match[str]) -> str:
    simple, byte, short, long, octal = match.groups()
    if simple:
        return _SIMPLE.get(simple, simple)
    return chr(int(octal, 8) if octal else int(byte or short or long, 16))


def parse_metric(line: str) -> tuple[Labels, int]:
    """Read the metric at the start of a line; returns its labels and where the rest begins.

    A label with an empty value is left out, as everywhere. Raises NotationError.
    """
    pairs: dict[str, str] = {}
    match = _NAME.match(line)
    position = match.end() if match else 0
    if match:
        pairs["__name__"] = match.group()
    brace = _skip(line, position)
    if line.startswith("{", brace) and not line.startswith("{{", brace):
        position = _parse_labels(line, brace + 1, pairs)
    elif not match:
        raise NotationError(f"a series line must begin with a metric name or {{labels}}, got {line!r}")
    return tuple(sorted((name, value) for name, value in pairs.items() if value)), position


def _skip(line: str, position: int) -> int:
    match = _SPACE.match(line, position)
    return match.end() if match else position


def _parse_labels(line: str, position: int, pairs: dict[str, str]) -> int:
    """Read `a="b", "c d"="e", "name"}` into `pairs`; returns the position after the brace."""
    while True:
        position = _skip(line, position)
        if line.startswith("}", position):
            return position + 1
        match = _NAME.match(line, position) or _STRING.match(line, position)
        if match is None:
            raise NotationError(f'labels must be name="value" pairs up to a closing brace, got {line!r}')
        quoted = match.group()[0] in "\"'`"
        name = unquote(match.group()) if quoted else match.group()
        position = _skip(line, match.end())
        if line.startswith("=", position):
            match = _STRING.match(line, _skip(line, position + 1))
            if match is None:
                raise NotationError(f'label {name} must have a quoted value, as in {name}="x", got {line!r}')
            pairs[name] = unquote(match.group())
            position = _skip(line, match.end())
        elif quoted:
            pairs["__name__"] = name
        else:
            raise NotationError(f'label {name} must have a value, as in {name}="x", got {line!r}')
        if line.startswith(",", position):
            position += 1
