"""Aggregations that pick series of a group: topk, bottomk, limitk, limit_ratio; and count_values."""

from __future__ import annotations

import hashlib

import numpy as np
from ninesight_store.contract import Float64, Labels

from ninesight_query import ir
from ninesight_query import labels as label
from ninesight_query.aggregate import Groups, groups_of
from ninesight_query.aggregate_histograms import annotate_ignored
from ninesight_query.block import Block, Bool, merge_same_labels
from ninesight_query.context import Context
from ninesight_query.errors import ExecutionError
from ninesight_query.syntax.literals import is_utf8, quote
from ninesight_query.text import format_float, format_histogram

__all__ = ["count_values", "ranked"]

INT64_LIMIT = 2.0**63


def ranked(node: ir.Aggregate, block: Block, param: Float64, context: Context) -> Block:
    """Evaluate topk, bottomk, limitk or limit_ratio; `param` is k or the ratio, [T]."""
    groups = groups_of(block, node.labels, without=node.without)
    wanted = _checked(node.op, param, context)
    if not len(block):
        return Block.empty(block.steps)
    if node.op == "limit_ratio":
        return _masked(block, block.exists & _ratio(block, wanted))
    exists = block.exists if node.op == "limitk" else block.present
    if node.op != "limitk" and block.held is not None:
        annotate_ignored(node.op, context)
    if block.steps == 1 and node.op in ("topk", "bottomk"):
        return _best(block, float(wanted[0]), groups, descending=node.op == "topk")
    mask = np.zeros(exists.shape, np.bool_)
    ends = np.append(groups.starts[1:], len(block))
    for start, end in zip(groups.starts, ends, strict=True):
        rows = groups.order[start:end]
        if node.op == "limitk":
            mask[rows] = exists[rows] & (np.cumsum(exists[rows], axis=0) <= wanted)
        else:
            mask[rows] = _top(block.values[rows], exists[rows], wanted, descending=node.op == "topk")
    return _masked(block, mask)


def _checked(op: str, param: Float64, context: Context) -> Float64:
    if np.isnan(param).any():
        what = "Ratio" if op == "limit_ratio" else "Parameter"
        raise ExecutionError(f"{what} value is NaN")
    if op == "limit_ratio":
        for ratio in np.unique(param[np.abs(param) > 1.0]):
            context.annotations.invalid_ratio(float(ratio), 1.0 if ratio > 0 else -1.0)
        return np.clip(param, -1.0, 1.0)
    outside = param[np.abs(param) >= INT64_LIMIT]
    if len(outside):
        raise ExecutionError(f"Scalar value {outside[0]:g} overflows int64")
    return np.trunc(param)


def _top(values: Float64, there: Bool, wanted: Float64, *, descending: bool) -> Bool:
    """Mark the k largest (or smallest) of each column; NaN comes last, earlier rows win ties."""
    key = np.where(np.isnan(values), np.inf, -values if descending else values)
    kind = np.where(there, np.where(np.isnan(values), 1, 0), 2)
    order = np.lexsort((key, kind), axis=0)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(len(values))[:, None], axis=0)
    return there & (rank < wanted)


def _masked(block: Block, mask: Bool) -> Block:
    rows = np.flatnonzero(mask.any(axis=1))
    return block.take(rows).masked(mask[rows])


def _best(block: Block, wanted: float, groups: Groups, *, descending: bool) -> Block:
    """Return the k largest (or smallest) of the one column of an instant query: group by group, best first."""
    rows = np.flatnonzero(block.present[:, 0])
    values = block.values[rows, 0]
    nan = np.isnan(values)
    key = np.where(nan, np.inf, -values if descending else values)
    ids = groups.ids[rows]
    order = np.lexsort((nan, key, ids))
    ids = ids[order]
    rank = np.arange(len(order)) - ids.searchsorted(ids)
    out = block.take(rows[order[rank < wanted]])
    return Block(out.labels, out.values, out.present, out.drop_name, ordered=True)


def _ratio(block: Block, ratio: Float64) -> Bool:
    """Mark series by a fixed number that each draws from its labels."""
    offsets = np.array([_drawn(labels) for labels in block.labels]).reshape(-1, 1)
    return np.where(ratio >= 0, offsets < ratio, offsets >= 1.0 + ratio).astype(np.bool_)


def _drawn(labels: Labels) -> float:
    """Return a number in [0, 1) that depends on the labels alone."""
    digest = hashlib.blake2b(repr(labels).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2.0**48


def count_values(node: ir.Aggregate, block: Block, name: str, context: Context) -> Block:
    """Count equal values per group; the value becomes the label `name`."""
    if not name or not is_utf8(name):
        raise ExecutionError(f"invalid label name {quote(name)}")
    exists = block.exists
    counts: dict[Labels, Float64] = {}
    names = frozenset(node.labels) | (frozenset() if node.without else {name})
    for row, labels in enumerate(block.labels):
        context.check_deadline()
        for shown, steps in _distinct(block, exists[row], row):
            key = label.with_label(labels, name, shown)
            key = label.remove(key, names | {label.METRIC_NAME}) if node.without else label.keep(key, names)
            if key not in counts:
                context.check_cells(len(counts) + 1, block.steps)
                context.check_text(len(shown))
                counts[key] = np.zeros(block.steps)
            counts[key][steps] += 1.0
    if not counts:
        return Block.empty(block.steps)
    values = np.array(list(counts.values()))
    return merge_same_labels(Block(list(counts), values, values > 0, np.zeros(len(values), np.bool_)))


def _distinct(block: Block, exists: Bool, row: int) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for step in np.flatnonzero(exists).tolist():
        point = None if block.histograms is None else block.histograms[row, step]
        shown = format_float(float(block.values[row, step])) if point is None else format_histogram(point)
        found.setdefault(shown, []).append(step)
    return list(found.items())
