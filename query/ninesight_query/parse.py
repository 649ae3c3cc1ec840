"""Query text to expression tree: `parse(text) -> Expr`, the only place that knows the parser package.

Promised: any text gives a tree or a ParseError that says what is wrong and shows the query. No text
crashes the process; trees nest at most NESTING_MAX deep. Results are cached by text.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import promql_parser as syntax
from ninesight_store.contract import Matcher, MatchOp

from ninesight_query import ir
from ninesight_query.errors import ParseError
from ninesight_query.prelex import INFO_ARGUMENT, Prelexed, excerpt, prelex

__all__ = ["NESTING_MAX", "QUERY_LENGTH_MAX", "parse", "parse_selector"]

QUERY_LENGTH_MAX = 65_536
"""Characters of one query."""
NESTING_MAX = 180
"""Levels of the expression tree."""
CACHED_QUERIES_MAX = 2_048

_MATCH_OPS = {
    "MatchOp.Equal": MatchOp.EQUAL,
    "MatchOp.NotEqual": MatchOp.NOT_EQUAL,
    "MatchOp.Re": MatchOp.REGEX,
    "MatchOp.NotRe": MatchOp.NOT_REGEX,
}
_CARDINALITIES = {
    "OneToOne": ir.Cardinality.ONE_TO_ONE,
    "ManyToOne": ir.Cardinality.MANY_TO_ONE,
    "OneToMany": ir.Cardinality.ONE_TO_MANY,
    "ManyToMany": ir.Cardinality.MANY_TO_MANY,
}
_SET_OPS = ("and", "or", "unless")
_KNOWN_WORDS = [
    "abs",
    "absent",
    "absent_over_time",
    "avg",
    "avg_over_time",
    "bottomk",
    "ceil",
    "changes",
    "clamp",
    "clamp_max",
    "clamp_min",
    "count",
    "count_over_time",
    "count_values",
    "delta",
    "deriv",
    "exp",
    "floor",
    "group",
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_quantile",
    "histogram_sum",
    "hour",
    "idelta",
    "increase",
    "irate",
    "label_join",
    "label_replace",
    "last_over_time",
    "ln",
    "log10",
    "log2",
    "max",
    "max_over_time",
    "min",
    "min_over_time",
    "minute",
    "month",
    "predict_linear",
    "present_over_time",
    "quantile",
    "quantile_over_time",
    "rate",
    "resets",
    "round",
    "scalar",
    "sgn",
    "sort",
    "sort_desc",
    "sqrt",
    "stddev",
    "stddev_over_time",
    "stdvar",
    "stdvar_over_time",
    "sum",
    "sum_over_time",
    "time",
    "timestamp",
    "topk",
    "vector",
    "year",
]


@lru_cache(maxsize=CACHED_QUERIES_MAX)
def parse(query: str) -> ir.Expr:
    """Return the tree of a query. Raises ParseError."""
    if len(query) > QUERY_LENGTH_MAX:
        raise ParseError(
            f"a query may have at most {QUERY_LENGTH_MAX} characters, got {len(query)}: {excerpt(query)}"
        )
    if not query.strip():
        raise ParseError("a query must hold an expression, got an empty text")
    prelexed = prelex(query)
    tree = _guarded(lambda: syntax.parse(prelexed.text), query)
    expr: ir.Expr = _guarded(lambda: _Converter(prelexed, query).convert(tree), query)
    return expr


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of a plain selector such as `up{job="x"}` (for match[]). Raises ParseError."""
    expr = parse(text)
    if not isinstance(expr, ir.Selector) or expr.offset_ms or expr.at:
        raise ParseError(f'a plain series selector is needed, like up{{job="x"}}, got: {excerpt(text)}')
    return expr.matchers


