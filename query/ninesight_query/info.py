"""info(): adds the data labels of info metrics (target_info by default) that share `instance` and `job`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from ninesight_store.contract import Int64, Labels, Matcher, MatchOp
from ninesight_store.matchers import compile_matcher

from ninesight_query import ir
from ninesight_query import labels as label
from ninesight_query.block import Block, Grid, join_rows, merge_same_labels
from ninesight_query.context import Context
from ninesight_query.errors import ExecutionError
from ninesight_query.select import instant

__all__ = ["info"]

IDENTIFYING = ("instance", "job")
TARGET_INFO = Matcher(label.METRIC_NAME, MatchOp.EQUAL, "target_info")
ANY_INFO = Matcher(label.METRIC_NAME, MatchOp.REGEX, ".+_info")
"""What "not this metric" is taken from."""
_META = frozenset("\\.+*?()|[]{}^$")

Signature = tuple[str, Labels]


def info(base: Block, argument: ir.Expr, data: ir.Selector | None, grid: Grid, context: Context) -> Block:
    """Join info metrics to every series of `base`; `data` limits which metrics and which labels."""
    given = () if data is None else data.matchers
    name_matchers = [m for m in given if m.name == label.METRIC_NAME]
    wanted: dict[str, list[Matcher]] = {}
    for matcher in given:
        if matcher.name != label.METRIC_NAME:
            wanted.setdefault(matcher.name, []).append(matcher)
    ignored_by = name_matchers if data is not None else [TARGET_INFO]
    names_metrics = any(matcher.op in (MatchOp.EQUAL, MatchOp.REGEX) for matcher in ignored_by)
    ignored = [
        names_metrics and _accept(ignored_by, label.get(labels, label.METRIC_NAME)) for labels in base.labels
    ]
    if not name_matchers:
        name_matchers = [TARGET_INFO]
    elif not names_metrics:
        name_matchers.append(ANY_INFO)
    matchers = _info_matchers(base, ignored, name_matchers, wanted)
    found = None if matchers is None else _newest(ir.Selector(matchers, *_reference(argument)), grid, context)
    winners = {} if found is None else _winners(found)
    names = sorted({name for name, _ in winners})
    passes_unmatched = all(_accept(matchers, "") for matchers in wanted.values())
    parts = []
    for row, labels in enumerate(base.labels):
        one = base.take([row])
        if ignored[row] or found is None:
            if ignored[row] or passes_unmatched:
                parts.append(one)
            continue
        identity = label.keep(labels, IDENTIFYING)
        newest = [winners.get((name, identity)) for name in names]
        parts += _enriched(
            one, [each for each in newest if each is not None], found, wanted, passes_unmatched
        )
    return merge_same_labels(join_rows(parts, base.steps))


def _accept(matchers: Iterable[Matcher], value: str) -> bool:
    return all(compile_matcher(matcher).accepts(value) for matcher in matchers)


def _reference(expr: ir.Expr) -> tuple[int, ir.At | None]:
    """Return offset and `@` under which the first selector of an expression is read, subqueries included."""
    offset_ms, at = 0, None
    node: ir.Expr | None = expr
    while node is not None:
        if isinstance(node, ir.Selector | ir.Subquery):
            offset_ms, at = (node.offset_ms, node.at) if node.at else (offset_ms + node.offset_ms, at)
        if isinstance(node, ir.Selector):
            return offset_ms, at
        selecting = (child for child in ir.children(node) if _selects(child))
        node = next(selecting, None)
    return 0, None


def _selects(expr: ir.Expr) -> bool:
    return any(isinstance(node, ir.Selector) for node in ir.walk(expr))


def _newest(selector: ir.Selector, grid: Grid, context: Context) -> Block:
    """Return the time in seconds of each info series' newest sample."""
    if instant(selector, grid, context).held is not None:
        raise ExecutionError("info sample should be float")
    return instant(selector, grid, context, timestamps=True)


def _info_matchers(
    base: Block, ignored: list[bool], names: list[Matcher], wanted: Mapping[str, list[Matcher]]
) -> tuple[Matcher, ...] | None:
    values: dict[str, set[str]] = {}
    for row, labels in enumerate(base.labels):
        for name in IDENTIFYING:
            value = label.get(labels, name)
            if value and not ignored[row]:
                values.setdefault(name, set()).add(value)
    if not values:
        return None
    matchers = [*names, *(matcher for each in wanted.values() for matcher in each)]
    for name, known in values.items():
        pattern = "|".join("".join("\\" + c if c in _META else c for c in value) for value in sorted(known))
        matchers.append(Matcher(name, MatchOp.REGEX, pattern))
    return tuple(matchers)


def _winners(found: Block) -> dict[Signature, Int64]:
    """Return, by metric and identity, the row of the newest info series at each step, -1 for none: [T]."""
    groups: dict[Signature, list[int]] = {}
    for row, labels in enumerate(found.labels):
        key = (label.get(labels, label.METRIC_NAME), label.keep(labels, IDENTIFYING))
        groups.setdefault(key, []).append(row)
    out = {}
    for key, members in groups.items():
        rows = np.array(members)
        times = np.where(found.present[rows], found.values[rows], -np.inf)
        best = times.max(axis=0)
        there = np.isfinite(best)
        tie = ((times == best) & there).sum(axis=0) > 1
        if tie.any():
            step = int(np.argmax(tie))
            first, second = (found.labels[row] for row in rows[times[:, step] == best[step]][:2])
            at_ms = round(float(best[step]) * 1000)
            raise ExecutionError(
                f"found duplicate series for info metric: existing {label.show(first)} @ {at_ms}, "
                f"new {label.show(second)} @ {at_ms}"
            )
        out[key] = np.where(there, rows[np.argmax(times, axis=0)], -1)
    return out


def _enriched(
    one: Block,
    newest: list[Int64],
    found: Block,
    wanted: Mapping[str, list[Matcher]],
    passes_unmatched: bool,
) -> list[Block]:
    """Return the series once per distinct set of info series that it meets over the steps."""
    choices = np.array(newest).reshape(len(newest), one.steps)
    sets, which = np.unique(choices, axis=1, return_inverse=True)
    parts = []
    for number in range(sets.shape[1]):
        rows = [int(row) for row in sets[:, number] if row >= 0]
        mask = np.asarray(which).reshape(-1) == number
        if not (rows or passes_unmatched) or not bool((one.exists[0] & mask).any()):
            continue
        names = _with_data(one.labels[0], [found.labels[row] for row in rows], wanted)
        kept = one.masked(mask)
        parts.append(Block([names], kept.values, kept.present, kept.drop_name, kept.histograms))
    return parts


def _with_data(labels: Labels, infos: list[Labels], wanted: Mapping[str, list[Matcher]]) -> Labels:
    own = {name for name, _ in labels}
    added: dict[str, str] = {}
    for each in infos:
        for name, value in each:
            if name == label.METRIC_NAME or (wanted and name not in wanted):
                continue
            if added.get(name, value) != value:
                raise ExecutionError(f"conflicting label: {name}")
            if name not in own:
                added[name] = value
    return tuple(sorted([*labels, *added.items()]))
