r"""RE2 patterns for Python's `re`: what Prometheus accepts is matched alike, what it rejects is rejected.

`translate(pattern)` returns a Python pattern that matches a whole value as Go's regexp does with
Prometheus' defaults (`^(?s:pattern)$`): `.` matches newlines, `\d \w \s \b` are ASCII, `$` is the end of
the text, `(?i)` holds to the end of its group. Look-around, back-references, possessive repeats and
`\p{...}` are refused. `PATTERN_LENGTH_MAX` bounds the pattern; pattern.py bounds the time to match.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["PATTERN_LENGTH_MAX", "RegexError", "translate"]

PATTERN_LENGTH_MAX = 16_384
"""Characters; a longer pattern is refused. Literal alternations are not subject to it."""

REPEAT_MAX = 1000
"""RE2's own bound on x{n}."""

_CLASSES = {
    "d": "0-9",
    "D": "\\x00-/:-\U0010ffff",
    "w": "0-9A-Za-z_",
    "W": "\\x00-/:-@\\[-\\^`{-\U0010ffff",
    "s": "\\t\\n\\f\\r ",
    "S": "\\x00-\\x08\\x0b\\x0e-\\x1f!-\U0010ffff",
}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\\x00-\\x7f",
    "blank": "\\t ",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_GROUP_NAME = re.compile(r"\?P?<([A-Za-z0-9_]+)>")
_FLAGS = re.compile(r"\?([imsU]*)(-[imsU]+)?([:)])")
_REPEAT = re.compile(r"\{(\d+)(,(\d*))?\}")


class RegexError(ValueError):
    """The pattern is not one RE2 accepts; the message says what is wrong."""


def translate(pattern: str, *, captures: bool = False) -> str:
    """Return the Python pattern for `re.compile(...).fullmatch`; `captures` keeps its groups. Raises RegexError."""
    if len(pattern) > PATTERN_LENGTH_MAX:
        raise RegexError(f"it must be at most {PATTERN_LENGTH_MAX} characters, got {len(pattern)}")
    return _Translator(pattern, captures).run()


@dataclass
class _Group:
    flags: frozenset[str]
    wrapped: bool = False
    """A case-insensitive wrapper `(?i:` is open and must be closed before `|` and `)`."""


