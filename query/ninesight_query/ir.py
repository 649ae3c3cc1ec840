"""The expression tree of a query: our own, frozen, free of the parser that made it.

Durations and timestamps are int milliseconds. Parentheses leave no node.
Every node knows its value type: scalar, vector, matrix (a range vector) or string, and where it stood
in the text; two trees are equal whatever their positions.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ninesight_store.contract import Matcher

__all__ = [
    "TIME_DEPENDENT",
    "Aggregate",
    "At",
    "Binary",
    "Call",
    "Cardinality",
    "Computed",
    "Expr",
    "Extension",
    "Matching",
    "Negate",
    "NumberLiteral",
    "Position",
    "RangeSelector",
    "Selector",
    "StringLiteral",
    "Subquery",
    "ValueType",
    "children",
    "step_invariant",
    "walk",
]


class ValueType(enum.StrEnum):
    """What an expression yields."""

    SCALAR = "scalar"
    VECTOR = "vector"
    MATRIX = "matrix"
    STRING = "string"


class Cardinality(enum.StrEnum):
    """How many series of each side may share a match group."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    """group_left: the left side is the many."""
    ONE_TO_MANY = "one-to-many"
    """group_right: the right side is the many."""
    MANY_TO_MANY = "many-to-many"
    """and, or, unless."""


class Extension(enum.StrEnum):
    """How a selector looks beyond the edges of its range."""

    NONE = ""
    ANCHORED = "anchored"
    """The newest sample before the range stands at its start."""
    SMOOTHED = "smoothed"
    """The values at both edges are interpolated between the samples around them."""


class Position(NamedTuple):
    """Where a node begins in the query: lines and columns from 1, columns in bytes as Prometheus counts."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Computed:
    """A duration that depends on the query's own step or range, in seconds once worked out."""

    op: str
    """One of + - * / % ^ min_of max_of (two operands), - (one), step, range (none)."""
    operands: tuple[Computed | float, ...] = ()


@dataclass(frozen=True, slots=True)
class At:
    """An `@` modifier: a fixed time, or the start or end of the whole query."""

    anchor: str
    """"time", "start" or "end"."""
    timestamp_ms: int = 0
    """Only for the anchor "time"; may be negative."""

    def resolve(self, start_ms: int, end_ms: int) -> int:
        """Return the timestamp for a query that runs from start to end."""
        return {"start": start_ms, "end": end_ms}.get(self.anchor, self.timestamp_ms)


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A number."""

    value: float
    position: Position | None = field(default=None, compare=False, repr=False)

    type = ValueType.SCALAR


@dataclass(frozen=True, slots=True)
class StringLiteral:
    """A string."""

    value: str
    position: Position | None = field(default=None, compare=False, repr=False)

    type = ValueType.STRING


@dataclass(frozen=True, slots=True)
class Selector:
    """`name{...} offset d @ t`: the newest sample of each series within the lookback."""

    matchers: tuple[Matcher, ...]
    offset_ms: int = 0
    at: At | None = None
    extension: Extension = Extension.NONE
    offset_by: Computed | None = None
    """Where given, what offset_ms is to be worked out from; see `resolve`."""
    position: Position | None = field(default=None, compare=False, repr=False)

    type = ValueType.VECTOR


@dataclass(frozen=True, slots=True)
class RangeSelector:
    """`selector[range]`: the samples in (t - range, t]."""

    selector: Selector
    range_ms: int
    range_by: Computed | None = None
    position: Position | None = field(default=None, compare=False, repr=False)

    type = ValueType.MATRIX


@dataclass(frozen=True, slots=True)
class Subquery:
    """`(expr)[range:step] offset d @ t`: the expression on a grid aligned to the epoch."""

    expr: Expr
    range_ms: int
    step_ms: int | None
    """None: the engine's default step."""
    offset_ms: int = 0
    at: At | None = None
    range_by: Computed | None = None
    step_by: Computed | None = None
    offset_by: Computed | None = None
    position: Position | None = field(default=None, compare=False, repr=False)

    type = ValueType.MATRIX


@dataclass(frozen=True, slots=True)
class Call:
    """A function call."""

    name: str
    args: tuple[Expr, ...]
    type: ValueType
    position: Position | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`op by|without (labels) (param, expr)`. Neither by nor without is `by ()`."""

    op: str
    expr: Expr
    param: Expr | None = None
    labels: tuple[str, ...] = ()
    without: bool = False
    position: Position | None = field(default=None, compare=False, repr=False)

    type = ValueType.VECTOR


@dataclass(frozen=True, slots=True)
class Matching:
    """How the two sides of a binary operator are joined."""

    cardinality: Cardinality = Cardinality.ONE_TO_ONE
    on: bool = False
    """True: join on `labels` only; False: on all labels but `labels` and the metric name."""
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    """Labels taken over from the one side (group_left, group_right)."""
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    """`left op right`. `op` is one of + - * / % ^ atan2 == != < > <= >= and or unless </ >/."""

    op: str
    left: Expr
    right: Expr
    matching: Matching = Matching()
    return_bool: bool = False
    position: Position | None = field(default=None, compare=False, repr=False)
    type: ValueType = field(init=False, compare=False, repr=False)
    """A scalar if both sides are scalars, else a vector. Kept, because chains of operators nest deep."""

    def __post_init__(self) -> None:
        both = self.left.type is ValueType.SCALAR and self.right.type is ValueType.SCALAR
        object.__setattr__(self, "type", ValueType.SCALAR if both else ValueType.VECTOR)


@dataclass(frozen=True, slots=True)
class Negate:
    """Unary minus."""

    expr: Expr
    position: Position | None = field(default=None, compare=False, repr=False)
    type: ValueType = field(init=False, compare=False, repr=False)
    """The type of its operand."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.expr.type)


Expr = (
    NumberLiteral | StringLiteral | Selector | RangeSelector | Subquery | Call | Aggregate | Binary | Negate
)

TIME_DEPENDENT = frozenset(
    {
        "day_of_month", "day_of_week", "day_of_year", "days_in_month", "end", "hour", "minute", "month",
        "predict_linear", "range", "start", "step", "time", "timestamp", "year",
    }
)  # fmt: skip
"""Functions whose result depends on the evaluation time even where every selector is pinned."""


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the direct operands of a node, in the order of the text."""
    match expr:
        case RangeSelector():
            return (expr.selector,)
        case Subquery() | Negate():
            return (expr.expr,)
        case Call():
            return expr.args
        case Aggregate():
            return (expr.expr,) if expr.param is None else (expr.param, expr.expr)
        case Binary():
            return (expr.left, expr.right)
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """Yield the node and all below it, parents first, operands in the order of the text."""
    waiting = [expr]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))


def step_invariant(expr: Expr) -> bool:
    """Say whether the value is the same at every step: only `@`-pinned selectors and literals below."""
    waiting = [expr]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Selector | Subquery):
            if node.at is None:
                return False
        elif isinstance(node, Call) and node.name in TIME_DEPENDENT:
            return False
        else:
            waiting.extend(children(node))
    return True
