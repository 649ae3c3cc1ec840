"""The tree of a translated pattern (regex.py), and how many ways a backtracking engine may try.

`parse_tree` reads exactly what `regex.translate` writes: literals, classes, groups, repeats, assertions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = [
    "Assert", "Branch", "Chain", "Char", "Group", "Node", "Repeat", "Ways", "char_test", "parse_tree", "ways",
]  # fmt: skip

_ASSERTS = {
    "\\A": "start", "\\Z": "end", "(?m:^)": "line start", "(?m:$)": "line end",
    "(?a:\\b)": "word edge", "(?a:(?!\\b))": "no word edge",
}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<assert>\\A|\\Z|\(\?m:[\^$]\)|\(\?a:\\b\)|\(\?a:\(\?!\\b\)\))"
    r"|(?P<char>\(\?s:\.\)|\[\^?(?:\\U[0-9a-f]{8}|\\.|[^\\\]])*\]|\\.)"
    r"|(?P<open>\(\?:|\(\?i:|\(\?-i:|\(\?P<\w+>|\()"
    r"|(?P<close>\))|(?P<or>\|)"
    r"|(?P<repeat>(?:[*+?]|\{\d+(?:,\d*)?\})\??)"
    r"|(?P<plain>.)",
    re.DOTALL,
)
_COUNTS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_WORD = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True)
class Char:
    """One character, as the Python pattern `source` accepts it."""

    source: str


@dataclass(frozen=True, slots=True)
class Assert:
    """A condition on the place between two characters; "" stands for either end of the value."""

    kind: str

    def holds(self, previous: str, following: str) -> bool:
        """Return whether the condition is met between the two."""
        match self.kind:
            case "start":
                return not previous
            case "end":
                return not following
            case "line start":
                return previous in ("", "\n")
            case "line end":
                return following in ("", "\n")
            case kind:
                return ((previous in _WORD) != (following in _WORD)) is (kind == "word edge")


@dataclass(frozen=True, slots=True)
class Chain:
    """One after the other; the empty chain matches nothing at all."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """One of them, the first preferred."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A part whose place is kept under `index`, from 1 on."""

    index: int
    inner: Node


@dataclass(frozen=True, slots=True)
class Repeat:
    """`least` to `most` times (None: no bound), as often as possible where `greedy`."""

    inner: Node
    least: int
    most: int | None
    greedy: bool


Node = Char | Assert | Chain | Branch | Group | Repeat


def char_test(source: str) -> Callable[[str], bool]:
    """Return whether a single character is accepted."""
    expression = re.compile(source)
    return lambda char: expression.fullmatch(char) is not None


@dataclass(slots=True)
class _Open:
    """What stands between a parenthesis and its end, so far."""

    index: int | None
    folded: bool
    done: list[Node] = field(default_factory=list)
    parts: list[Node] = field(default_factory=list)

    def node(self) -> Node:
        whole: Node = _chain(self.parts)
        if self.done:
            whole = Branch((*self.done, whole))
        return whole if self.index is None else Group(self.index, whole)


def parse_tree(translated: str) -> Node:
    """Return the tree of a pattern that `regex.translate` wrote."""
    stack, groups = [_Open(None, folded=False)], 0
    for token in _TOKEN.finditer(translated):
        here, text = stack[-1], token[0]
        match token.lastgroup:
            case "assert":
                here.parts.append(Assert(_ASSERTS[text]))
            case "open":
                capturing = not text.startswith("(?") or text.startswith("(?P")
                groups += capturing
                folded = here.folded if text not in ("(?i:", "(?-i:") else text == "(?i:"
                stack.append(_Open(groups if capturing else None, folded))
            case "close":
                stack.pop()
                stack[-1].parts.append(here.node())
            case "or":
                here.done.append(_chain(here.parts))
                here.parts = []
            case "repeat":
                here.parts.append(_repeat(here.parts.pop(), text))
            case _:
                here.parts.append(Char(f"(?i:{text})" if here.folded else text))
    return stack[0].node()


def _chain(parts: list[Node]) -> Node:
    return parts[0] if len(parts) == 1 else Chain(tuple(parts))


def _repeat(inner: Node, text: str) -> Repeat:
    counts, lazy = (text[:-1], True) if len(text) > 1 and text.endswith("?") else (text, False)
    if counts in _COUNTS:
        least, most = _COUNTS[counts]
    else:
        low, comma, high = counts.strip("{}").partition(",")
        least = int(low)
        most = (int(high) if high else None) if comma else least
    return Repeat(inner, least, most, not lazy)


@dataclass(frozen=True, slots=True)
class Ways:
    """At most `factor` x (length + 1)^`degree` ways to match a value of that length; None: no such bound."""

    factor: int
    degree: int

    def over(self, length: int) -> int:
        """Return the bound for values of this length."""
        return int(self.factor * (length + 1) ** self.degree)


_FACTOR_MAX = 100_000
_ONE = Ways(1, 0)


def ways(node: Node) -> Ways | None:
    """Return how many ways there are to match, None where they may grow without a useful bound."""
    if isinstance(node, Char | Assert):
        return _ONE
    if isinstance(node, Group):
        return ways(node.inner)
    if isinstance(node, Repeat):
        return _ways_of_repeat(node)
    factor, degree = (1, 0) if isinstance(node, Chain) else (0, 0)
    for part in node.parts:
        found = ways(part)
        if found is None:
            return None
        if isinstance(node, Chain):
            factor, degree = factor * found.factor, degree + found.degree
        else:
            factor, degree = factor + found.factor, max(degree, found.degree)
        if factor > _FACTOR_MAX:
            return None
    return Ways(factor, degree)


def _ways_of_repeat(node: Repeat) -> Ways | None:
    inner = ways(node.inner)
    if inner is None:
        return None
    if inner == _ONE:
        return Ways(1, 1) if node.most is None else Ways(node.most - node.least + 1, 0)
    return Ways(inner.factor + 1, inner.degree) if node.most == 1 else None
