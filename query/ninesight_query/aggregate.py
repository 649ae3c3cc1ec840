"""Aggregations that give one series per group: sum, avg, min, max, count, group, stddev, stdvar, quantile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Float64, Int64, Labels

from ninesight_query import ir
from ninesight_query import labels as label
from ninesight_query.aggregate_histograms import aggregate_grid, annotate_ignored
from ninesight_query.block import Block, Bool
from ninesight_query.context import Context
from ninesight_query.label_memo import remembered
from ninesight_query.over_time import compensated
from ninesight_query.quantiles import quantile_of_sorted

__all__ = ["Groups", "aggregate", "groups_of"]

T = TypeVar("T", np.float64, np.bool_)

_ZERO = np.array(0.0)

CANCELLATION_MAX = 1e-4
"""Below this share of the sum of magnitudes, a sum is computed again with compensation."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Which series belong together. Rows are gathered group by group: `order`, cut at `starts`."""

    ids: Int64
    """[S]"""
    labels: Sequence[Labels]
    """[G]"""
    order: Int64
    """[S] rows, group by group, each in the order of the block."""
    starts: Int64
    """[G]"""
    sizes: Int64
    """[G] series in each group."""
    in_order: bool
    """Whether the rows lie group by group already."""

    def gather(self, values: npt.NDArray[T]) -> npt.NDArray[T]:
        """Return rows group by group; no copy where they lie so already."""
        return values if self.in_order else values[self.order]


def groups_of(block: Block, names: Sequence[str], *, without: bool) -> Groups:
    """Group by the named labels, or by all but them and the metric name."""
    key = ("groups", without, tuple(names))
    make = partial(_groups_of, block.labels, names, without=without)
    return remembered(block.labels, key, make, lambda groups: groups.labels)


def _groups_of(all_labels: Sequence[Labels], names: Sequence[str], *, without: bool) -> Groups:
    labels: list[Labels]
    if not without and not names:
        ids, labels = np.zeros(len(all_labels), np.int64), [()] if len(all_labels) else []
    elif without:
        unwanted = frozenset(names) | {label.METRIC_NAME}
        ids, labels = label.group_ids(
            all_labels, lambda each: tuple(pair for pair in each if pair[0] not in unwanted)
        )
    else:
        wanted = frozenset(names)
        ids, labels = label.group_ids(
            all_labels, lambda each: tuple(pair for pair in each if pair[0] in wanted)
        )
    order = np.argsort(ids, kind="stable")
    starts = np.searchsorted(ids[order], np.arange(len(labels)))
    sizes = np.diff(np.append(starts, len(order)))
    return Groups(ids, labels, order, starts, sizes, bool((np.diff(ids) >= 0).all()))


def aggregate(node: ir.Aggregate, block: Block, param: Float64 | None, context: Context) -> Block:
    """Evaluate one of these aggregations; `param` is the q of quantile, [T]."""
    groups = groups_of(block, node.labels, without=node.without)
    number_of_groups, steps = len(groups.labels), block.values.shape[1]
    if not number_of_groups:
        return Block.empty(steps)
    context.check_cells(number_of_groups, steps)
    drop_name = np.zeros(number_of_groups, np.bool_)
    if np.count_nonzero(block.drop_name):
        marked = block.drop_name & block.exists.any(axis=1)
        drop_name = np.logical_or.reduceat(groups.gather(marked), groups.starts)
    present = groups.gather(block.present)
    histograms = None if block.held is None else block.has_histogram
    if node.op in ("count", "group"):
        exists = present if histograms is None else groups.gather(block.exists)
        number = np.add.reduceat(exists, groups.starts, axis=0, dtype=np.float64)
        values = number if node.op == "count" else np.ones_like(number)
        return Block(groups.labels, values, number > 0, drop_name)
    values = groups.gather(block.values)
    whole = np.count_nonzero(present) == present.size
    if whole and node.op == "sum":
        floats, there = _sums(groups, values, None), np.ones((number_of_groups, steps), np.bool_)
    else:
        number = np.add.reduceat(present, groups.starts, axis=0, dtype=np.float64)
        there = number > _ZERO
        floats = _floats(node.op, groups, values, present, number, param)
    if histograms is None:
        return Block(groups.labels, floats, there, drop_name)
    if node.op not in ("sum", "avg"):
        annotate_ignored(node.op, context)
        return Block(groups.labels, floats, there, drop_name)
    held = aggregate_grid(node.op, groups.ids, block, there, context)
    return Block(groups.labels, floats, there, drop_name, held)


def _floats(
    op: str, groups: Groups, values: Float64, present: Bool, number: Float64, param: Float64 | None
) -> Float64:
    match op:
        case "sum":
            return _sums(groups, values, present)
        case "avg":
            return _means(groups, values, present, number)
        case "min":
            return np.fmin.reduceat(np.where(present, values, np.nan), groups.starts, axis=0)
        case "max":
            return np.fmax.reduceat(np.where(present, values, np.nan), groups.starts, axis=0)
        case "stddev":
            return np.sqrt(_variance(groups, values, present, number))
        case "stdvar":
            return _variance(groups, values, present, number)
        case _:
            assert param is not None
            return _quantiles(groups, values, present, number, param)