def _guarded(step: Callable[[], Any], query: str) -> Any:
    """Run a step that may panic inside the parser: its PanicException is no Exception."""
    try:
        return step()
    except (ParseError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except ValueError as error:
        raise ParseError(f"{_explained(str(error))}: {excerpt(query)}") from None
    except BaseException as error:  # a Rust panic
        raise ParseError(f"the query cannot be read ({error}): {excerpt(query)}") from None


def _explained(reason: str) -> str:
    if reason == "invalid promql query":
        return "the query is not valid PromQL; look for a missing operator, comma, quote or bracket"
    unknown = "unknown function with name '"
    if reason.startswith(unknown):
        name = reason[len(unknown) :].rstrip("'")
        close = difflib.get_close_matches(name, _KNOWN_WORDS, n=1)
        return reason + (f", did you mean {close[0]}?" if close else "")
    return reason


class _Converter:
    """Turns the parser's tree into ours. In-order, so that operators come as in the text."""

    def __init__(self, prelexed: Prelexed, query: str) -> None:
        self._at_ms = prelexed.at_ms
        self._trims = iter(prelexed.trims)
        self._query = query
        self._depth = 0

    def convert(self, node: Any) -> ir.Expr:
        """Return our node for the parser's."""
        if self._depth >= NESTING_MAX:
            raise ParseError(f"a query may nest at most {NESTING_MAX} levels deep: {excerpt(self._query)}")
        self._depth += 1
        try:
            handler: Callable[[Any], ir.Expr] = getattr(self, "_" + type(node).__name__)
            return handler(node)
        finally:
            self._depth -= 1

    def _NumberLiteral(self, node: Any) -> ir.Expr:  # noqa: N802 - named after the parser's class
        return ir.NumberLiteral(node.val)

    def _StringLiteral(self, node: Any) -> ir.Expr:  # noqa: N802
        return ir.StringLiteral(node.val)

    def _ParenExpr(self, node: Any) -> ir.Expr:  # noqa: N802
        return self.convert(node.expr)

    def _UnaryExpr(self, node: Any) -> ir.Expr:  # noqa: N802
        return ir.Negate(self.convert(node.expr))

    def _VectorSelector(self, node: Any) -> ir.Selector:  # noqa: N802
        if node.matchers.or_matchers:
            raise ParseError(
                f"matchers are joined by commas; write or between matchers as a regular expression: {excerpt(self._query)}"
            )
        matchers = [
            Matcher(m.name, _MATCH_OPS[str(m.op)], m.value)
            for m in node.matchers.matchers
            if m.name != INFO_ARGUMENT
        ]
        if node.name is not None:
            matchers.insert(0, Matcher("__name__", MatchOp.EQUAL, node.name))
        return ir.Selector(tuple(matchers), _ms(node.offset), self._at(node.at))

    def _MatrixSelector(self, node: Any) -> ir.Expr:  # noqa: N802
        selector = self._VectorSelector(node.vector_selector)
        return ir.RangeSelector(selector, self._positive_ms(node.range, "a range"))

    def _SubqueryExpr(self, node: Any) -> ir.Expr:  # noqa: N802
        expr = self.convert(node.expr)
        step_ms = None if node.step is None else self._positive_ms(node.step, "a subquery step")
        return ir.Subquery(
            expr, self._positive_ms(node.range, "a range"), step_ms, _ms(node.offset), self._at(node.at)
        )

    def _Call(self, node: Any) -> ir.Expr:  # noqa: N802
        returns = ir.ValueType(str(node.func.return_type).rsplit(".", 1)[-1].lower())
        return ir.Call(node.func.name, tuple(self.convert(arg) for arg in node.args), returns)

    def _AggregateExpr(self, node: Any) -> ir.Expr:  # noqa: N802
        modifier = node.modifier
        labels = tuple(modifier.labels) if modifier else ()
        without = bool(modifier) and str(modifier.type).endswith("Without")
        param = None if node.param is None else self.convert(node.param)
        return ir.Aggregate(str(node.op), self.convert(node.expr), param, tuple(sorted(set(labels))), without)

    def _BinaryExpr(self, node: Any) -> ir.Expr:  # noqa: N802
        left = self.convert(node.lhs)
        op = str(node.op)
        if op in "<>" and next(self._trims):
            op += "/"
        right = self.convert(node.rhs)
        modifier = node.modifier
        if modifier is None:
            many = ir.Cardinality.MANY_TO_MANY if op in _SET_OPS else ir.Cardinality.ONE_TO_ONE
            return ir.Binary(op, left, right, ir.Matching(many))
        return ir.Binary(op, left, right, _matching(modifier, op), bool(modifier.return_bool))

    def _positive_ms(self, duration: Any, what: str) -> int:
        ms = _ms(duration)
        if ms <= 0:
            raise ParseError(f"{what} must be at least 1ms, got {duration}: {excerpt(self._query)}")
        return ms

    def _at(self, at: Any) -> ir.At | None:
        if at is None:
            return None
        kind = str(at.type).rsplit(".", 1)[-1]
        if kind != "At":
            return ir.At(kind.lower())
        return ir.At("time", self._at_ms[round(at.at.timestamp())])


def _ms(duration: Any) -> int:
    """Return whole milliseconds of a timedelta (None is 0)."""
    if duration is None:
        return 0
    return int(duration.days * 86_400 + duration.seconds) * 1000 + int(duration.microseconds) // 1000


def _matching(modifier: Any, op: str) -> ir.Matching:
    cardinality = _CARDINALITIES[str(modifier.card).rsplit(".", 1)[-1].split("(")[0]]
    if op in _SET_OPS:
        cardinality = ir.Cardinality.MANY_TO_MANY
    matching = modifier.matching
    fill = modifier.fill_values
    return ir.Matching(
        cardinality,
        on=matching is not None and str(matching.type).endswith("Include"),
        labels=tuple(matching.labels) if matching is not None else (),
        include=tuple(modifier.group_labels or ()),
        fill_left=fill.lhs if fill is not None else None,
        fill_right=fill.rhs if fill is not None else None,
    )
