"""Further promises derived from written ones: a changed world in which the same answers must come.

    moved       all times later by one constant: loads, evals, grids and `@ t`
    renamed     label names mirrored (a<->z), which also turns the order of series around
    permuted    the series of each load written in another order
    halved      a range evaluated as two, one after the other (`Halves` of worlds.py around the engine)
    as_written  nothing: for another store (`Scattered` of worlds.py)

A derivation gives the commands it applies to, and leaves out the evals whose answer it would rightly
change; `why_not` says of each why. The engine needs the query changed in the same way: `rewrite` of
`LocalEngine`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ninesight_store.contract import Labels

from ninesight_query import ir
from ninesight_query.errors import QueryError
from ninesight_query.parse import parse
from ninesight_query.promqltest.script import Command, Eval, Expect, Grid, Load
from ninesight_query.promqltest.series import SeriesLine

__all__ = ["Derived", "as_written", "halved", "moved", "permuted", "renamed"]

Rewrite = Callable[[ir.Expr], ir.Expr]

_CLOCK_FUNCTIONS = frozenset(
    {"end", "start", "start_timestamp", "time", "timestamp", "ts_of_first_over_time", "ts_of_last_over_time",
     "ts_of_max_over_time", "ts_of_min_over_time"}
)  # fmt: skip
_DATE_FUNCTIONS = frozenset(
    {"day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"}
)
_ENDS = re.compile(r"\b(?:start|end|range)\s*\(\s*\)")
"""In the text, because `@ end()` is no call."""
_NAMED_BY_THE_LANGUAGE = frozenset({"__name__", "__type__", "__unit__", "le", "instance", "job"})
"""Labels with a meaning of their own: type and unit, classic buckets, and what info() joins on."""
_LABEL_ARGUMENTS: dict[str, Callable[[int], bool]] = {
    "histogram_quantiles": lambda place: place == 1,
    "label_join": lambda place: place == 1 or place >= 3,
    "label_replace": lambda place: place in (1, 3),
    "sort_by_label": lambda place: place >= 1,
    "sort_by_label_desc": lambda place: place >= 1,
}


@dataclass(frozen=True)
class Derived:
    """A changed script, how to change its queries, and the evals left out with the reason."""

    commands: tuple[Command, ...]
    rewrite: Rewrite
    why_not: tuple[tuple[Eval, str], ...]


def _unchanged(expr: ir.Expr) -> ir.Expr:
    return expr


def as_written(commands: Iterable[Command]) -> Derived:
    """Return the script itself: for a changed store or engine."""
    return Derived(tuple(commands), _unchanged, ())


def _derived(
    commands: Iterable[Command],
    change: Callable[[Command], Command],
    rewrite: Rewrite,
    objection: Callable[[Eval, ir.Expr], str],
) -> Derived:
    kept: list[Command] = []
    why_not: list[tuple[Eval, str]] = []
    for command in commands:
        if isinstance(command, Eval):
            try:
                expr = parse(command.query)
            except QueryError:
                # It fails to be read, whatever the world.
                kept.append(command)
                continue
            if why := objection(command, expr):
                why_not.append((command, why))
                continue
        kept.append(change(command))
    return Derived(tuple(kept), rewrite, tuple(why_not))


def moved(commands: Iterable[Command], by_ms: int) -> Derived:
    """Return the script with all times later by `by_ms`."""

    def grid(each: Grid | None) -> Grid | None:
        return each and replace(each, start_ms=each.start_ms + by_ms, end_ms=each.end_ms + by_ms)

    def change(command: Command) -> Command:
        if isinstance(command, Load):
            return replace(command, origin_ms=command.origin_ms + by_ms)
        if not isinstance(command, Eval):
            return command
        at_ms = None if command.at_ms is None else command.at_ms + by_ms
        return replace(command, at_ms=at_ms, grid=grid(command.grid), matrix=grid(command.matrix))

    def later(node: ir.Expr) -> ir.Expr:
        if isinstance(node, ir.Selector | ir.Subquery) and node.at and node.at.anchor == "time":
            return replace(node, at=replace(node.at, timestamp_ms=node.at.timestamp_ms + by_ms))
        return node

    def objection(_: Eval, expr: ir.Expr) -> str:
        for node in ir.walk(expr):
            if isinstance(node, ir.Call) and node.name in _CLOCK_FUNCTIONS:
                return f"{node.name}() answers with a time"
            if isinstance(node, ir.Call) and node.name in _DATE_FUNCTIONS and not node.args:
                return f"{node.name}() answers with the date"
            if isinstance(node, ir.Subquery) and by_ms % (node.step_ms or 60_000):
                return "the steps of its subquery are multiples of a step that does not divide the move"
        return ""

    return _derived(commands, change, lambda expr: rebuilt(expr, later), objection)


def mirrored(name: str) -> str:
    """Return a label name with a<->z, b<->y ...; names that mean something to the language stay."""
    if name in _NAMED_BY_THE_LANGUAGE:
        return name
    return "".join(chr(219 - ord(c)) if "a" <= c <= "z" else c for c in name)


def renamed(commands: Iterable[Command]) -> Derived:
    """Return the script with every label name mirrored. Texts of expected errors, which name labels, go."""

    def change(command: Command) -> Command:
        if isinstance(command, Load):
            lines = (replace(each, line=_renamed_line(each.line)) for each in command.series)
            return replace(command, series=tuple(lines))
        if not isinstance(command, Eval):
            return command
        says = tuple(Expect("fail") if each.kind == "fail" else each for each in command.says)
        return replace(command, series=tuple(map(_renamed_line, command.series)), says=says)

    def objection(command: Eval, expr: ir.Expr) -> str:
        for node in ir.walk(expr):
            if isinstance(node, ir.Aggregate) and node.op == "limit_ratio":
                return "limit_ratio chooses by a hash of the labels"
            if isinstance(node, ir.Aggregate) and node.op == "limitk":
                return "limitk takes the first series, in the order of their labels"
            if isinstance(node, ir.Call) and node.name.startswith("sort_by_label") and command.ordered:
                return f"{node.name}() breaks ties by the other labels, in the order of their names"
        return ""

    return _derived(commands, change, lambda expr: rebuilt(expr, _renamed_node), objection)


def _renamed_line(line: SeriesLine) -> SeriesLine:
    labels: Labels = tuple(sorted((mirrored(name), value) for name, value in line.labels))
    return replace(line, labels=labels)


def _renamed_node(node: ir.Expr) -> ir.Expr:
    match node:
        case ir.Selector():
            return replace(
                node, matchers=tuple(replace(each, name=mirrored(each.name)) for each in node.matchers)
            )
        case ir.Aggregate():
            param = node.param
            if isinstance(param, ir.StringLiteral):
                param = replace(param, value=mirrored(param.value))
            return replace(node, labels=tuple(map(mirrored, node.labels)), param=param)
        case ir.Binary():
            labels, include = (
                tuple(map(mirrored, each)) for each in (node.matching.labels, node.matching.include)
            )
            return replace(node, matching=replace(node.matching, labels=labels, include=include))
        case ir.Call() if node.name in _LABEL_ARGUMENTS:
            is_label = _LABEL_ARGUMENTS[node.name]
            return replace(
                node,
                args=tuple(
                    replace(arg, value=mirrored(arg.value))
                    if isinstance(arg, ir.StringLiteral) and is_label(place)
                    else arg
                    for place, arg in enumerate(node.args)
                ),
            )
        case _:
            return node


def permuted(commands: Iterable[Command], chance: random.Random) -> Derived:
    """Return the script with the series of each load in another order; of equal ones only the last is kept."""

    def change(command: Command) -> Command:
        if not isinstance(command, Load):
            return command
        last = list({each.line.labels: each for each in command.series}.values())
        chance.shuffle(last)
        return replace(command, series=tuple(last))

    return _derived(commands, change, _unchanged, lambda *_: "")


def halved(commands: Iterable[Command]) -> Derived:
    """Return the script for an engine that asks each range as two."""

    def objection(command: Eval, _: ir.Expr) -> str:
        if found := _ENDS.search(command.query):
            return f"{found.group()} is another time in each half"
        return ""

    return _derived(commands, lambda command: command, _unchanged, objection)


def rebuilt(expr: ir.Expr, change: Rewrite) -> ir.Expr:
    """Return the expression with every node changed, operands first."""

    def below(node: ir.Expr) -> ir.Expr:
        return rebuilt(node, change)

    match expr:
        case ir.RangeSelector():
            selector = below(expr.selector)
            assert isinstance(selector, ir.Selector)
            expr = replace(expr, selector=selector)
        case ir.Subquery() | ir.Negate():
            expr = replace(expr, expr=below(expr.expr))
        case ir.Call():
            expr = replace(expr, args=tuple(map(below, expr.args)))
        case ir.Aggregate():
            expr = replace(
                expr, expr=below(expr.expr), param=None if expr.param is None else below(expr.param)
            )
        case ir.Binary():
            expr = replace(expr, left=below(expr.left), right=below(expr.right))
        case _:
            pass
    return change(expr)
