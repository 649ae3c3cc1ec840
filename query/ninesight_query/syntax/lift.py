"""Expression tree back to syntax tree, with the parentheses that keep its meaning."""

from __future__ import annotations

import re

from ninesight_store.contract import MatchOp

from ninesight_query import ir
from ninesight_query.syntax import tree
from ninesight_query.syntax.expressions import BINDING, NO_METRICS, SIGN_BINDING
from ninesight_query.syntax.literals import NUMBER_WORDS
from ninesight_query.syntax.selectors import NAME

__all__ = ["lifted"]

_METRIC_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_PRIMARIES = ("step", "range", "min_of", "max_of")


def lifted(expr: ir.Expr) -> tree.Node:
    """Return a syntax tree that parses to this expression. It has no positions."""
    match expr:
        case ir.NumberLiteral():
            return tree.Number(0, 0, expr.value)
        case ir.StringLiteral():
            return tree.String(0, 0, expr.value)
        case ir.Selector():
            return _selector(expr)
        case ir.RangeSelector():
            return tree.Range(0, 0, _selector(expr.selector), _duration(expr.range_ms, expr.range_by))
        case ir.Subquery():
            return _subquery(expr)
        case ir.Call():
            args = tuple(map(lifted, expr.args))
            if expr.name == "info" and len(expr.args) > 1 and isinstance(expr.args[1], ir.Selector):
                args = (args[0], _selector(expr.args[1], named=False))
            return tree.Call(0, 0, expr.name, 0, args)
        case ir.Aggregate():
            params = () if expr.param is None else (lifted(expr.param),)
            return tree.Aggregate(0, 0, expr.op, (*params, lifted(expr.expr)), expr.labels, expr.without)
        case ir.Negate():
            inner = lifted(expr.expr)
            looser = isinstance(inner, tree.Binary) and BINDING[inner.op] <= SIGN_BINDING
            return tree.Unary(0, 0, "-", _paren(inner) if looser or isinstance(inner, tree.Number) else inner)
        case ir.Binary():
            return _chain(expr)


def _paren(node: tree.Node) -> tree.Paren:
    return tree.Paren(0, 0, node)


def _chain(expr: ir.Binary) -> tree.Node:
    spine = [expr]
    while isinstance(spine[-1].left, ir.Binary):
        spine.append(spine[-1].left)
    left = lifted(spine[-1].left)
    for each in reversed(spine):
        left = _binary(each, left, lifted(each.right))
    return left


def _binary(expr: ir.Binary, left: tree.Node, right: tree.Node) -> tree.Binary:
    strength, power = BINDING[expr.op], expr.op == "^"
    if _strength(left) < strength or (power and _strength(left) == strength):
        left = _paren(left)
    signed = power and (isinstance(right, tree.Unary) or _negative(right))
    if not signed and (_strength(right) < strength or (not power and _strength(right) == strength)):
        right = _paren(right)
    matching = expr.matching
    sets = matching.cardinality is ir.Cardinality.MANY_TO_MANY
    return tree.Binary(
        0,
        0,
        expr.op,
        left,
        right,
        0,
        0,
        expr.return_bool,
        matching.on,
        matching.labels,
        ir.Cardinality.ONE_TO_ONE if sets else matching.cardinality,
        matching.include,
        matching.fill_left,
        matching.fill_right,
    )


def _negative(node: tree.Node) -> bool:
    return isinstance(node, tree.Number) and str(node.value).startswith("-")


def _strength(node: tree.Node) -> int:
    """Return how tight a node holds together as an operand."""
    if isinstance(node, tree.Binary):
        return BINDING[node.op]
    return SIGN_BINDING if isinstance(node, tree.Unary) or _negative(node) else 100


def _selector(expr: ir.Selector, *, named: bool = True) -> tree.Selector:
    """Return a selector with its metric's name before the braces where that is possible and wanted."""
    names = [matcher for matcher in expr.matchers if matcher.name == NAME]
    name = names[0].value if len(names) == 1 and names[0].op is MatchOp.EQUAL else ""
    plain = named and _METRIC_NAME.fullmatch(name) and name.lower() not in NO_METRICS | NUMBER_WORDS
    matchers = tuple(matcher for matcher in expr.matchers if not plain or matcher.name != NAME)
    offset = None
    if expr.offset_ms or expr.offset_by is not None:
        offset = _offset(expr.offset_ms, expr.offset_by)
    return tree.Selector(0, 0, name if plain else "", matchers, offset, expr.at, expr.extension)


def _subquery(expr: ir.Subquery) -> tree.Subquery:
    inner = lifted(expr.expr)
    if isinstance(inner, tree.Binary | tree.Unary):
        inner = _paren(inner)
    step = offset = None
    if expr.step_ms is not None or expr.step_by is not None:
        step = _duration(expr.step_ms or 0, expr.step_by)
    if expr.offset_ms or expr.offset_by is not None:
        offset = _offset(expr.offset_ms, expr.offset_by)
    return tree.Subquery(0, 0, inner, _duration(expr.range_ms, expr.range_by), step, offset, expr.at)


def _duration(ms: int, computed: ir.Computed | None) -> tree.Duration:
    return tree.Number(0, 0, ms / 1000.0, duration=True) if computed is None else _computed(computed)


def _offset(ms: int, computed: ir.Computed | None) -> tree.Duration:
    """Behind `offset`, arithmetic needs parentheses."""
    node = _duration(ms, computed)
    if isinstance(node, tree.DurationSum) and len(node.operands) == 2 and node.op not in _PRIMARIES:
        node.wrapped = True
    return node


def _computed(computed: ir.Computed) -> tree.DurationSum:
    bare = computed.op in ("min_of", "max_of")
    return tree.DurationSum(0, 0, computed.op, tuple(_operand(each, bare) for each in computed.operands))


def _operand(operand: ir.Computed | float, bare: bool) -> tree.Duration:
    if not isinstance(operand, ir.Computed):
        number = tree.Number(0, 0, operand)
        return (
            tree.DurationSum(0, 0, "+", (number,), wrapped=True) if _negative(number) and not bare else number
        )
    node = _computed(operand)
    node.wrapped = not bare and node.op not in _PRIMARIES
    return node
