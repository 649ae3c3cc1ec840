"""Syntax tree to expression tree: the checks that Prometheus' parser makes, then `ir` nodes.

Types of operands, numbers of arguments, `bool` between scalars, set operators between vectors only,
labels of groups, selectors that would match everything, a metric name set twice. Chains of operators
take no stack.
"""

from __future__ import annotations

import difflib

from ninesight_store.contract import Matcher, MatchOp
from ninesight_store.matchers import compile_matcher

from ninesight_query import ir
from ninesight_query.errors import ParseError
from ninesight_query.ir import Cardinality, ValueType
from ninesight_query.syntax import tree
from ninesight_query.syntax.computed import milliseconds, seconds_of
from ninesight_query.syntax.expressions import AGGREGATORS
from ninesight_query.syntax.literals import is_utf8
from ninesight_query.syntax.problems import position_of, problem
from ninesight_query.syntax.selectors import NAME
from ninesight_query.syntax.signatures import SIGNATURES

__all__ = ["PARAMETERS", "SET_OPERATORS", "constant_seconds", "lowered"]

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
PARAMETERS = {
    "topk": ValueType.SCALAR,
    "bottomk": ValueType.SCALAR,
    "quantile": ValueType.SCALAR,
    "limitk": ValueType.SCALAR,
    "limit_ratio": ValueType.SCALAR,
    "count_values": ValueType.STRING,
}
_SHOWN = {
    ValueType.SCALAR: "scalar",
    ValueType.VECTOR: "instant vector",
    ValueType.MATRIX: "range vector",
    ValueType.STRING: "string",
}
_OPERANDS = (ValueType.SCALAR, ValueType.VECTOR)


def lowered(text: str, node: tree.Node) -> ir.Expr:
    """Return the checked expression of a syntax tree over `text`. Raises ParseError."""
    return _Lowering(text).expr(node)


