"""Aggregations and operators on instant vectors, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from ninesight_store.contract import Labels

from ninesight_query import ir
from ninesight_query.errors import ExecutionError
from ninesight_query.slow.values import (
    METADATA,
    Element,
    exact_mean,
    exact_sum,
    exact_variance,
    keep,
    quantile,
    without,
)

__all__ = ["COMPARISONS", "aggregate", "operate", "set_operation", "vector_vector"]

Vector = list[Element]


def _power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except OverflowError:
        return -math.inf if left < 0 and right % 2 == 1 else math.inf
    except ValueError:
        if left == 0:
            return math.copysign(math.inf, left) if right % 2 == 1 else math.inf
        return math.nan


def _divide(left: float, right: float) -> float:
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


def _modulo(left: float, right: float) -> float:
    try:
        return math.fmod(left, right)
    except ValueError:
        return math.nan


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divide,
    "%": _modulo,
    "^": _power,
    "atan2": math.atan2,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
}


def operate(op: str, left: float, right: float, *, as_bool: bool) -> float | None:
    """Return the result of one pair; None where a comparison does not hold."""
    if op in COMPARISONS:
        holds = COMPARISONS[op](left, right)
        if as_bool:
            return float(holds)
        return left if holds else None
    return _ARITHMETIC[op](left, right)


def _signature(labels: Labels, matching: ir.Matching) -> Labels:
    if matching.on:
        return keep(labels, matching.labels)
    return without(labels, (*matching.labels, "__name__"))


def vector_vector(node: ir.Binary, left: Vector, right: Vector, *, delayed: bool) -> Vector:
    """Match the elements of two vectors and operate on each pair. Raises ExecutionError."""
    matching = node.matching
    swapped = matching.cardinality is ir.Cardinality.ONE_TO_MANY
    many, one = (right, left) if swapped else (left, right)
    many_fill, one_fill = matching.fill_left, matching.fill_right
    fills = many_fill is not None or one_fill is not None
    if not (many or one) or (not fills and not (many and one)):
        return []
    partners: dict[Labels, Element] = {}
    for element in one:
        signature = _signature(element.labels, matching)
        if signature in partners:
            raise ExecutionError("found duplicate series on the one side")
        partners[signature] = element
    found: Vector = []
    seen: dict[Labels, set[Labels]] = {}
    pairs: list[tuple[Labels, Element, Element]] = []
    for element in many:
        signature = _signature(element.labels, matching)
        if signature in partners:
            pairs.append((signature, element, partners[signature]))
        elif one_fill is not None:
            pairs.append((signature, element, Element(signature, one_fill)))
    if many_fill is not None:
        met = {_signature(element.labels, matching) for element in many}
        pairs += [
            (signature, Element(signature, many_fill), element)
            for signature, element in partners.items()
            if signature not in met
        ]
    for signature, element, partner in pairs:
        first, second = (partner, element) if swapped else (element, partner)
        value = operate(node.op, first.value, second.value, as_bool=node.return_bool)
        labels = _result_labels(element.labels, partner.labels, node, delayed=delayed)
        if matching.cardinality is ir.Cardinality.ONE_TO_ONE and signature in seen:
            raise ExecutionError("multiple matches: many-to-one matching must be explicit")
        if labels in seen.setdefault(signature, set()):
            raise ExecutionError("multiple matches: grouping labels must ensure unique matches")
        seen[signature].add(labels)
        # Two partners are an error even where a comparison would have left one of them out.
        if value is not None:
            found.append(Element(labels, value, element.drop_name or node.return_bool))
    return found


def _result_labels(many: Labels, one: Labels, node: ir.Binary, *, delayed: bool) -> Labels:
    matching = node.matching
    labels = many
    if node.op not in COMPARISONS or (node.return_bool and not delayed):
        labels = without(labels, METADATA)
    if matching.cardinality is ir.Cardinality.ONE_TO_ONE:
        labels = keep(labels, matching.labels) if matching.on else without(labels, matching.labels)
    pairs = dict(labels)
    for name in matching.include:
        pairs.pop(name, None)
        if value := dict(one).get(name):
            pairs[name] = value
    return tuple(sorted(pairs.items()))


def set_operation(node: ir.Binary, left: Vector, right: Vector) -> Vector:
    """`and`, `or`, `unless`: only whether a signature exists on the other side counts."""
    lefts = {_signature(element.labels, node.matching) for element in left}
    rights = {_signature(element.labels, node.matching) for element in right}
    if node.op == "or":
        return left + [each for each in right if _signature(each.labels, node.matching) not in lefts]
    wanted = node.op == "and"
    return [each for each in left if (_signature(each.labels, node.matching) in rights) is wanted]


_AGGREGATIONS: dict[str, Callable[[list[float]], float]] = {
    "avg": exact_mean,
    "count": lambda values: float(len(values)),
    "group": lambda _: 1.0,
    "max": lambda values: max((v for v in values if not math.isnan(v)), default=math.nan),
    "min": lambda values: min((v for v in values if not math.isnan(v)), default=math.nan),
    "stddev": lambda values: math.sqrt(exact_variance(values)),
    "stdvar": exact_variance,
    "sum": exact_sum,
}


def aggregate(node: ir.Aggregate, vector: Vector, param: float | str, *, delayed: bool) -> Vector:
    """Group the elements and make one of each group (topk and bottomk: keep some of each)."""
    groups: dict[Labels, Vector] = {}
    for element in vector:
        if node.without:
            labels = without(element.labels, (*node.labels, "__name__"))
        else:
            labels = keep(element.labels, node.labels)
        if node.op == "count_values":
            assert node.param is not None
            pairs = {**dict(labels), str(param): _text(element.value)}
            labels = tuple(sorted(pairs.items()))
        groups.setdefault(labels, []).append(element)
    found: Vector = []
    for labels, members in groups.items():
        if node.op in ("topk", "bottomk"):
            assert isinstance(param, float)
            found += _best(members, int(param), largest=node.op == "topk")
            continue
        values = [element.value for element in members]
        if node.op == "quantile":
            assert isinstance(param, float)
            value = quantile(param, values)
        elif node.op == "count_values":
            value = float(len(values))
        else:
            value = _AGGREGATIONS[node.op](values)
        # With delayed removal `by (__name__)` groups by a name that goes at the end.
        marked = delayed and any(element.drop_name for element in members)
        found.append(Element(labels, value, marked))
    return found


def _best(members: Sequence[Element], k: int, *, largest: bool) -> Vector:
    def rank(element: Element) -> tuple[bool, float]:
        if math.isnan(element.value):
            return True, 0.0
        return False, -element.value if largest else element.value

    return [replace(element) for element in sorted(members, key=rank)[: max(k, 0)]]


def _text(value: float) -> str:
    """Write a number as Go does with `%f` and as few digits as tell it apart."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
