"""A first, shallow look at a query's text, before the real parser sees it.

It keeps away what the parser (promql-parser 0.12) answers with a crash: deep nesting overflows its
stack, `offset Inf` and times before 1970 panic. And it carries through what the parser cannot say:
each `@` value is replaced by its ordinal, each trim operator (`</`, `>/`) by `<` or `>`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from ninesight_query.durations import duration_ms
from ninesight_query.errors import ParseError

__all__ = [
    "BRACKET_DEPTH_MAX",
    "DURATION_S_MAX",
    "INFO_ARGUMENT",
    "OPERATORS_MAX",
    "Prelexed",
    "excerpt",
    "prelex",
]

BRACKET_DEPTH_MAX = 100
OPERATORS_MAX = 400
"""Operators in one query; a chain of them nests as deep as it is long."""
DURATION_S_MAX = 100 * 365 * 86400
TIME_S_MAX = 1 << 52

_TOKEN = re.compile(
    r"""
      (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)
    | (?P<comment>\#[^\n]*)
    | (?P<space>\s+)
    | (?P<duration>(?:[0-9]+(?:ms|[smhdwy]))+(?![A-Za-z0-9_]))
    | (?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*(?::[A-Za-z0-9_:]+)?)
    | (?P<compare></|>/|<=|>=|<|>)
    | (?P<operator>==|!=|=~|!~|[-+*/%^=])
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<at>@)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BYTE_ESCAPE = re.compile(r"\\x([89a-fA-F][0-9a-fA-F])|\\([23][0-7]{2})")
_BYTE_ESCAPES = re.compile(r"(?:\\x[89a-fA-F][0-9a-fA-F]|\\[23][0-7]{2})+")
INFO_ARGUMENT = "__info_argument__"
"""A matcher put into the second argument of info(), which else may not match only empty values."""
_WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})


@dataclass
class Prelexed:
    """The text for the parser, and what was taken out of it."""

    text: str
    at_ms: list[int] = field(default_factory=list)
    """The value of the k-th numeric `@`; in the text it reads `@ k`."""
    trims: list[bool] = field(default_factory=list)
    """Whether the k-th operator that now reads `<` or `>` is a trim."""


def excerpt(query: str, length_max: int = 200) -> str:
    """Return the query for a message, shortened in the middle if it is long."""
    flat = " ".join(query.split())
    if len(flat) <= length_max:
        return flat
    half = (length_max - 5) // 2
    return f"{flat[:half]} ... {flat[-half:]}"


def _seconds(kind: str, text: str) -> float:
    if kind == "duration":
        return duration_ms(text) / 1000.0
    if text[:2].lower() == "0x":
        return float(int(text, 16))
    return float(text)


@dataclass
class _Token:
    kind: str
    text: str


def _tokens(query: str) -> list[_Token]:
    return [_Token(match.lastgroup or "other", match.group()) for match in _TOKEN.finditer(query)]


def _check_nesting(tokens: list[_Token], query: str) -> None:
    depth = deepest = operators = 0
    for token in tokens:
        if token.kind == "open":
            depth += 1
            deepest = max(deepest, depth)
        elif token.kind == "close":
            depth -= 1
        elif token.kind in ("operator", "compare"):
            operators += token.text not in ("=", "=~", "!~")
        elif token.kind == "word" and token.text.lower() in _WORD_OPERATORS:
            operators += 1
    if deepest > BRACKET_DEPTH_MAX:
        raise ParseError(
            f"brackets may nest at most {BRACKET_DEPTH_MAX} deep, got {deepest}; split the query: {excerpt(query)}"
        )
    if operators > OPERATORS_MAX:
        raise ParseError(
            f"a query may hold at most {OPERATORS_MAX} operators, got {operators}; split it, "
            f"or replace a chain of `or` by a regular expression: {excerpt(query)}"
        )


def _next_solid(tokens: list[_Token], index: int) -> int:
    while index < len(tokens) and tokens[index].kind in ("space", "comment"):
        index += 1
    return index


