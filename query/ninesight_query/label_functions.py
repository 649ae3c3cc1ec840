"""label_replace, label_join, the sorts, absent: functions of labels rather than values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ninesight_store.contract import Labels, MatchOp
from ninesight_store.pattern import PatternCostError, pattern_of
from ninesight_store.regex import RegexError

from ninesight_query import ir
from ninesight_query import labels as label
from ninesight_query.block import Block, Bool, merge_same_labels
from ninesight_query.context import Context
from ninesight_query.errors import ExecutionError

__all__ = ["absent", "absent_labels", "label_join", "label_replace", "sort_by_label", "sort_by_value"]

LABEL_CHARACTERS_MAX = 65_536
"""Of a value that a function makes; nested calls would else multiply it without end."""

_GROUP = re.compile(r"\$(?:\$|([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})")


def label_replace(
    block: Block, target: str, template: str, source: str, pattern: str, context: Context
) -> Block:
    """Set a label from a regular expression over another; series that do not match stay as they are."""
    try:
        matcher = pattern_of(pattern, captures=True)
    except (RegexError, PatternCostError):
        raise ExecutionError(f"invalid regular expression in label_replace(): {pattern}") from None
    _check_name(target, "invalid destination label name in label_replace()")
    expand = _expander(template)
    cache: dict[str, str | None] = {}

    def rename(labels: Labels) -> Labels | None:
        value = label.get(labels, source)
        if value not in cache:
            try:
                found = matcher.captured(value)
            except PatternCostError as error:
                raise ExecutionError(f"the pattern {pattern[:200]!r} takes too long: {error}") from error
            made = None if found is None else expand(found)
            context.check_deadline()
            context.check_text(len(made or ""))
            cache[value] = made
        new = cache[value]
        return None if new is None else label.with_label(labels, target, new)

    return _renamed(block, rename, target)


def _expander(template: str) -> Callable[[Mapping[int | str, str]], str]:
    """Return a function that fills $1, ${name} and $$ as Go's Regexp.Expand does."""

    def expand(captured: Mapping[int | str, str]) -> str:
        def fill(found: re.Match[str]) -> str:
            name = found.group(1) or found.group(2)
            if name is None:
                return "$"
            # A number of many digits names no group.
            return captured.get(int(name) if name.isdecimal() and len(name) < 9 else name, "")

        size = sum(len(fill(found)) for found in _GROUP.finditer(template))
        _check_size(size)
        return _GROUP.sub(fill, template)

    return expand


def label_join(block: Block, target: str, separator: str, sources: Sequence[str], context: Context) -> Block:
    """Set a label to the joined values of others."""
    for source in sources:
        _check_name(source, "invalid source label name in label_join()")
    _check_name(target, "invalid destination label name in label_join()")

    def rename(labels: Labels) -> Labels:
        values = dict(labels)
        parts = [values.get(name, "") for name in sources]
        size = sum(map(len, parts)) + len(separator) * len(parts)
        _check_size(size)
        context.check_text(size)
        return label.with_label(labels, target, separator.join(parts))

    return _renamed(block, rename, target)


def _check_name(name: str, message: str) -> None:
    if not name or any("\ud800" <= char <= "\udfff" for char in name):
        raise ExecutionError(f"{message}: {name}")


def _check_size(characters: int) -> None:
    if characters > LABEL_CHARACTERS_MAX:
        raise ExecutionError(
            f"a label value must have at most {LABEL_CHARACTERS_MAX} characters, got {characters}; "
            "take fewer or shorter parts in label_replace() and label_join()"
        )


def _renamed(block: Block, rename: Callable[[Labels], Labels | None], target: str) -> Block:
    drop_name = block.drop_name.copy()
    names = []
    for row, labels in enumerate(block.labels):
        new = rename(labels)
        names.append(labels if new is None else new)
        if new is not None and target == label.METRIC_NAME:
            drop_name[row] = False
    out = Block(names, block.values, block.present, drop_name, block.held, block.ordered)
    return merge_same_labels(out)


def sort_by_value(block: Block, *, descending: bool) -> Block:
    """Order floats by value, NaN last; only an instant query keeps the order."""
    if block.steps != 1:
        return block.floats(block.values)
    rows = np.flatnonzero(block.present[:, 0])
    values = block.values[rows, 0]
    key = np.where(np.isnan(values), np.inf, -values if descending else values)
    out = block.take(rows[np.lexsort((np.isnan(values), key))])
    return Block(out.labels, out.values, out.present, out.drop_name, ordered=True)


_DIGITS = re.compile(r"(\d+)")


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Key for natural order: runs of digits compare as numbers."""
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(text) if part
    ]


def sort_by_label(block: Block, names: Sequence[str], *, descending: bool) -> Block:
    """Order by the values of labels in natural order, then by all labels."""
    if block.steps != 1:
        return block

    def key(row: int) -> tuple[list[list[tuple[int, int, str]]], Labels]:
        values = dict(block.labels[row])
        return [_natural(values.get(name, "")) for name in names], block.labels[row]

    rows = sorted(range(len(block)), key=key, reverse=descending)
    out = block.take(rows)
    out.ordered = True
    return out


def absent_labels(expr: ir.Expr) -> Labels:
    """Return the labels that the missing series would have: those of unique = matchers."""
    selector = expr.selector if isinstance(expr, ir.RangeSelector) else expr
    if not isinstance(selector, ir.Selector):
        return ()
    found: dict[str, str] = {}
    ambiguous: set[str] = set()
    for matcher in selector.matchers:
        if matcher.name == label.METRIC_NAME:
            continue
        if matcher.op is MatchOp.EQUAL and matcher.name not in found and matcher.name not in ambiguous:
            found[matcher.name] = matcher.value
        else:
            ambiguous.add(matcher.name)
    return tuple(sorted((n, v) for n, v in found.items() if v and n not in ambiguous))


def absent(exists: Bool, expr: ir.Expr) -> Block:
    """1 at the steps where no series [S, T] exists."""
    missing = ~np.asarray(exists.any(axis=0), np.bool_)
    if not missing.any():
        return Block.empty(len(missing))
    return Block.of_row(absent_labels(expr), np.ones(len(missing)), missing)
