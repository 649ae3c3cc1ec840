"""Query text to tokens. Brackets tell which words are which, so three small alphabets take turns:

    outside          words with colons, operators of vectors, strings, numbers
    inside { }       label names, matching operators, strings
    inside [ ]       durations, their arithmetic and the colon of a subquery

Every token knows where it stands. No text is too odd: what fits nowhere is a ParseError.
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from ninesight_query.syntax.problems import problem

__all__ = ["BRACKET_DEPTH_MAX", "TOKENS_MAX", "Token", "tokenize"]

BRACKET_DEPTH_MAX = 100
TOKENS_MAX = 20_000
"""Tokens of one query; a parse stays far below a second."""

_SKIP = r"(?:[ \t\r\n]+|\#[^\r\n]*)*"
_STRING = r"""(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)"""
_DIGITS = r"[0-9](?:_?[0-9])*"
_NUMBER = rf"""
      (?P<duration>(?:[0-9]+(?:ms|[smhdwy]))+(?![A-Za-z0-9_.]))
    | (?P<number>(?:0[xX]_?[0-9a-fA-F](?:_?[0-9a-fA-F])*
                 |(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?)(?![A-Za-z0-9_.]))
"""
_OUTSIDE = re.compile(
    rf"""{_SKIP}(?:
      (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
    | {_NUMBER}
    | {_STRING}
    | (?P<sign>==|!=|<=|>=|</|>/|[-+*/%^<>(){{}}\[\],@])
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_BRACES = re.compile(
    rf"""{_SKIP}(?:
      (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | {_STRING}
    | (?P<sign>=~|!~|!=|[=,}}])
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_BRACKETS = re.compile(
    rf"""{_SKIP}(?:
      {_NUMBER}
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>[-+*/%^(),:\]])
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(_SKIP, re.VERBOSE)
_ODD_NUMBER = re.compile(r"\.?[0-9][A-Za-z0-9_.]*")
_OPENS = frozenset("([{")
_CLOSES = {")": "(", "]": "[", "}": "{"}
_NAMES = {"(": "parenthesis", "[": "bracket", "{": "brace"}


class Token(NamedTuple):
    """One word, number, string or sign of a query."""

    kind: str
    """word, number, duration, string, end; a sign is its own kind."""
    text: str
    start: int
    """Offset in characters."""

    @property
    def stop(self) -> int:
        """Offset behind the token."""
        return self.start + len(self.text)


def tokenize(text: str) -> list[Token]:
    """Return the tokens, the last of kind "end". Raises ParseError."""
    tokens: list[Token] = []
    opened: list[Token] = []
    pattern, position = _OUTSIDE, 0
    while True:
        match = pattern.match(text, position)
        if match is None:
            _refuse(text, position, pattern)
        kind = match.lastgroup
        assert kind is not None
        start = match.start(kind)
        position = match.end()
        word = text[start:position]
        token = Token(word if kind == "sign" else kind, word, start)
        if kind == "end":
            if opened:
                _refuse_unclosed(text, opened[-1])
            tokens.append(token)
            return tokens
        if word in _OPENS:
            opened.append(token)
            if len(opened) > BRACKET_DEPTH_MAX:
                what = f"brackets may nest at most {BRACKET_DEPTH_MAX} deep; split the query"
                raise problem(text, start, what, end=position)
            pattern = _BRACES if word == "{" else _BRACKETS if word == "[" else pattern
        elif word in _CLOSES:
            if not opened or opened.pop().text != _CLOSES[word]:
                _refuse_unopened(text, token)
            pattern = _BRACKETS if any(each.text == "[" for each in opened) else _OUTSIDE
        tokens.append(token)
        if len(tokens) > TOKENS_MAX:
            raise problem(text, start, f"a query may have at most {TOKENS_MAX} words and signs; split it")


def _refuse_unclosed(text: str, opened: Token) -> NoReturn:
    what = f"unclosed left {_NAMES[opened.text]}; close it, or remove it"
    raise problem(text, opened.start, what, end=opened.stop)


def _refuse_unopened(text: str, token: Token) -> NoReturn:
    what = (
        f"unexpected right {_NAMES[_CLOSES[token.text]]} {token.text!r}; no bracket of this kind is open here"
    )
    raise problem(text, token.start, what, end=token.stop)


def _refuse(text: str, position: int, pattern: re.Pattern[str]) -> NoReturn:
    """Say why no token begins here."""
    skipped = _SPACE.match(text, position)
    assert skipped is not None
    start = skipped.end()
    char = text[start]
    if char in "\"'`":
        raise problem(
            text, start, f"unterminated quoted string; close it with {char} on the same line", end=start + 1
        )
    odd = _ODD_NUMBER.match(text, start)
    if odd is not None and pattern is not _BRACES:
        what = f"bad number or duration syntax {odd.group()!r}; write 1.5, 1e3, 0x1f, 5m or 1h30m"
        raise problem(text, start, what, end=odd.end())
    if char == "=" and pattern is _OUTSIDE:
        raise problem(text, start, "unexpected '='; write == to compare", end=start + 1)
    if char == "!" and pattern is _OUTSIDE:
        raise problem(text, start, "unexpected '!'; write != to compare, or unless to exclude", end=start + 1)
    where = {_BRACES: " inside braces", _BRACKETS: " in a duration"}.get(pattern, "")
    raise problem(
        text,
        start,
        f"unexpected character {char!r}{where}; remove it, or quote it in a string",
        end=start + 1,
    )