def _signed_number(tokens: list[_Token], index: int) -> tuple[float | None, int]:
    """Return the number that stands at index (after an optional sign) and the index behind it."""
    sign = 1.0
    at = _next_solid(tokens, index)
    if at < len(tokens) and tokens[at].kind == "operator" and tokens[at].text in "+-":
        sign = -1.0 if tokens[at].text == "-" else 1.0
        at = _next_solid(tokens, at + 1)
    if at >= len(tokens):
        return None, index
    token = tokens[at]
    if token.kind in ("number", "duration"):
        return sign * _seconds(token.kind, token.text), at + 1
    if token.kind == "word" and token.text.lower() in ("inf", "nan"):
        return sign * float(token.text), at + 1
    return None, index


def _check_duration(tokens: list[_Token], index: int, what: str, query: str) -> None:
    seconds, _ = _signed_number(tokens, index)
    if seconds is not None and not abs(seconds) <= DURATION_S_MAX:
        raise ParseError(f"{what} must be at most 100 years, got {seconds:g} s: {excerpt(query)}")


def prelex(query: str) -> Prelexed:
    """Check what would crash the parser, and take out what it cannot carry. Raises ParseError."""
    tokens = _tokens(query)
    _check_nesting(tokens, query)
    out = Prelexed("")
    pieces: list[str] = []
    info_arguments = _info_arguments(tokens)
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        if token.kind == "at":
            seconds, behind = _signed_number(tokens, index)
            if seconds is not None:
                pieces.append(f"@ {len(out.at_ms)} ")
                out.at_ms.append(_time_ms(seconds, query))
                index = behind
                continue
        elif token.kind == "compare" and token.text in ("<", ">", "</", ">/"):
            out.trims.append(token.text[-1] == "/")
            pieces.append(token.text[0] + " " * (len(token.text) - 1))
            continue
        elif token.kind == "string":
            pieces.append(_valid_string(token.text, query))
            continue
        elif token.kind == "word" and token.text.lower() == "offset":
            _check_duration(tokens, index, "an offset", query)
        elif token.text in ("[", ":"):
            _check_duration(tokens, index, "a range", query)
        pieces.append(token.text)
        if index - 1 in info_arguments:
            pieces.append(f'{INFO_ARGUMENT}!="",')
    out.text = "".join(pieces)
    return out


def _time_ms(seconds: float, query: str) -> int:
    if not math.isfinite(seconds) or abs(seconds) > TIME_S_MAX:
        raise ParseError(f"the time behind @ must be finite seconds, got {seconds:g}: {excerpt(query)}")
    return math.floor(seconds * 1000.0 + 0.5)


def _info_arguments(tokens: list[_Token]) -> set[int]:
    """Return where the braces of second arguments of info() open."""
    found: set[int] = set()
    opened: list[bool] = []
    word = ""
    for index, token in enumerate(tokens):
        if token.kind == "open":
            opened.append(token.text == "(" and word == "info")
        elif token.kind == "close" and opened:
            opened.pop()
        elif token.text == "," and opened and opened[-1]:
            brace = _next_solid(tokens, index + 1)
            if brace < len(tokens) and tokens[brace].text == "{":
                found.add(brace)
        if token.kind not in ("space", "comment"):
            word = token.text if token.kind == "word" else ""
    return found


def _valid_string(text: str, query: str) -> str:
    r"""Check that byte escapes (`\xc3\xa9`) spell UTF-8, and spell it as characters for the parser."""
    if text[0] == "`" or not _BYTE_ESCAPE.search(text):
        return text

    def decode(run: re.Match[str]) -> str:
        codes = (int(h, 16) if h else int(o, 8) for h, o in _BYTE_ESCAPE.findall(run.group()))
        try:
            return bytes(code & 0xFF for code in codes).decode()
        except UnicodeDecodeError:
            raise ParseError(f"a string must be valid UTF-8, got {text}: {excerpt(query)}") from None

    return _BYTE_ESCAPES.sub(decode, text)
