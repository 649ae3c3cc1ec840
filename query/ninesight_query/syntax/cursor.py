"""A place in the tokens of a query, and how to say what should have stood there."""

from __future__ import annotations

from ninesight_query.errors import ParseError
from ninesight_query.syntax.literals import NUMBER_WORDS, read_duration_s, read_number, unquote
from ninesight_query.syntax.problems import problem
from ninesight_query.syntax.tokens import Token, tokenize
from ninesight_query.syntax.tree import Number

__all__ = ["Cursor"]

_KINDS = {"word": "identifier", "number": "number", "duration": "duration", "string": "string"}


class Cursor:
    """Reads tokens one after the other, never backwards. `now` is the next one to be read."""

    __slots__ = ("_index", "_tokens", "now", "previous_stop", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = tokenize(text)
        self._index = 0
        self.now: Token = self._tokens[0]
        self.previous_stop = 0
        """Where the token read last ended."""

    @property
    def ahead(self) -> Token:
        """The token after `now`."""
        return self._tokens[min(self._index + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Read one token."""
        token = self.now
        self.previous_stop = token.start + len(token.text)
        if self._index + 1 < len(self._tokens):
            self._index += 1
            self.now = self._tokens[self._index]
        return token

    def accept(self, kind: str) -> Token | None:
        """Read one token if it is of a kind."""
        return self.take() if self.now.kind == kind else None

    def expect(self, kind: str, context: str) -> Token:
        """Read one token of a kind. Raises ParseError that names the context."""
        if self.now.kind != kind:
            raise self.unexpected(context, _quoted(kind))
        return self.take()

    def word(self) -> str:
        """Return the next token in lower case if it is a word, else ""."""
        return self.now.text.lower() if self.now.kind == "word" else ""

    def is_number(self) -> bool:
        """Say whether the next token is a number or a duration; Inf and NaN are."""
        return self.now.kind in ("number", "duration") or (
            self.now.kind == "word" and self.now.text.lower() in NUMBER_WORDS
        )

    def number(self, context: str) -> Number:
        """Read a number or a duration."""
        if not self.is_number():
            raise self.unexpected(context, "number or duration")
        token = self.take()
        try:
            if token.kind == "duration":
                return Number(token.start, token.stop, read_duration_s(token.text), duration=True)
            return Number(token.start, token.stop, read_number(token.text))
        except ValueError as error:
            raise self.problem(str(error), token.start, token.stop) from None

    def signed_number(self, context: str) -> float:
        """Read a number or a duration that may have a sign."""
        sign = self.take().text if self.now.kind in ("+", "-") else "+"
        value = self.number(context).value
        return -value if sign == "-" else value

    def string(self, token: Token) -> str:
        """Return what a string token stands for."""
        try:
            return unquote(token.text)
        except ValueError as error:
            raise self.problem(str(error), token.start, token.stop) from None

    def problem(self, what: str, start: int, stop: int) -> ParseError:
        """Return the error for a place."""
        return problem(self.text, start, what, end=stop)

    def unexpected(self, context: str, expected: str = "", way_out: str = "") -> ParseError:
        """Return the error that the next token does not fit here."""
        what = f"unexpected {described(self.now)}"
        what += f" in {context}" if context else ""
        what += f", expected {expected}" if expected else ""
        return self.problem(what + (f"; {way_out}" if way_out else ""), self.now.start, self.now.stop)


def described(token: Token) -> str:
    """Return a token for a message."""
    if token.kind == "end":
        return "end of input"
    shown = token.text if len(token.text) <= 40 else token.text[:40] + "..."
    if token.kind == "string":
        return f"string {shown}"
    kind = _KINDS.get(token.kind)
    return f"{kind} {_quoted(shown)}" if kind else _quoted(shown)


def _quoted(text: str) -> str:
    return f'"{text}"'
