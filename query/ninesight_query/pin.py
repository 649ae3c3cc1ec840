"""The same query with every selector pinned to one time, as if `@ t` stood on it.

A pinned query gives the same answer whenever it is asked; tests hold the engine to that.
"""

from __future__ import annotations

from dataclasses import replace

from ninesight_query import ir

__all__ = ["pinned", "time_dependent"]


def pinned(expr: ir.Expr, at_ms: int) -> ir.Expr:
    """Return the expression with `@ at_ms` on each selector and subquery that has none.

    What stands inside a subquery keeps its own times: the subquery's `@` moves it as a whole.
    """
    at = ir.At("time", at_ms)
    match expr:
        case ir.Selector():
            return expr if expr.at else replace(expr, at=at)
        case ir.RangeSelector():
            selector = pinned(expr.selector, at_ms)
            assert isinstance(selector, ir.Selector)
            return replace(expr, selector=selector)
        case ir.Subquery():
            return expr if expr.at else replace(expr, at=at)
        case ir.Negate():
            return replace(expr, expr=pinned(expr.expr, at_ms))
        case ir.Call():
            return replace(expr, args=tuple(pinned(arg, at_ms) for arg in expr.args))
        case ir.Aggregate():
            param = None if expr.param is None else pinned(expr.param, at_ms)
            return replace(expr, expr=pinned(expr.expr, at_ms), param=param)
        case ir.Binary():
            return replace(expr, left=pinned(expr.left, at_ms), right=pinned(expr.right, at_ms))
        case _:
            return expr


def time_dependent(expr: ir.Expr) -> bool:
    """Say whether a function in it reads the evaluation time itself, so that pinning does not fix the answer."""
    return any(isinstance(node, ir.Call) and node.name in ir.TIME_DEPENDENT for node in ir.walk(expr))
