"""A query in the words of the server that is asked: functions it lacks are said in others it has.

    Prometheus before 2.51    histogram_avg(x)             histogram_sum(x) / histogram_count(x)
    MetricsQL                 histogram_fraction(0, b, x)  histogram_share(b, x)
                              histogram_count(x) and its like ask native histograms, of which there are none: x unless x

So what is written for native and for classic histograms, `native or classic`, is answered by either kind of server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ninesight_query import ir

__all__ = ["METRICSQL", "NO_AVERAGE", "Wording", "worded"]

Wording = Mapping[str, Callable[[ir.Call], ir.Expr]]
"""By function: what to say instead."""


def worded(expr: ir.Expr, wording: Wording) -> ir.Expr:
    """Return the tree with every call that `wording` knows said otherwise; the same object if there is none."""
    match expr:
        case ir.Call():
            args = tuple(worded(each, wording) for each in expr.args)
            same = all(new is old for new, old in zip(args, expr.args, strict=True))
            call = expr if same else replace(expr, args=args)
            return wording[expr.name](call) if expr.name in wording else call
        case ir.Aggregate():
            inner, param = worded(expr.expr, wording), expr.param
            param = None if param is None else worded(param, wording)
            same = inner is expr.expr and param is expr.param
            return expr if same else replace(expr, expr=inner, param=param)
        case ir.Binary():
            left, right = worded(expr.left, wording), worded(expr.right, wording)
            same = left is expr.left and right is expr.right
            return expr if same else replace(expr, left=left, right=right)
        case ir.Negate() | ir.Subquery():
            inner = worded(expr.expr, wording)
            return expr if inner is expr.expr else replace(expr, expr=inner)
        case _:
            return expr


def _average(call: ir.Call) -> ir.Expr:
    parts = (replace(call, name=name) for name in ("histogram_sum", "histogram_count"))
    left, right = parts
    return ir.Binary("/", left, right, ir.Matching(ir.Cardinality.ONE_TO_ONE))


def _nothing(call: ir.Call) -> ir.Expr:
    inner = call.args[-1]
    return ir.Binary("unless", inner, inner, ir.Matching(ir.Cardinality.MANY_TO_MANY))


def _share(call: ir.Call) -> ir.Expr:
    low, high, buckets = call.args
    below = replace(call, name="histogram_share", args=(high, buckets))
    if isinstance(low, ir.NumberLiteral) and low.value == 0:
        return below
    beneath = replace(call, name="histogram_share", args=(low, buckets))
    return ir.Binary("-", below, beneath, ir.Matching(ir.Cardinality.ONE_TO_ONE))


NO_AVERAGE: Wording = {"histogram_avg": _average}
METRICSQL: Wording = {
    "histogram_fraction": _share,
    **dict.fromkeys(
        ("histogram_avg", "histogram_count", "histogram_sum", "histogram_stddev", "histogram_stdvar"),
        _nothing,
    ),
}