def _sums(groups: Groups, values: Float64, some: Bool | None) -> Float64:
    """Add rows that lie group by group; `some`: where a value counts, None: everywhere."""
    masked = values if some is None else np.where(some, values, 0.0)
    total: Float64 = np.add.reduceat(masked, groups.starts, axis=0)
    if not np.count_nonzero(masked < _ZERO):
        return total
    present = np.ones(values.shape, np.bool_) if some is None else some
    magnitude = np.add.reduceat(np.abs(masked), groups.starts, axis=0)
    doubtful = np.isfinite(total) & (np.abs(total) < CANCELLATION_MAX * magnitude)
    doubtful |= ~np.isfinite(total) & np.isfinite(np.maximum.reduceat(np.abs(masked), groups.starts, axis=0))
    return _again(groups, masked, present, total, doubtful, means=False)


def _means(groups: Groups, values: Float64, present: Bool, number: Float64) -> Float64:
    masked = values if present.all() else np.where(present, values, 0.0)
    total = np.add.reduceat(masked, groups.starts, axis=0)
    magnitude = np.add.reduceat(np.abs(masked), groups.starts, axis=0)
    overflow = ~np.isfinite(total) & np.isfinite(np.maximum.reduceat(np.abs(masked), groups.starts, axis=0))
    doubtful = overflow | (np.isfinite(total) & (np.abs(total) < CANCELLATION_MAX * magnitude))
    return _again(groups, masked, present, total / number, doubtful, means=True)


def _again(
    groups: Groups, masked: Float64, present: Bool, result: Float64, doubtful: Bool, *, means: bool
) -> Float64:
    """Recompute doubtful cells group by group, adding row after row with compensation."""
    ends = np.append(groups.starts[1:], len(masked))
    for group in np.flatnonzero(doubtful.any(axis=1)):
        rows = slice(int(groups.starts[group]), int(ends[group]))
        steps = np.flatnonzero(doubtful[group])
        part, there = masked[rows][:, steps], present[rows][:, steps]
        result[group, steps] = _kahan_means(part, there) if means else _kahan_sum(part)
    return result


def _kahan_sum(rows: Float64) -> Float64:
    total, lost = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for row in rows:
        total, lost = compensated(row, total, lost)
    return total + lost


def _kahan_means(rows: Float64, present: Bool) -> Float64:
    """Direct mean while the sum is finite, incremental from there on."""
    shape = rows.shape[1]
    total, lost, mean, seen = (np.zeros(shape) for _ in range(4))
    incremental = np.zeros(shape, np.bool_)
    for row, inside in zip(rows, present, strict=True):
        after = seen + inside
        new_total, new_lost = compensated(row, total, lost)
        overflow = inside & (seen > 0) & ~incremental & np.isinf(new_total)
        mean = np.where(overflow, total / seen, mean)
        lost = np.where(overflow, lost / seen, lost)
        incremental |= overflow
        direct = inside & ~incremental
        total, lost = np.where(direct, new_total, total), np.where(direct, new_lost, lost)
        share = seen / after
        step_mean, step_lost = compensated(row / after, share * mean, share * lost)
        stepping = inside & incremental
        mean, lost = np.where(stepping, step_mean, mean), np.where(stepping, step_lost, lost)
        seen = after
    return np.where(incremental, mean + lost, total / seen + lost / seen)


def _variance(groups: Groups, values: Float64, present: Bool, number: Float64) -> Float64:
    """Population variance in two passes over the distances from the smallest value."""
    pivot = np.fmin.reduceat(np.where(present, values, np.nan), groups.starts, axis=0)
    distance = np.where(present, values - np.repeat(pivot, groups.sizes, axis=0), 0.0)
    mean = np.add.reduceat(distance, groups.starts, axis=0) / number
    squares = np.where(present, (distance - np.repeat(mean, groups.sizes, axis=0)) ** 2, 0.0)
    return np.add.reduceat(squares, groups.starts, axis=0) / number


def _quantiles(groups: Groups, values: Float64, present: Bool, number: Float64, q: Float64) -> Float64:
    out = np.empty((len(groups.starts), values.shape[1]))
    ends = np.append(groups.starts[1:], len(values))
    for group, (start, end) in enumerate(zip(groups.starts, ends, strict=True)):
        part, there = values[start:end], present[start:end]
        missing = (np.isnan(part) & there).sum(axis=0)
        ordered = np.sort(np.where(there, np.where(np.isnan(part), -np.inf, part), np.inf), axis=0)
        if missing.any():
            ordered = np.where(np.arange(len(part))[:, None] < missing, np.nan, ordered)
        size = number[group].astype(np.int64)
        out[group] = quantile_of_sorted(q, ordered.T[None], size[None])[0]
    return out
