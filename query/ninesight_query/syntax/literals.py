r"""Numbers, durations and strings as Go writes them.

Numbers: decimal, hexadecimal (0x1f), octal (017), with underscores between digits, Inf and NaN in any case.
Strings: backquotes are raw; in quotes \a \b \f \n \r \t \v \\ \", \ooo, \xhh, \uhhhh, \Uhhhhhhhh. Byte
escapes may spell what is no UTF-8; such bytes are kept as lone surrogates (surrogateescape) and `is_utf8`
tells.
"""

from __future__ import annotations

import math
import re

from ninesight_query.durations import duration_ms
from ninesight_query.errors import ParseError

__all__ = ["NUMBER_WORDS", "is_utf8", "quote", "read_duration_s", "read_number", "unquote", "whole_ms"]

NUMBER_WORDS = frozenset({"inf", "nan"})
_INTEGER_MAX = (1 << 63) - 1
_OCTAL = re.compile(r"0[0-7_]+")
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\\"'])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|)"
)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_QUOTED = {char: f"\\{name}" for name, char in _PLAIN.items()} | {'"': '\\"'}


def read_number(text: str) -> float:
    """Return the value of a number token. Raises ValueError where it is too large."""
    lower = text.lower()
    if lower in NUMBER_WORDS:
        return float(lower)
    if lower.startswith("0x") or _OCTAL.fullmatch(text):
        whole = int(text, 16 if "x" in lower else 8)
        if whole > _INTEGER_MAX and "x" in lower:
            raise ValueError(f"a hexadecimal number must fit 63 bits, got {text}")
        if whole <= _INTEGER_MAX:
            return float(whole)
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"a number must lie within a float64 (about 1.8e308), got {text}; write Inf")
    return value


def read_duration_s(text: str) -> float:
    """Return a duration token in seconds. Raises ValueError where it is none, or too long."""
    try:
        return duration_ms(text) / 1000.0
    except ParseError as error:
        raise ValueError(str(error)) from None


def whole_ms(seconds: float) -> int:
    """Return whole milliseconds, what is below one cut off; a microsecond is forgiven to floating point."""
    ms = seconds * 1000.0
    nearest = round(ms)
    return nearest if abs(ms - nearest) < 1e-3 else int(ms)


def unquote(token: str) -> str:
    """Return what a string token stands for. Raises ValueError for an escape that Go does not know."""
    quoting, body = token[0], token[1:-1]
    if quoting == "`" or "\\" not in body:
        return body
    out: list[bytes] = []
    position = 0
    for match in _ESCAPE.finditer(body):
        out.append(body[position : match.start()].encode("utf-8", "surrogatepass"))
        out.append(_escaped(match, quoting))
        position = match.end()
    out.append(body[position:].encode("utf-8", "surrogatepass"))
    return b"".join(out).decode("utf-8", "surrogateescape")


def _escaped(match: re.Match[str], quoting: str) -> bytes:
    plain, octal, byte, short, long = match.groups()
    if plain:
        if plain in "\"'" and plain != quoting:
            raise ValueError(f"unknown escape sequence \\{plain} in a string quoted with {quoting}")
        return _PLAIN.get(plain, plain).encode()
    if octal or byte:
        code = int(octal, 8) if octal else int(byte, 16)
        if code > 255:
            raise ValueError(f"an octal escape must be at most \\377, got \\{octal}")
        return bytes((code,))
    if not (short or long):
        shown = match.string[match.start() : match.start() + 2]
        raise ValueError(f"unknown escape sequence {shown}; write a backslash twice, or quote with `")
    code = int(short or long, 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise ValueError(f"an escape must be a Unicode character, got {match.group()}")
    return chr(code).encode()


def is_utf8(text: str) -> bool:
    """Say whether a string is free of the lone surrogates that stand for other bytes."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def quote(text: str) -> str:
    """Return the text in double quotes, escaped as Go's strconv.Quote does."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_quoted_char, text)) + '"'


def _quoted_char(char: str) -> str:
    if char in _QUOTED:
        return _QUOTED[char]
    code = ord(char)
    if char.isprintable():
        return char
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