@dataclass
class _Translator:
    text: str
    captures: bool = False
    position: int = 0
    out: list[str] = field(default_factory=list)
    groups: list[_Group] = field(default_factory=lambda: [_Group(frozenset("s"))])
    repeatable: bool = False
    names: set[str] = field(default_factory=set)

    def run(self) -> str:
        """Translate the whole text."""
        while self.position < len(self.text):
            self._step()
        if len(self.groups) > 1:
            raise RegexError("a parenthesis is not closed")
        self._unwrap()
        return "".join(self.out)

    def _step(self) -> None:
        char = self.text[self.position]
        if char == "\\":
            self._escape()
        elif char == "[":
            self._emit(_translate_class(self))
        elif char == "(":
            self._open()
        elif char == ")":
            self._close()
        elif char == "|":
            self._alternate()
        elif char in "*+?" or (char == "{" and _REPEAT.match(self.text, self.position)):
            self._repeat()
        else:
            self.position += 1
            self._emit(self._plain(char))

    def _plain(self, char: str) -> str:
        flags = self.groups[-1].flags
        if char == ".":
            return "(?s:.)" if "s" in flags else "[^\\n]"
        if char == "^":
            return "(?m:^)" if "m" in flags else "\\A"
        if char == "$":
            return "(?m:$)" if "m" in flags else "\\Z"
        return re.escape(char)

    def _emit(self, piece: str) -> None:
        self.out.append(piece)
        self.repeatable = True

    def _open(self) -> None:
        flags = self.groups[-1].flags
        self.position += 1
        opening = "(" if self.captures else "(?:"
        if self.text.startswith("?", self.position):
            opening = "(?:"
            if named := _GROUP_NAME.match(self.text, self.position):
                if named[1] in self.names:
                    raise RegexError(f"the group name {named[1]!r} is used twice")
                self.names.add(named[1])
                self.position = named.end()
                opening = f"(?P<{named[1]}>" if self.captures and not named[1][0].isdecimal() else "(?:"
            else:
                head = _FLAGS.match(self.text, self.position)
                if not head or (head[3] == ")" and not head[1] and not head[2]):
                    raise RegexError(
                        f"the group {self.text[self.position - 1 : self.position + 3]!r} is not supported "
                        "(look-around, conditions and comments are not part of RE2)"
                    )
                self.position = head.end()
                flags = (flags | frozenset(head[1])) - frozenset((head[2] or "")[1:])
                if head[3] == ")":
                    self._switch(flags)
                    return
        self.out.append(opening)
        self.groups.append(_Group(flags))
        self._switch(flags)

    def _switch(self, flags: frozenset[str]) -> None:
        self._unwrap()
        self.groups[-1].flags = flags
        self._wrap()
        self.repeatable = False

    def _wrap(self) -> None:
        self.out.append("(?i:" if "i" in self.groups[-1].flags else "(?-i:")
        self.groups[-1].wrapped = True

    def _unwrap(self) -> None:
        if self.groups[-1].wrapped:
            self.out.append(")")
            self.groups[-1].wrapped = False

    def _close(self) -> None:
        if len(self.groups) == 1:
            raise RegexError("a closing parenthesis has no opening one")
        self._unwrap()
        self.groups.pop()
        self.position += 1
        self._emit(")")

    def _alternate(self) -> None:
        wrapped = self.groups[-1].wrapped
        self._unwrap()
        self.out.append("|")
        if wrapped:
            self._wrap()
        self.position += 1
        self.repeatable = False

    def _repeat(self) -> None:
        if not self.repeatable:
            raise RegexError(f"the repeat at {self.position} has nothing to repeat")
        counted = _REPEAT.match(self.text, self.position)
        if counted:
            bounds = [int(b) for b in (counted[1], counted[3]) if b]
            if max(bounds) > REPEAT_MAX or bounds != sorted(bounds):
                raise RegexError(f"the repeat {counted[0]} must be ascending and at most {REPEAT_MAX}")
            piece = counted[0]
        else:
            piece = self.text[self.position]
        self.position += len(piece)
        if self.text.startswith("?", self.position):
            piece, self.position = piece + "?", self.position + 1
        self.out.append(piece)
        self.repeatable = False

    def _escape(self) -> None:
        kind = self.text[self.position + 1 : self.position + 2]
        if kind == "Q":
            end = self.text.find("\\E", self.position)
            end = len(self.text) if end < 0 else end
            for char in self.text[self.position + 2 : end]:
                self._emit(re.escape(char))
            self.position = min(end + 2, len(self.text))
        elif kind in _CLASSES and kind:
            self.position += 2
            self._emit(f"[{_CLASSES[kind]}]")
        elif kind and kind in "AzbB":
            self.position += 2
            # Python before 3.14 finds no \B in the empty text; "not \b" is what RE2 means.
            self._emit({"A": "\\A", "z": "\\Z", "b": "(?a:\\b)", "B": "(?a:(?!\\b))"}[kind])
        else:
            self._emit(re.escape(self.literal_escape()))

    def literal_escape(self) -> str:
        """Read one backslash escape that stands for a single character."""
        rest = self.text[self.position + 1 :]
        if not rest:
            raise RegexError("it ends in a lone backslash")
        if found := re.match(r"x(?:\{([0-9A-Fa-f]{1,8})\}|([0-9A-Fa-f]{2}))", rest):
            code = int(found[1] or found[2], 16)
            if code > 0x10FFFF:
                raise RegexError(f"\\{found[0]} is no character")
            self.position += 1 + found.end()
            return chr(code)
        if found := re.match(r"0[0-7]{0,2}|[1-7][0-7]{1,2}", rest):
            self.position += 1 + found.end()
            return chr(int(found[0], 8))
        if rest[0] in _CONTROL:
            self.position += 2
            return _CONTROL[rest[0]]
        if rest[0].isascii() and not rest[0].isalnum():
            self.position += 2
            return rest[0]
        raise RegexError(f"the escape \\{rest[0]} is not supported (back-references are not part of RE2)")


def _translate_class(reader: _Translator) -> str:
    """Read a bracket expression from its `[` on and return it in Python's notation."""
    start = reader.position
    reader.position += 1
    out = ["["]
    if reader.text.startswith("^", reader.position):
        reader.position += 1
        out.append("^")
    first = True
    while first or not reader.text.startswith("]", reader.position):
        first = False
        if reader.position >= len(reader.text):
            raise RegexError(f"the bracket at {start} is not closed")
        out.append(_class_item(reader))
    reader.position += 1
    return "".join(out) + "]"


def _class_item(reader: _Translator) -> str:
    text, position = reader.text, reader.position
    if posix := re.match(r"\[:(\^?)(\w+):\]", text[position : position + 16]):
        if posix[1] or posix[2] not in _POSIX:
            raise RegexError(f"the class {posix[0]} is not supported")
        reader.position += posix.end()
        return _POSIX[posix[2]]
    if text[position] == "\\" and text[position + 1 : position + 2] in tuple(_CLASSES):
        reader.position += 2
        return _CLASSES[text[position + 1]]
    low = _class_char(reader)
    if text.startswith("-", reader.position) and not text.startswith("-]", reader.position):
        reader.position += 1
        if reader.position >= len(text):
            raise RegexError("a bracket is not closed")
        high = _class_char(reader)
        if high < low:
            raise RegexError(f"the range {low}-{high} is reversed")
        return f"{_class_escape(low)}-{_class_escape(high)}"
    return _class_escape(low)


def _class_char(reader: _Translator) -> str:
    char = reader.text[reader.position]
    if char == "\\":
        return reader.literal_escape()
    reader.position += 1
    return char


def _class_escape(char: str) -> str:
    return f"\\U{ord(char):08x}" if not char.isascii() or not char.isalnum() else char
