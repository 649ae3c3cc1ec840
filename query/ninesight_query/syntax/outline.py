"""Syntax tree as plain values for JSON: what /api/v1/parse_query of Prometheus 3 answers."""

from __future__ import annotations

from typing import Any

from ninesight_store.contract import Matcher, MatchOp

from ninesight_query.errors import ParseError
from ninesight_query.ir import At, Cardinality, Extension
from ninesight_query.syntax import tree
from ninesight_query.syntax.computed import milliseconds
from ninesight_query.syntax.lower import PARAMETERS, SET_OPERATORS, constant_seconds
from ninesight_query.syntax.selectors import NAME
from ninesight_query.syntax.show import number_text
from ninesight_query.syntax.signatures import SIGNATURES, is_scalar

__all__ = ["DEPTH_MAX", "outlined"]

DEPTH_MAX = 200
"""Levels of an outline; writers and readers of JSON count them too."""


def outlined(node: tree.Node) -> dict[str, Any]:
    """Return a checked syntax tree as dicts, lists and strings. Raises ParseError where it is too deep."""
    return _outlined(node, 0)


def _outlined(node: tree.Node, depth: int) -> dict[str, Any]:
    if depth > DEPTH_MAX:
        raise ParseError(
            f"the tree of a query may nest at most {DEPTH_MAX} levels deep, operators included; split it"
        )
    deeper = depth + 1
    match node:
        case tree.Number():
            return {"type": "numberLiteral", "val": number_text(node.value)}
        case tree.String():
            return {"type": "stringLiteral", "val": node.value}
        case tree.Paren():
            return {"type": "parenExpr", "expr": _outlined(node.expr, deeper)}
        case tree.Unary():
            return {"type": "unaryExpr", "op": node.op, "expr": _outlined(node.expr, deeper)}
        case tree.Selector():
            return {"type": "vectorSelector"} | _selector(node)
        case tree.Range():
            return {"type": "matrixSelector", "range": _ms(node.range)} | _selector(node.selector)
        case tree.Subquery():
            return {
                "type": "subquery",
                "expr": _outlined(node.expr, deeper),
                "range": _ms(node.range),
                "offset": _ms(node.offset),
                "step": _ms(node.step),
            } | _pin(node.at)
        case tree.Call():
            return {
                "type": "call",
                "func": _signature(node.name),
                "args": [_outlined(arg, deeper) for arg in node.args],
            }
        case tree.Aggregate():
            return {
                "type": "aggregation",
                "op": node.op,
                "expr": _outlined(node.args[-1], deeper),
                "param": _outlined(node.args[0], deeper) if node.op in PARAMETERS else None,
                "grouping": list(node.labels),
                "without": node.without,
            }
        case tree.Binary():
            return {
                "type": "binaryExpr",
                "op": node.op,
                "lhs": _outlined(node.left, deeper),
                "rhs": _outlined(node.right, deeper),
                "matching": _matching(node),
                "bool": node.return_bool,
            }


def _selector(node: tree.Selector) -> dict[str, Any]:
    named = (Matcher(NAME, MatchOp.EQUAL, node.name),) if node.name else ()
    return {
        "name": node.name,
        "offset": _ms(node.offset),
        "matchers": [
            {"name": matcher.name, "value": matcher.value, "type": str(matcher.op)}
            for matcher in (*node.matchers, *named)
        ],
        "anchored": node.extension is Extension.ANCHORED,
        "smoothed": node.extension is Extension.SMOOTHED,
    } | _pin(node.at)


def _pin(at: At | None) -> dict[str, Any]:
    fixed = at is not None and at.anchor == "time"
    return {
        "timestamp": at.timestamp_ms if at is not None and fixed else None,
        "startOrEnd": at.anchor if at is not None and not fixed else None,
    }


def _ms(duration: tree.Duration | None) -> int:
    """Return milliseconds; 0 for what depends on the query's step or range, as upstream."""
    return 0 if duration is None else milliseconds(constant_seconds(duration) or 0.0)


def _signature(name: str) -> dict[str, Any]:
    signature = SIGNATURES[name]
    return {
        "name": name,
        "argTypes": [str(kind) for kind in signature.args],
        "variadic": signature.variadic,
        "returnType": str(signature.returns),
    }


def _matching(node: tree.Binary) -> dict[str, Any] | None:
    if is_scalar(node.left) or is_scalar(node.right):
        return None
    sets = node.op in SET_OPERATORS
    return {
        "card": str(Cardinality.MANY_TO_MANY if sets else node.cardinality),
        "labels": list(node.labels),
        "on": node.on,
        "include": list(node.include),
        "fillValues": {"lhs": node.fill_left, "rhs": node.fill_right},
    }
