"""Durations in brackets and behind `offset`: literals and, as in Prometheus 3, their arithmetic.

    [5m]   [1800]   [5m + 2 * step()]   [max_of(1m, 4 * step())]   offset -(2 * 1m)

Behind `offset` a plain duration ends at once: `x offset 1m + 2` adds 2 to the selector's values.
"""

from __future__ import annotations

from ninesight_query.syntax.cursor import Cursor
from ninesight_query.syntax.tree import Duration, DurationSum, Number

__all__ = ["DURATION_S_MAX", "offset_duration", "positive_duration"]

DURATION_S_MAX = 2**63 / 1e9
"""292 years: Prometheus counts nanoseconds in 64 bits."""
_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 4}
_SIGN_BINDING = 3
_NESTING_MAX = 50
_CALLS = ("step", "range")
_PICKS = ("min_of", "max_of")
_EXPECTED = "number, duration, step(), range(), min_of() or max_of()"


def positive_duration(cursor: Cursor, context: str) -> Duration:
    """Read a range or a step. Raises ParseError where it is a literal that is not positive."""
    duration = _expression(cursor, context, 0, 0)
    if isinstance(duration, Number) and not duration.value > 0:
        raise cursor.problem(
            "duration must be greater than 0; write 5m or 1h30m", duration.start, duration.stop
        )
    return duration


def offset_duration(cursor: Cursor) -> Duration:
    """Read what stands behind `offset`, with its sign."""
    if cursor.now.kind not in ("+", "-"):
        return _primary(cursor, "offset", 0)
    sign = cursor.take()
    return _signed(cursor, sign.text, sign.start, _primary(cursor, "offset", 0))


def _expression(cursor: Cursor, context: str, binding: int, depth: int) -> Duration:
    left = _prefix(cursor, context, depth)
    while _BINDING.get(cursor.now.kind, 0) > binding:
        op = cursor.take()
        strength = _BINDING[op.kind]
        right = _expression(cursor, context, strength - (op.kind == "^"), depth + 1)
        if op.kind in "/%" and isinstance(right, Number) and right.value == 0:
            what = "division by zero" if op.kind == "/" else "modulo by zero"
            raise cursor.problem(f"{what} in a duration", op.start, right.stop)
        left = DurationSum(left.start, right.stop, op.kind, (left, right))
    return left


def _prefix(cursor: Cursor, context: str, depth: int) -> Duration:
    if depth > _NESTING_MAX:
        raise cursor.problem(
            f"a duration may nest at most {_NESTING_MAX} levels deep", cursor.now.start, cursor.now.stop
        )
    if cursor.now.kind not in ("+", "-"):
        return _primary(cursor, context, depth)
    sign = cursor.take()
    operand = _expression(cursor, context, _SIGN_BINDING, depth + 1)
    return _signed(cursor, sign.text, sign.start, operand)


def _signed(cursor: Cursor, sign: str, start: int, operand: Duration) -> Duration:
    if isinstance(operand, Number):
        value = -operand.value if sign == "-" else operand.value
        return _checked(cursor, Number(start, operand.stop, value, operand.duration))
    return DurationSum(start, operand.stop, "-", (operand,)) if sign == "-" else operand


def _checked(cursor: Cursor, number: Number) -> Number:
    if not abs(number.value) <= DURATION_S_MAX:
        raise cursor.problem(
            "duration out of range, it must be at most 292 years; write a shorter one",
            number.start,
            number.stop,
        )
    return number


def _primary(cursor: Cursor, context: str, depth: int) -> Duration:
    if cursor.is_number():
        return _checked(cursor, cursor.number(context))
    word = cursor.word()
    if word in _CALLS:
        start = cursor.take().start
        cursor.expect("(", f"{word}()")
        cursor.expect(")", f"{word}()")
        return DurationSum(start, cursor.previous_stop, word)
    if word in _PICKS:
        start = cursor.take().start
        cursor.expect("(", word)
        first = _expression(cursor, word, 0, depth + 1)
        cursor.expect(",", word)
        second = _expression(cursor, word, 0, depth + 1)
        cursor.expect(")", word)
        return DurationSum(start, cursor.previous_stop, word, (first, second))
    if cursor.now.kind == "(":
        start = cursor.take().start
        inner = _expression(cursor, context, 0, depth + 1)
        cursor.expect(")", context)
        if isinstance(inner, Number):
            return DurationSum(start, cursor.previous_stop, "+", (inner,), wrapped=True)
        inner.wrapped = True
        inner.start, inner.stop = start, cursor.previous_stop
        return inner
    raise cursor.unexpected(context, _EXPECTED)
