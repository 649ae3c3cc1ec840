"""Which queries may be answered by a thread that must not be held up, such as that of an event loop.

Such a query reads only what is at hand (`AtHand`), is made of parts that cost a little a cell, and has
limits and a deadline of its own. Whatever it runs into, somebody who can wait is asked instead: so being wrong
about a query costs `AT_ONCE_S` at most, and never an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ninesight_query import ir
from ninesight_query.elementwise import DATE_FUNCTIONS, MATH_FUNCTIONS
from ninesight_query.range_functions import RANGE_FUNCTIONS
from ninesight_query.settings import EngineSettings

__all__ = ["AT_ONCE_S", "LENGTH_MAX", "at_once_settings", "is_light"]

AT_ONCE_S = 0.002
"""Seconds of the thread's own work after which evaluating at once is given up."""
LENGTH_MAX = 2_000
"""Characters of a query that is tried at once."""
_NODES_MAX = 32
_SAMPLES_MAX = 50_000
_SERIES_MAX = 2_000
_POINTS_MAX = 5_000
_AGGREGATES = frozenset({"sum", "avg", "min", "max", "count", "group", "topk", "bottomk", "stddev", "stdvar"})
_FUNCTIONS = (
    frozenset(RANGE_FUNCTIONS)
    | frozenset(MATH_FUNCTIONS)
    | frozenset(DATE_FUNCTIONS)
    | frozenset({"absent", "clamp", "clamp_max", "clamp_min", "round", "scalar", "sort", "sort_desc"})
    | frozenset({"time", "timestamp", "vector"})
)


def at_once_settings(settings: EngineSettings) -> EngineSettings:
    """Return the limits of a query that is answered at once."""
    return replace(
        settings,
        samples_max=min(settings.samples_max, _SAMPLES_MAX),
        series_max=min(settings.series_max, _SERIES_MAX),
        result_points_max=min(settings.result_points_max, _POINTS_MAX),
    )


def is_light(expr: ir.Expr, nodes: Sequence[ir.Expr]) -> bool:
    """Whether a query is made of few parts, none of which costs more than a little a cell; `nodes` are all of them.

    Left out are subqueries, raw samples, extended windows, computed durations, and functions of histograms and labels.
    """
    if expr.type is ir.ValueType.MATRIX or len(nodes) > _NODES_MAX:
        return False
    return all(map(_is_light, nodes))


def _is_light(node: ir.Expr) -> bool:
    match node:
        case ir.Selector():
            return not node.extension and node.offset_by is None
        case ir.RangeSelector():
            return node.range_by is None
        case ir.Call():
            return node.name in _FUNCTIONS
        case ir.Aggregate():
            return node.op in _AGGREGATES
        case ir.Subquery():
            return False
    return True
