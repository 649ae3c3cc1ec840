"""The syntax tree: a query as it was written, before anything is checked or worked out.

Unlike `ir`, it keeps parentheses, signs, the words of durations and the place of every node: it is what
messages point into and what is printed again. `start` and `stop` are offsets in characters. Nodes belong
to one parse; selectors get their modifiers while it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ninesight_store.contract import Matcher

from ninesight_query.ir import At, Cardinality, Extension

__all__ = [
    "Aggregate",
    "Binary",
    "Call",
    "Duration",
    "DurationSum",
    "Node",
    "Number",
    "Paren",
    "Range",
    "Selector",
    "String",
    "Subquery",
    "Unary",
]


@dataclass(slots=True)
class Number:
    """`1.5`, or `5m`, which is 300 written as a duration."""

    start: int
    stop: int
    value: float
    duration: bool = False


@dataclass(slots=True)
class DurationSum:
    """A duration that is computed: `5m + step()`, `-(1m)`, `min_of(a, b)`."""

    start: int
    stop: int
    op: str
    """+ - * / % ^ (two operands, or one for + and -), min_of, max_of, step, range."""
    operands: tuple[Duration, ...] = ()
    wrapped: bool = False
    """Whether parentheses stand around it."""


Duration = Number | DurationSum


@dataclass(slots=True)
class String:
    """A string literal, its escapes resolved."""

    start: int
    stop: int
    value: str


@dataclass(slots=True)
class Paren:
    """`(expr)`."""

    start: int
    stop: int
    expr: Node


@dataclass(slots=True)
class Unary:
    """`-expr` or `+expr`; a sign before a number belongs to the number."""

    start: int
    stop: int
    op: str
    expr: Node


@dataclass(slots=True)
class Selector:
    """`name{matchers} anchored @ at offset offset`."""

    start: int
    stop: int
    name: str
    """The name before the braces, "" if there is none (then a matcher on __name__ may give it)."""
    matchers: tuple[Matcher, ...]
    """Those in the braces, in their order."""
    offset: Duration | None = None
    at: At | None = None
    extension: Extension = Extension.NONE


@dataclass(slots=True)
class Range:
    """`selector[range]`; modifiers behind it belong to the selector."""

    start: int
    stop: int
    selector: Selector
    range: Duration


@dataclass(slots=True)
class Subquery:
    """`expr[range:step]`."""

    start: int
    stop: int
    expr: Node
    range: Duration
    step: Duration | None
    offset: Duration | None = None
    at: At | None = None


@dataclass(slots=True)
class Call:
    """`name(args)`; `name_stop` is where the name ends."""

    start: int
    stop: int
    name: str
    name_stop: int
    args: tuple[Node, ...]


@dataclass(slots=True)
class Aggregate:
    """`op by|without (labels) (args)`, in either order."""

    start: int
    stop: int
    op: str
    args: tuple[Node, ...]
    labels: tuple[str, ...] = ()
    without: bool = False


@dataclass(slots=True)
class Binary:
    """`left op bool on|ignoring (labels) group_left|group_right (include) fill.. right`."""

    start: int
    stop: int
    op: str
    left: Node
    right: Node
    op_start: int
    op_stop: int
    """Behind the operator's modifiers."""
    return_bool: bool = False
    on: bool = False
    labels: tuple[str, ...] = ()
    cardinality: Cardinality = Cardinality.ONE_TO_ONE
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None
    matches: bool = field(default=False)
    """Whether on or ignoring was written."""


Node = Number | String | Paren | Unary | Selector | Range | Subquery | Call | Aggregate | Binary
