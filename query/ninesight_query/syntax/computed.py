"""Durations that are computed, `[2 * step()]`: worked out when the times of the query are known."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace

from ninesight_query import ir
from ninesight_query.errors import ParseError
from ninesight_query.syntax.durations import DURATION_S_MAX
from ninesight_query.syntax.literals import whole_ms

__all__ = ["milliseconds", "resolve", "seconds_of", "waits"]

_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
    "^": math.pow,
    "min_of": min,
    "max_of": max,
}


def seconds_of(computed: ir.Computed | float, step_s: float, range_s: float) -> float:
    """Return the value in seconds, for a query of that step and range. Raises ParseError."""
    if not isinstance(computed, ir.Computed):
        return computed
    if computed.op == "step":
        return step_s
    if computed.op == "range":
        return range_s
    values = [seconds_of(operand, step_s, range_s) for operand in computed.operands]
    if len(values) == 1:
        return -values[0]
    if computed.op in "/%" and values[1] == 0:
        raise ParseError(
            "division by zero in a duration" if computed.op == "/" else "modulo by zero in a duration"
        )
    try:
        return _OPERATIONS[computed.op](*values)
    except (ValueError, OverflowError):
        return math.nan


def milliseconds(seconds: float, *, positive: bool = False) -> int:
    """Return whole milliseconds, what is below one cut off. Raises ParseError where it is no duration."""
    if not abs(seconds) <= DURATION_S_MAX:
        raise ParseError(f"a duration must be at most 292 years, got {seconds:g} s")
    ms = whole_ms(seconds)
    if positive and ms <= 0:
        raise ParseError(f"duration must be greater than 0 (at least 1ms), got {seconds:g} s")
    return ms


def resolve(expr: ir.Expr, start_ms: int, end_ms: int, step_ms: int) -> ir.Expr:
    """Return the tree with every computed duration worked out for one query. Raises ParseError.

    An instant query has step and range 0. A tree without such durations comes back as it is.
    """
    if not any(waits(node) for node in ir.walk(expr)):
        return expr
    return _Resolver(step_ms / 1000.0, (end_ms - start_ms) / 1000.0).resolve(expr)


def waits(node: ir.Expr) -> bool:
    """Whether a node has a duration that is worked out when the times of the query are known."""
    match node:
        case ir.Selector():
            return node.offset_by is not None
        case ir.RangeSelector():
            return node.range_by is not None
        case ir.Subquery():
            return not (node.range_by is None and node.step_by is None and node.offset_by is None)
    return False


class _Resolver:
    def __init__(self, step_s: float, range_s: float) -> None:
        self._step_s = step_s
        self._range_s = range_s

    def _ms(self, computed: ir.Computed, place: ir.Position | None, *, positive: bool = False) -> int:
        try:
            return milliseconds(seconds_of(computed, self._step_s, self._range_s), positive=positive)
        except ParseError as error:
            where = f"{place.line}:{place.column}: " if place else ""
            raise ParseError(
                f"{where}{error}; the query's step() is {self._step_s:g} s, its range() {self._range_s:g} s"
            ) from None

    def resolve(self, node: ir.Expr) -> ir.Expr:
        match node:
            case ir.Selector():
                return self._selector(node)
            case ir.RangeSelector():
                range_ms = node.range_ms
                if node.range_by is not None:
                    range_ms = self._ms(node.range_by, node.position, positive=True)
                return replace(node, selector=self._selector(node.selector), range_ms=range_ms, range_by=None)
            case ir.Subquery():
                return self._subquery(node)
            case ir.Call():
                return replace(node, args=tuple(map(self.resolve, node.args)))
            case ir.Aggregate():
                param = None if node.param is None else self.resolve(node.param)
                return replace(node, expr=self.resolve(node.expr), param=param)
            case ir.Negate():
                return replace(node, expr=self.resolve(node.expr))
            case ir.Binary():
                return self._chain(node)
        return node

    def _chain(self, node: ir.Binary) -> ir.Expr:
        spine = [node]
        while isinstance(spine[-1].left, ir.Binary):
            spine.append(spine[-1].left)
        left = self.resolve(spine[-1].left)
        for each in reversed(spine):
            left = replace(each, left=left, right=self.resolve(each.right))
        return left

    def _selector(self, node: ir.Selector) -> ir.Selector:
        if node.offset_by is None:
            return node
        return replace(node, offset_ms=self._ms(node.offset_by, node.position), offset_by=None)

    def _subquery(self, node: ir.Subquery) -> ir.Subquery:
        place = node.position
        range_ms, step_ms, offset_ms = node.range_ms, node.step_ms, node.offset_ms
        if node.range_by is not None:
            range_ms = self._ms(node.range_by, place, positive=True)
        if node.step_by is not None:
            step_ms = self._ms(node.step_by, place, positive=True)
        if node.offset_by is not None:
            offset_ms = self._ms(node.offset_by, place)
        return ir.Subquery(
            self.resolve(node.expr), range_ms, step_ms, offset_ms, node.at, position=node.position
        )
