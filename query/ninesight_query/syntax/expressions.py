"""Tokens to syntax tree: an operator-precedence parser for PromQL as of Prometheus 3.

    or  <  and unless  <  == != < <= > >= </ >/  <  + -  <  * / % atan2  <  signs  <  ^ (from the right)
    tightest: what follows an operand, [range], [range:step], offset, @, anchored, smoothed

Chains of operators take no stack. What nests does: brackets at most BRACKET_DEPTH_MAX deep, all together
at most NESTING_MAX.
"""

from __future__ import annotations

import math

from ninesight_query.ir import At, Cardinality, Extension
from ninesight_query.syntax import tree
from ninesight_query.syntax.cursor import Cursor
from ninesight_query.syntax.durations import offset_duration, positive_duration
from ninesight_query.syntax.problems import problem
from ninesight_query.syntax.selectors import label_list, selector
from ninesight_query.syntax.tree import Node

__all__ = ["AGGREGATORS", "BINDING", "NESTING_MAX", "NO_METRICS", "OPERATORS_MAX", "SIGN_BINDING", "read"]

NESTING_MAX = 250
"""Levels of the syntax tree, chains of operators not counted."""
OPERATORS_MAX = 2_000
TIME_S_MAX = float(1 << 52)

AGGREGATORS = frozenset(
    {
        "avg", "bottomk", "count", "count_values", "group", "limit_ratio", "limitk", "max", "min", "quantile",
        "stddev", "stdvar", "sum", "topk",
    }
)  # fmt: skip
BINDING = {
    "or": 1, "and": 2, "unless": 2,
    "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "</": 3, ">/": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 7,
}  # fmt: skip
SIGN_BINDING = 6
_WORD_OPERATORS = frozenset({"or", "and", "unless", "atan2"})
NO_METRICS = frozenset({"atan2", "bool", "group_left", "group_right", "ignoring", "on"})
_QUERY_FUNCTIONS = frozenset({"start", "end", "step", "range", "min_of", "max_of"})
"""Keywords that are functions too: in any case of letters."""
_FILLS = frozenset({"fill", "fill_left", "fill_right"})
_PINNABLE = "an instant vector selector, a range vector selector or a subquery"


def read(text: str) -> Node:
    """Return the syntax tree of a query. Raises ParseError."""
    cursor = Cursor(text)
    if cursor.now.kind == "end":
        raise problem(text, 0, "no expression found in input; a query must hold an expression")
    parser = _Parser(cursor)
    node = parser.expression(0, 0)
    if cursor.now.kind != "end":
        way_out = "put an operator between two operands" if cursor.is_number() or _begins(cursor) else ""
        raise cursor.unexpected("", way_out=way_out)
    return node


def _begins(cursor: Cursor) -> bool:
    return cursor.now.kind in ("word", "string", "(", "{")