class _Lowering:
    def __init__(self, text: str) -> None:
        self.text = text
        self._one_line = "\n" not in text and text.isascii()

    def at(self, node: tree.Node) -> ir.Position:
        return ir.Position(1, node.start + 1) if self._one_line else position_of(self.text, node.start)

    def problem(self, what: str, node: tree.Node | tree.Duration) -> ParseError:
        return problem(self.text, node.start, what, end=node.stop)

    def expr(self, node: tree.Node) -> ir.Expr:
        match node:
            case tree.Selector():
                return self.selector(node)
            case tree.Call():
                return self.call(node)
            case tree.Binary():
                return self.chain(node)
            case tree.Number():
                return ir.NumberLiteral(node.value, self.at(node))
            case tree.Aggregate():
                return self.aggregate(node)
            case tree.Range():
                selector = self.selector(node.selector)
                range_ms, range_by = self.duration(node.range, positive=True)
                return ir.RangeSelector(selector, range_ms, range_by, self.at(node))
            case tree.Paren():
                return self.expr(node.expr)
            case tree.Unary():
                return self.unary(node)
            case tree.Subquery():
                return self.subquery(node)
            case tree.String():
                return self.string(node)

    def string(self, node: tree.String, *, any_bytes: bool = False) -> ir.StringLiteral:
        if not any_bytes and not is_utf8(node.value):
            raise self.problem("a string must be valid UTF-8", node)
        return ir.StringLiteral(node.value, self.at(node))

    def selector(self, node: tree.Selector, *, may_match_all: bool = False) -> ir.Selector:
        matchers = node.matchers
        if node.name:
            twice = next((matcher for matcher in matchers if matcher.name == NAME), None)
            if twice is not None:
                what = (
                    f'metric name must not be set twice: "{node.name}" or "{twice.value}"; keep one of them'
                )
                raise self.problem(what, node)
            matchers = (Matcher(NAME, MatchOp.EQUAL, node.name), *matchers)
        elif not may_match_all and all(compile_matcher(matcher).accepts_missing for matcher in matchers):
            raise self.problem(
                "vector selector must contain at least one non-empty matcher; name a metric, or a label that "
                'must be there, as in job=~".+"',
                node,
            )
        offset_ms, offset_by = (0, None) if node.offset is None else self.duration(node.offset)
        return ir.Selector(matchers, offset_ms, node.at, node.extension, offset_by, self.at(node))

    def duration(self, node: tree.Duration, *, positive: bool = False) -> tuple[int, ir.Computed | None]:
        """Return whole milliseconds, or what they are to be worked out from when the query runs."""
        computed = _computed(node)
        try:
            seconds = constant_seconds(node)
            if seconds is None and isinstance(computed, ir.Computed):
                return 0, computed
            return milliseconds(seconds or 0.0, positive=positive), None
        except ParseError as error:
            raise self.problem(str(error), node) from None

    def subquery(self, node: tree.Subquery) -> ir.Subquery:
        expr = self.expr(node.expr)
        if expr.type is not ValueType.VECTOR:
            what = f"subquery is only allowed on instant vector, got {_SHOWN[expr.type]} instead"
            raise self.problem(
                what + ("; put vector() around it" if expr.type is ValueType.SCALAR else ""), node
            )
        range_ms, range_by = self.duration(node.range, positive=True)
        step_ms, step_by = (None, None) if node.step is None else self.duration(node.step, positive=True)
        offset_ms, offset_by = (0, None) if node.offset is None else self.duration(node.offset)
        return ir.Subquery(
            expr, range_ms, step_ms, offset_ms, node.at, range_by, step_by, offset_by, self.at(node)
        )

    def unary(self, node: tree.Unary) -> ir.Expr:
        expr = self.expr(node.expr)
        if expr.type not in _OPERANDS:
            what = f"unary expression only allowed on expressions of type scalar or instant vector, got {_SHOWN[expr.type]}"
            raise self.problem(what, node)
        return ir.Negate(expr, self.at(node)) if node.op == "-" else expr

    def aggregate(self, node: tree.Aggregate) -> ir.Aggregate:
        wanted = PARAMETERS.get(node.op)
        number = 1 if wanted is None else 2
        if not node.args:
            raise self.problem("no arguments for aggregate expression provided", node)
        if len(node.args) != number:
            what = "wrong number of arguments for aggregate expression provided, "
            raise self.problem(f"{what}expected {number}, got {len(node.args)}", node)
        param: ir.Expr | None = None
        if wanted is not None:
            first = node.args[0]
            # Upstream lets any bytes through to count_values, which then refuses them as a label's name.
            param = self.string(first, any_bytes=True) if isinstance(first, tree.String) else self.expr(first)
            if param.type is not wanted:
                self.mismatch(wanted, "aggregation parameter", param.type, first)
        expr = self.expr(node.args[-1])
        if expr.type is not ValueType.VECTOR:
            self.mismatch(ValueType.VECTOR, "aggregation expression", expr.type, node.args[-1])
        labels = tuple(sorted(set(node.labels)))
        return ir.Aggregate(node.op, expr, param, labels, node.without, self.at(node))

    def mismatch(self, wanted: ValueType, place: str, got: ValueType, node: tree.Node) -> None:
        what = f"expected type {_SHOWN[wanted]} in {place}, got {_SHOWN[got]}"
        if (wanted, got) == (ValueType.MATRIX, ValueType.VECTOR):
            selects = isinstance(node, tree.Selector)
            what += "; add a range, as in metric[5m]" if selects else "; make it a subquery, as in (...)[5m:]"
        elif (wanted, got) == (ValueType.VECTOR, ValueType.MATRIX):
            what += "; take the range away, or put a function such as rate() around it"
        elif (wanted, got) == (ValueType.VECTOR, ValueType.SCALAR):
            what += "; put vector() around it"
        elif (wanted, got) == (ValueType.SCALAR, ValueType.VECTOR):
            what += "; put scalar() around it"
        raise self.problem(what, node)

    def call(self, node: tree.Call) -> ir.Call:
        signature = SIGNATURES.get(node.name)
        if signature is None:
            close = difflib.get_close_matches(node.name.lower(), [*SIGNATURES, *AGGREGATORS], n=1)
            what = f'unknown function with name "{node.name}"' + (
                f", did you mean {close[0]}?" if close else ""
            )
            raise problem(self.text, node.start, what, end=node.name_stop)
        number = len(node.args)
        if number < signature.least or (signature.most is not None and number > signature.most):
            few = number < signature.least
            bound = "" if signature.variadic == 0 else "at least " if few else "at most "
            wanted = signature.least if few else signature.most
            what = f'expected {bound}{wanted} argument(s) in call to "{node.name}", got {number}'
            raise self.problem(what, node)
        args: list[ir.Expr] = []
        for index, arg in enumerate(node.args):
            if node.name == "info" and index == 1:
                args.append(self.info_labels(arg))
                continue
            expr = self.expr(arg)
            if expr.type is not signature.expects(index):
                place = f'call to function "{node.name}"'
                self.mismatch(signature.expects(index), place, expr.type, arg)
            args.append(expr)
        return ir.Call(node.name, tuple(args), signature.returns, self.at(node))

    def info_labels(self, node: tree.Node) -> ir.Selector:
        """Check the second argument of info(): label matchers only, which may match what is missing."""
        if not isinstance(node, tree.Selector) or node.name:
            raise self.problem(
                'expected label selectors only; write {label="value"} without a metric name', node
            )
        return self.selector(node, may_match_all=True)

    def chain(self, node: tree.Binary) -> ir.Binary:
        """Lower the left operands of a chain from the innermost out, without a level of stack for each."""
        spine = [node]
        while isinstance(spine[-1].left, tree.Binary):
            spine.append(spine[-1].left)
        left = self.expr(spine[-1].left)
        for each in reversed(spine):
            left = self.binary(each, left, self.expr(each.right))
        assert isinstance(left, ir.Binary)
        return left

    def binary(self, node: tree.Binary, left: ir.Expr, right: ir.Expr) -> ir.Binary:
        scalars = left.type is ValueType.SCALAR and right.type is ValueType.SCALAR
        vectors = left.type is ValueType.VECTOR and right.type is ValueType.VECTOR
        comparison, sets = node.op in COMPARISONS, node.op in SET_OPERATORS
        if node.return_bool and not comparison:
            raise self.operator(node, "bool modifier can only be used on comparison operators; remove it")
        if comparison and scalars and not node.return_bool:
            raise self.operator(
                node, f"comparisons between scalars must use BOOL modifier; write {node.op} bool"
            )
        both = set(node.labels) & set(node.include) if node.on else ()
        if both:
            what = f'label "{min(both)}" must not occur in ON and GROUP clause at once'
            raise self.operator(node, what)
        for side, written in ((left, node.left), (right, node.right)):
            if side.type not in _OPERANDS:
                raise self.problem(
                    "binary expression must contain only scalar and instant vector types, "
                    f"got {_SHOWN[side.type]}",
                    written,
                )
        fills = node.fill_left is not None or node.fill_right is not None
        if sets and not vectors:
            raise self.problem(f'set operator "{node.op}" not allowed in binary scalar expression', node)
        if not vectors and node.labels:
            raise self.problem("vector matching only allowed between instant vectors", node)
        if not vectors and fills:
            raise self.problem("filling in missing series only allowed between instant vectors", node)
        if sets and node.cardinality is not Cardinality.ONE_TO_ONE:
            raise self.problem(f'no grouping allowed for "{node.op}" operation', node)
        if sets and fills:
            raise self.problem("filling in missing series not allowed for set operators", node)
        matching = ir.Matching()
        if vectors:
            matching = ir.Matching(
                Cardinality.MANY_TO_MANY if sets else node.cardinality,
                node.on,
                node.labels,
                node.include,
                node.fill_left,
                node.fill_right,
            )
        return ir.Binary(node.op, left, right, matching, node.return_bool, self.at(node))

    def operator(self, node: tree.Binary, what: str) -> ParseError:
        return problem(self.text, node.op_start, what, end=node.op_stop)


def _computed(node: tree.Duration) -> ir.Computed | float:
    if isinstance(node, tree.Number):
        return node.value
    operands = tuple(_computed(operand) for operand in node.operands)
    if node.op == "+" and len(operands) == 1:
        return operands[0]
    return ir.Computed(node.op, operands)


def constant_seconds(node: tree.Duration) -> float | None:
    """Return a duration in seconds, None where it depends on the query's step or range. Raises ParseError."""
    computed = _computed(node)
    return seconds_of(computed, 0.0, 0.0) if isinstance(computed, float) or _constant(computed) else None


def _constant(computed: ir.Computed) -> bool:
    return computed.op not in ("step", "range") and all(
        isinstance(operand, float) or _constant(operand) for operand in computed.operands
    )
