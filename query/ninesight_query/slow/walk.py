"""The walk of the slow evaluator: one time, one node after the other."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ninesight_store.contract import Labels, Matcher, MatchOp

from ninesight_query import ir
from ninesight_query.errors import ExecutionError
from ninesight_query.parse import parse
from ninesight_query.slow import vectors
from ninesight_query.slow.classic import bucket_quantile
from ninesight_query.slow.extended import extended_change, extended_count
from ninesight_query.slow.functions import FUNCTIONS
from ninesight_query.slow.ranges import RANGE_FUNCTIONS, Window
from ninesight_query.slow.values import METADATA, Element, Point, is_stale, without

__all__ = ["SlowEngine"]

Vector = list[Element]
Value = Vector | float | str


@dataclass(frozen=True)
class _Query:
    """The whole query's times, for `@ start()` and `@ end()`."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class _Range:
    """One series seen through a window."""

    labels: Labels
    window: Window
    drop_name: bool


class SlowEngine:
    """Answers queries over series given as lists of points, times ascending. Raises QueryError."""

    def __init__(
        self,
        series: Mapping[Labels, Sequence[Point]],
        *,
        lookback_ms: int = 300_000,
        delayed_name_removal: bool = False,
    ) -> None:
        self._series = dict(sorted(series.items()))
        self._lookback_ms = lookback_ms
        self._delayed = delayed_name_removal

    def instant(self, query: str, at_ms: int) -> dict[Labels, float]:
        """Return the value of each series at one time; a scalar has the labels ()."""
        return self._step(parse(query), at_ms, _Query(at_ms, at_ms))

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[tuple[Labels, int], float]:
        """Return the value of each series at each step."""
        expr, whole = parse(query), _Query(start_ms, end_ms)
        return {
            (labels, at_ms): value
            for at_ms in range(start_ms, end_ms + 1, step_ms)
            for labels, value in self._step(expr, at_ms, whole).items()
        }

    def _step(self, expr: ir.Expr, at_ms: int, whole: _Query) -> dict[Labels, float]:
        value = self._value(expr, at_ms, whole)
        if isinstance(value, float):
            return {(): value}
        assert isinstance(value, list)
        out: dict[Labels, float] = {}
        for element in value:
            labels = without(element.labels, METADATA) if element.drop_name else element.labels
            if labels in out:
                raise ExecutionError("vector cannot contain metrics with the same labelset")
            out[labels] = element.value
        return out

    def _value(self, expr: ir.Expr, at_ms: int, whole: _Query) -> Value:
        match expr:
            case ir.NumberLiteral() | ir.StringLiteral():
                return expr.value
            case ir.Selector():
                return [Element(labels, point[1]) for labels, point in self._newest(expr, at_ms, whole)]
            case ir.Negate():
                value = self._value(expr.expr, at_ms, whole)
                if isinstance(value, list):
                    return self._unnamed([replace(each, value=-each.value) for each in value])
                assert isinstance(value, float)
                return -value
            case ir.Binary():
                return self._binary(expr, at_ms, whole)
            case ir.Aggregate():
                param = 0.0 if expr.param is None else self._value(expr.param, at_ms, whole)
                assert not isinstance(param, list)
                vector = self._vector(expr.expr, at_ms, whole)
                if expr.op in ("limitk", "limit_ratio"):
                    raise ExecutionError(f"the slow evaluator does not know {expr.op}")
                if expr.op in ("topk", "bottomk") and isinstance(param, float) and math.isnan(param):
                    raise ExecutionError("Parameter value is NaN")
                return vectors.aggregate(expr, vector, param, delayed=self._delayed)
            case ir.Call():
                return self._call(expr, at_ms, whole)
            case _:
                raise ExecutionError(f"the slow evaluator cannot answer {type(expr).__name__}")

    def _vector(self, expr: ir.Expr, at_ms: int, whole: _Query) -> Vector:
        value = self._value(expr, at_ms, whole)
        assert isinstance(value, list)
        return value

    def _unnamed(self, vector: Vector) -> Vector:
        """Take the names away: now, or by a mark for the end of the query."""
        if self._delayed:
            return [replace(each, drop_name=True) for each in vector]
        out = [replace(each, labels=without(each.labels, METADATA)) for each in vector]
        if len({each.labels for each in out}) < len(out):
            raise ExecutionError("vector cannot contain metrics with the same labelset")
        return out

    def _looked_at(self, offset_ms: int, at: ir.At | None, at_ms: int, whole: _Query) -> int:
        """Return the time a selector or subquery looks at."""
        if at is not None:
            at_ms = {"start": whole.start_ms, "end": whole.end_ms}.get(at.anchor, at.timestamp_ms)
        return at_ms - offset_ms

    def _newest(self, selector: ir.Selector, at_ms: int, whole: _Query) -> list[tuple[Labels, Point]]:
        """Return the newest point of each series that is younger than the lookback and not a stale marker."""
        end_ms = self._looked_at(selector.offset_ms, selector.at, at_ms, whole)
        found = []
        for labels, points in self._series.items():
            if not _matches(labels, selector.matchers):
                continue
            seen = [point for point in points if end_ms - self._lookback_ms < point[0] <= end_ms]
            if seen and not is_stale(seen[-1][1]):
                found.append((labels, seen[-1]))
        return found

    def _ranges(self, expr: ir.Expr, at_ms: int, whole: _Query) -> list[_Range]:
        """Return the points of each series in the window of a range selector or subquery."""
        if isinstance(expr, ir.RangeSelector):
            selector = expr.selector
            end_ms = self._looked_at(selector.offset_ms, selector.at, at_ms, whole)
            start_ms = end_ms - expr.range_ms
            found = []
            for labels, points in self._series.items():
                if _matches(labels, selector.matchers):
                    seen = [p for p in points if start_ms < p[0] <= end_ms and not is_stale(p[1])]
                    found.append(_Range(labels, Window(seen, start_ms, end_ms, at_ms), False))
            return [each for each in found if each.window.points]
        assert isinstance(expr, ir.Subquery)
        end_ms = self._looked_at(expr.offset_ms, expr.at, at_ms, whole)
        start_ms, step_ms = end_ms - expr.range_ms, expr.step_ms or 60_000
        series: dict[tuple[Labels, bool], list[Point]] = {}
        first_ms = (start_ms // step_ms + 1) * step_ms
        for inner_ms in range(first_ms, end_ms + 1, step_ms):
            value = self._value(expr.expr, inner_ms, whole)
            inner = [Element((), value)] if isinstance(value, float) else value
            assert isinstance(inner, list)
            for each in inner:
                series.setdefault((each.labels, each.drop_name), []).append((inner_ms, each.value))
        return [
            _Range(labels, Window(points, start_ms, end_ms, at_ms), drop)
            for (labels, drop), points in series.items()
        ]

    def _binary(self, node: ir.Binary, at_ms: int, whole: _Query) -> Value:
        left, right = (self._value(side, at_ms, whole) for side in (node.left, node.right))
        if isinstance(left, list) and isinstance(right, list):
            if node.op in ("and", "or", "unless"):
                return vectors.set_operation(node, left, right)
            return vectors.vector_vector(node, left, right, delayed=self._delayed)
        if isinstance(left, float) and isinstance(right, float):
            value = vectors.operate(node.op, left, right, as_bool=node.return_bool)
            assert value is not None
            return value
        found = []
        for each in left if isinstance(left, list) else right if isinstance(right, list) else []:
            first = left if isinstance(left, float) else each.value
            second = right if isinstance(right, float) else each.value
            assert isinstance(first, float)
            assert isinstance(second, float)
            value = vectors.operate(node.op, first, second, as_bool=node.return_bool)
            if value is not None:
                is_filter = node.op in vectors.COMPARISONS and not node.return_bool
                found.append(replace(each, value=each.value if is_filter else value))
        if node.op in vectors.COMPARISONS and not node.return_bool:
            return found
        return self._unnamed(found)

    def _call(self, node: ir.Call, at_ms: int, whole: _Query) -> Value:
        if node.name in RANGE_FUNCTIONS or node.name == "absent_over_time":
            return self._range_call(node, at_ms, whole)
        if node.name == "timestamp" and isinstance(node.args[0], ir.Selector):
            newest = self._newest(node.args[0], at_ms, whole)
            return self._unnamed([Element(labels, time / 1000) for labels, (time, _) in newest])
        args = [self._value(arg, at_ms, whole) for arg in node.args]
        if node.name == "timestamp":
            assert isinstance(args[0], list)
            return self._unnamed([replace(each, value=at_ms / 1000) for each in args[0]])
        if node.name == "absent":
            return [] if args[0] else [Element(_told(node.args[0]), 1.0)]
        if node.name == "histogram_quantile":
            assert isinstance(args[0], float)
            assert isinstance(args[1], list)
            return self._quantiles(args[0], args[1])
        if node.name == "time":
            return at_ms / 1000
        if node.name == "vector":
            assert isinstance(args[0], float)
            return [Element((), args[0])]
        if node.name == "scalar":
            assert isinstance(args[0], list)
            return args[0][0].value if len(args[0]) == 1 else math.nan
        if node.name in FUNCTIONS:
            if not args:
                args = [[Element((), at_ms / 1000)]]
            assert isinstance(args[0], list)
            apply = FUNCTIONS[node.name]
            results = [(each, apply(each.value, *args[1:])) for each in args[0]]
            return self._unnamed([replace(each, value=v) for each, v in results if v is not None])
        raise ExecutionError(f"the slow evaluator does not know {node.name}")

    def _range_call(self, node: ir.Call, at_ms: int, whole: _Query) -> Vector:
        if any(isinstance(arg, ir.RangeSelector) and arg.selector.extension for arg in node.args):
            return self._extended_call(node, at_ms, whole)
        (place,) = (k for k, arg in enumerate(node.args) if arg.type is ir.ValueType.MATRIX)
        params = [self._value(arg, at_ms, whole) for k, arg in enumerate(node.args) if k != place]
        ranges = self._ranges(node.args[place], at_ms, whole)
        if node.name == "absent_over_time":
            return [] if ranges else [Element(_told(node.args[place]), 1.0)]
        found = []
        for each in ranges:
            value = RANGE_FUNCTIONS[node.name](each.window, *params)
            if value is not None:
                found.append(Element(each.labels, value, each.drop_name))
        keeps = node.name in ("last_over_time", "first_over_time")
        return found if keeps else self._unnamed(found)

    def _extended_call(self, node: ir.Call, at_ms: int, whole: _Query) -> Vector:
        """rate, increase, delta, changes or resets of an anchored or smoothed range."""
        (argument,) = node.args
        assert isinstance(argument, ir.RangeSelector)
        selector = argument.selector
        end_ms = self._looked_at(selector.offset_ms, selector.at, at_ms, whole)
        start_ms = end_ms - argument.range_ms
        low_ms, high_ms = start_ms - self._lookback_ms, end_ms + self._lookback_ms
        found = []
        for labels, points in self._series.items():
            if not _matches(labels, selector.matchers):
                continue
            seen = [p for p in points if low_ms < p[0] <= high_ms and not is_stale(p[1])]
            if node.name in ("changes", "resets"):
                values = extended_count(seen, start_ms, end_ms)
                value = (
                    None
                    if values is None
                    else RANGE_FUNCTIONS[node.name](
                        Window([(0, each) for each in values], start_ms, end_ms, at_ms)
                    )
                )
            else:
                counter = node.name != "delta"
                value = extended_change(seen, start_ms, end_ms, selector.extension, counter=counter)
                if value is not None and node.name == "rate":
                    value /= argument.range_ms / 1000
            if value is not None:
                found.append(Element(labels, value))
        return self._unnamed(found)

    def _quantiles(self, ratio: float, vector: Vector) -> Vector:
        groups: dict[Labels, list[tuple[float, float]]] = {}
        for each in vector:
            try:
                bound = float(dict(each.labels)["le"])
            except (KeyError, ValueError):
                continue
            groups.setdefault(without(each.labels, ("le",)), []).append((bound, each.value))
        return self._unnamed(
            [Element(labels, bucket_quantile(ratio, buckets)) for labels, buckets in groups.items()]
        )


def _matches(labels: Labels, matchers: Sequence[Matcher]) -> bool:
    values = dict(labels)
    for matcher in matchers:
        value = values.get(matcher.name, "")
        if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
            holds = value == matcher.value
        else:
            holds = re.fullmatch(matcher.value, value, re.DOTALL) is not None
        if holds is (matcher.op in (MatchOp.NOT_EQUAL, MatchOp.NOT_REGEX)):
            return False
    return True


def _told(expr: ir.Expr) -> Labels:
    """Return the labels that an absent vector would have had: those its selector names by `=`, once each."""
    selector = expr.selector if isinstance(expr, ir.RangeSelector) else expr
    if not isinstance(selector, ir.Selector):
        return ()
    named = [matcher.name for matcher in selector.matchers]
    return tuple(
        sorted(
            (matcher.name, matcher.value)
            for matcher in selector.matchers
            if matcher.op is MatchOp.EQUAL
            and matcher.value
            and named.count(matcher.name) == 1
            and matcher.name != "__name__"
        )
    )