class _Parser:
    """Holds the cursor and how many operators were seen."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.operators = 0

    def expression(self, binding: int, depth: int) -> Node:
        """Read operands joined by operators that bind tighter than `binding`."""
        cursor = self.cursor
        left = self._operand(depth)
        while True:
            op = cursor.now.kind
            if op == "word":
                op = cursor.now.text.lower()
            strength = BINDING.get(op, 0)
            if strength <= binding:
                return left
            self.operators += 1
            if self.operators > OPERATORS_MAX:
                what = f"a query may hold at most {OPERATORS_MAX} operators; split it, or replace a chain of or by a regular expression"
                raise cursor.problem(what, cursor.now.start, cursor.now.stop)
            node = self._operator(op, left)
            node.right = self.expression(strength - (op == "^"), depth + 1)
            node.stop = node.right.stop
            left = node

    def _operand(self, depth: int) -> Node:
        cursor = self.cursor
        if depth > NESTING_MAX:
            what = f"a query may nest at most {NESTING_MAX} levels deep; split it"
            raise cursor.problem(what, cursor.now.start, cursor.now.stop)
        if cursor.now.kind in ("+", "-"):
            return self._sign(depth)
        node = self._primary(depth)
        while True:
            kind = cursor.now.kind
            if kind == "[":
                node = self._range(node)
            elif kind == "@":
                self._at(node)
            elif kind == "word":
                word = cursor.now.text.lower()
                if word == "offset":
                    self._offset(node)
                elif word in ("anchored", "smoothed"):
                    self._extend(node, Extension(word))
                else:
                    return node
            else:
                return node

    def _sign(self, depth: int) -> Node:
        sign = self.cursor.take()
        operand = self.expression(SIGN_BINDING, depth + 1)
        if isinstance(operand, tree.Number):
            value = -operand.value if sign.kind == "-" else operand.value
            return tree.Number(sign.start, operand.stop, value, operand.duration)
        return tree.Unary(sign.start, operand.stop, sign.kind, operand)

    def _primary(self, depth: int) -> Node:
        cursor = self.cursor
        token = cursor.now
        if token.kind == "word":
            if cursor.is_number():
                return cursor.number("")
            return self._word(token.text, depth)
        if token.kind in ("number", "duration"):
            return cursor.number("")
        if token.kind == "(":
            cursor.take()
            inner = self.expression(0, depth + 1)
            cursor.expect(")", "a parenthesised expression")
            return tree.Paren(token.start, cursor.previous_stop, inner)
        if token.kind == "{":
            return selector(cursor)
        if token.kind == "string":
            cursor.take()
            return tree.String(token.start, token.stop, cursor.string(token))
        raise cursor.unexpected("", "an expression")

    def _word(self, text: str, depth: int) -> Node:
        cursor, ahead = self.cursor, self.cursor.ahead
        lower = text.lower()
        if lower in AGGREGATORS and (
            ahead.kind == "(" or (ahead.kind == "word" and ahead.text.lower() in ("by", "without"))
        ):
            return self._aggregate(lower, depth)
        if lower in NO_METRICS:
            raise cursor.unexpected("", "an expression", f'a metric of this name is written {{"{text}"}}')
        if ahead.kind == "(":
            return self._call(lower if lower in _QUERY_FUNCTIONS else text, depth)
        return selector(cursor)

    def _call(self, name: str, depth: int) -> Node:
        cursor = self.cursor
        token = cursor.take()
        args = self._arguments(depth, f"call to {name}()")
        return tree.Call(token.start, cursor.previous_stop, name, token.stop, args)

    def _arguments(self, depth: int, context: str) -> tuple[Node, ...]:
        cursor = self.cursor
        cursor.expect("(", context)
        args: list[Node] = []
        while cursor.now.kind != ")":
            if args:
                comma = cursor.expect(",", context)
                if cursor.now.kind == ")":
                    what = "trailing commas not allowed in function call args; remove the comma"
                    raise cursor.problem(what, comma.start, comma.stop)
            args.append(self.expression(0, depth + 1))
        cursor.take()
        return tuple(args)

    def _aggregate(self, op: str, depth: int) -> Node:
        cursor = self.cursor
        start = cursor.take().start
        labels, without, named = self._grouping()
        args = self._arguments(depth, "aggregation")
        if not named:
            labels, without, _ = self._grouping()
        return tree.Aggregate(start, cursor.previous_stop, op, args, labels, without)

    def _grouping(self) -> tuple[tuple[str, ...], bool, bool]:
        word = self.cursor.word()
        if word not in ("by", "without"):
            return (), False, False
        self.cursor.take()
        return label_list(self.cursor, "grouping opts"), word == "without", True

    def _operator(self, op: str, left: Node) -> tree.Binary:
        """Read an operator and its modifiers; the right operand is still missing."""
        cursor = self.cursor
        token = cursor.take()
        node = tree.Binary(left.start, token.stop, op, left, left, token.start, token.stop)
        if cursor.now.kind != "word":
            return node
        if cursor.word() == "bool":
            cursor.take()
            node.return_bool = True
        if cursor.word() in ("on", "ignoring"):
            node.matches = True
            node.on = cursor.take().text.lower() == "on"
            node.labels = label_list(cursor, "grouping opts")
            grouping = cursor.word()
            if grouping in ("group_left", "group_right"):
                cursor.take()
                many = grouping == "group_left"
                node.cardinality = Cardinality.MANY_TO_ONE if many else Cardinality.ONE_TO_MANY
                node.include = label_list(cursor, "grouping opts") if cursor.now.kind == "(" else ()
        while cursor.word() in _FILLS and cursor.ahead.kind == "(":
            self._fill(node)
        node.op_stop = cursor.previous_stop
        return node

    def _fill(self, node: tree.Binary) -> None:
        cursor = self.cursor
        token = cursor.take()
        word = token.text.lower()
        cursor.expect("(", word)
        value = cursor.signed_number(word)
        cursor.expect(")", word)
        taken = (word != "fill_right" and node.fill_left is not None) or (
            word != "fill_left" and node.fill_right is not None
        )
        if taken:
            raise cursor.problem(f"{word} must not give a side that has a value", token.start, token.stop)
        if word != "fill_right":
            node.fill_left = value
        if word != "fill_left":
            node.fill_right = value

    def _range(self, node: Node) -> Node:
        cursor = self.cursor
        opened = cursor.take()
        duration = positive_duration(cursor, "subquery or range selector")
        if cursor.accept(":"):
            step = None if cursor.now.kind == "]" else positive_duration(cursor, "subquery selector")
            cursor.expect("]", "subquery selector")
            return tree.Subquery(node.start, cursor.previous_stop, node, duration, step)
        if cursor.now.kind != "]":
            raise cursor.unexpected("subquery or range", '":" or "]"')
        cursor.take()
        wrong = ""
        if not isinstance(node, tree.Selector):
            wrong = "ranges only allowed for vector selectors; write [5m:] for a subquery"
        elif node.offset is not None:
            wrong = "no offset modifiers allowed before range; write it behind the range"
        elif node.at is not None:
            wrong = "no @ modifiers allowed before range; write it behind the range"
        if wrong:
            raise cursor.problem(wrong, opened.start, cursor.previous_stop)
        assert isinstance(node, tree.Selector)
        return tree.Range(node.start, cursor.previous_stop, node, duration)

    def _pinnable(self, node: Node, what: str) -> tree.Selector | tree.Subquery:
        """Return what carries offset and @ of a node."""
        if isinstance(node, tree.Range):
            return node.selector
        if isinstance(node, tree.Selector | tree.Subquery):
            return node
        raise self.cursor.problem(f"{what} must be preceded by {_PINNABLE}", node.start, node.stop)

    def _offset(self, node: Node) -> None:
        cursor = self.cursor
        target = self._pinnable(node, "offset modifier")
        if target.offset is not None:
            raise cursor.problem("offset may not be set multiple times", node.start, node.stop)
        cursor.take()
        target.offset = offset_duration(cursor)
        node.stop = cursor.previous_stop

    def _at(self, node: Node) -> None:
        cursor = self.cursor
        target = self._pinnable(node, "@ modifier")
        if target.at is not None:
            raise cursor.problem("@ <timestamp> may not be set multiple times", node.start, node.stop)
        token = cursor.take()
        word = cursor.word()
        if word in ("start", "end"):
            cursor.take()
            cursor.expect("(", f"@ {word}()")
            cursor.expect(")", f"@ {word}()")
            target.at = At(word)
        else:
            if not cursor.is_number() and cursor.now.kind not in ("+", "-"):
                raise cursor.unexpected("@", "timestamp in seconds, start() or end()")
            seconds = cursor.signed_number("@")
            if not abs(seconds) <= TIME_S_MAX:
                raise cursor.problem(
                    f"timestamp out of bounds for @ modifier: it must be finite seconds, got {seconds:g}",
                    token.start,
                    cursor.previous_stop,
                )
            target.at = At("time", _milliseconds(seconds))
        node.stop = cursor.previous_stop

    def _extend(self, node: Node, extension: Extension) -> None:
        cursor = self.cursor
        if isinstance(node, tree.Subquery):
            what = f"{extension} modifier is not supported for subqueries"
            raise cursor.problem(what, node.start, node.stop)
        target = node.selector if isinstance(node, tree.Range) else node
        if not isinstance(target, tree.Selector):
            what = f"{extension} modifier must be preceded by a selector"
            raise cursor.problem(what, node.start, node.stop)
        if target.extension not in (Extension.NONE, extension):
            what = "anchored and smoothed modifiers cannot be used together"
            raise cursor.problem(what, node.start, cursor.now.stop)
        cursor.take()
        target.extension = extension


def _milliseconds(seconds: float) -> int:
    """Round half away from zero, as Go's math.Round."""
    return int(math.copysign(math.floor(abs(seconds) * 1000.0 + 0.5), seconds))
