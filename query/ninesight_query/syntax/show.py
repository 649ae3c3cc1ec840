"""Syntax tree to one line of text, in Prometheus' own spelling: what `String()` gives upstream."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from ninesight_store.contract import Matcher

from ninesight_query.durations import format_duration
from ninesight_query.ir import At, Cardinality, Extension
from ninesight_query.syntax import tree
from ninesight_query.syntax.literals import NUMBER_WORDS, quote, whole_ms
from ninesight_query.syntax.signatures import is_scalar

__all__ = ["aggregation_head", "number_text", "operator_text", "show", "subquery_tail"]

_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def show(node: tree.Node) -> str:
    """Return a node as text. Chains of operators take no stack."""
    match node:
        case tree.Selector():
            return _series(node) + _pin(node.at) + _extension(node.extension) + _offset(node.offset)
        case tree.Call():
            return f"{node.name}({', '.join(map(show, node.args))})"
        case tree.Binary():
            return _chain(node)
        case tree.Number():
            return _literal(node)
        case tree.Aggregate():
            return f"{aggregation_head(node)}({', '.join(map(show, node.args))})"
        case tree.Range():
            selector = node.selector
            tail = _extension(selector.extension) + _pin(selector.at) + _offset(selector.offset)
            return f"{_series(selector)}[{_lasting(node.range)}]{tail}"
        case tree.Paren():
            return f"({show(node.expr)})"
        case tree.Unary():
            return node.op + show(node.expr)
        case tree.Subquery():
            return show(node.expr) + subquery_tail(node)
        case tree.String():
            return quote(node.value)


def _chain(node: tree.Binary) -> str:
    spine = [node]
    while isinstance(spine[-1].left, tree.Binary):
        spine.append(spine[-1].left)
    parts = [show(spine[-1].left)]
    for each in reversed(spine):
        parts += [operator_text(each), show(each.right)]
    return " ".join(parts)


def operator_text(node: tree.Binary) -> str:
    """Return an operator with its modifiers."""
    out = node.op + (" bool" if node.return_bool else "")
    grouped = node.cardinality in (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY)
    if (node.on or grouped) and not node.labels and (is_scalar(node.left) or is_scalar(node.right)):
        # Without labels it may stand beside a scalar, where it means nothing.
        return out
    if node.labels or node.on or grouped:
        out += f" {'on' if node.on else 'ignoring'} ({_labels(node.labels)})"
    if grouped:
        side = "left" if node.cardinality is Cardinality.MANY_TO_ONE else "right"
        out += f" group_{side} ({_labels(node.include)})"
    left, right = node.fill_left, node.fill_right
    if left is not None and right is not None and number_text(left) == number_text(right):
        return f"{out} fill ({number_text(left)})"
    if left is not None:
        out += f" fill_left ({number_text(left)})"
    if right is not None:
        out += f" fill_right ({number_text(right)})"
    return out


def aggregation_head(node: tree.Aggregate) -> str:
    """Return what stands before the operands: `sum by (a) `."""
    if node.without:
        return f"{node.op} without ({_labels(node.labels)}) "
    return f"{node.op} by ({_labels(node.labels)}) " if node.labels else node.op


def subquery_tail(node: tree.Subquery) -> str:
    """Return what stands behind the expression of a subquery."""
    step = "" if node.step is None else _lasting(node.step)
    return f"[{_lasting(node.range)}:{step}]{_pin(node.at)}{_offset(node.offset)}"


def number_text(value: float) -> str:
    """Return the shortest decimal that reads back, without an exponent (Go's FormatFloat 'f', -1)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _literal(node: tree.Number) -> str:
    return _span(node.value) if node.duration else number_text(node.value)


def _span(seconds: float) -> str:
    return format_duration(whole_ms(seconds))


def _lasting(node: tree.Duration) -> str:
    """Return a range, a step or an offset."""
    return _span(node.value) if isinstance(node, tree.Number) else _sum(node)


def _sum(node: tree.Duration) -> str:
    if isinstance(node, tree.Number):
        return _literal(node)
    operands = [_sum(operand) for operand in node.operands]
    if node.op in ("step", "range", "min_of", "max_of"):
        out = f"{node.op}({', '.join(operands)})"
    elif len(operands) == 1:
        out = operands[0] if node.op == "+" else node.op + operands[0]
    else:
        out = f"{operands[0]} {node.op} {operands[1]}"
    return f"({out})" if node.wrapped else out


def _series(node: tree.Selector) -> str:
    matchers = sorted(map(_matcher, node.matchers))
    if not matchers:
        return node.name or "{}"
    return f"{node.name}{{{','.join(matchers)}}}"


def _matcher(matcher: Matcher) -> str:
    return f"{_label(matcher.name)}{matcher.op}{quote(matcher.value)}"


def _label(name: str) -> str:
    return name if _LABEL_NAME.fullmatch(name) else quote(name)


def _labels(names: tuple[str, ...]) -> str:
    # In a list, inf and nan would be numbers.
    return ", ".join(quote(name) if name.lower() in NUMBER_WORDS else _label(name) for name in names)


def _pin(at: At | None) -> str:
    if at is None:
        return ""
    if at.anchor != "time":
        return f" @ {at.anchor}()"
    return f" @ {'-' if at.timestamp_ms < 0 else ''}{abs(at.timestamp_ms) // 1000}.{abs(at.timestamp_ms) % 1000:03d}"


def _extension(extension: Extension) -> str:
    return f" {extension}" if extension else ""


def _offset(offset: tree.Duration | None) -> str:
    if offset is None or (isinstance(offset, tree.Number) and offset.value == 0):
        return ""
    return f" offset {_lasting(offset)}"
