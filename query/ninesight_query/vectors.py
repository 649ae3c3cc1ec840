"""Binary operators between two vectors: arithmetic, comparison, fill, and the set operators."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ninesight_store.contract import Float64, Int64, Labels

from ninesight_query import ir
from ninesight_query import labels as label
from ninesight_query.binary import ARITHMETIC, COMPARISONS, TRIMS
from ninesight_query.block import Block, Bool, Objects, filled, join_rows, merge_same_labels
from ninesight_query.context import Context
from ninesight_query.join import Pairs, check_many_side, join_of, match_ids, result_labels
from ninesight_query.operate_histograms import operate_cells

__all__ = ["set_operation", "vector_vector"]


class _Cells(NamedTuple):
    """What an operator gives for pairs of series: [P, T] each."""

    values: Float64
    present: Bool
    histograms: Objects | None


def vector_vector(node: ir.Binary, left: Block, right: Block, context: Context) -> Block:
    """Arithmetic and comparison of two vectors."""
    matching = node.matching
    filled = matching.fill_left is not None or matching.fill_right is not None
    lefts, rights, steps = len(left.labels), len(right.labels), left.values.shape[1]
    if not (lefts or rights) or (not filled and not (lefts and rights)):
        return Block.empty(steps)
    drop = node.op in ARITHMETIC or (node.return_bool and not context.settings.delayed_name_removal)
    joined = join_of(left, right, matching, drop=drop, context=context)
    swapped = matching.cardinality is ir.Cardinality.ONE_TO_MANY
    many, one = (right, left) if swapped else (left, right)
    pairs, names = joined.pairs, joined.names
    context.check_cells(len(pairs.many), steps)
    both: Bool | None = None
    if joined.ambiguous or many.held is not None or one.held is not None:
        both = many.exists[pairs.many] & one.exists[pairs.one]
        if joined.ambiguous:
            check_many_side(pairs, both, names, matching)
    part = _paired(node, many, one, pairs, names, both, swapped=swapped, context=context)
    if not filled:
        return part if joined.distinct else merge_same_labels(part)
    ids = joined.many_ids, joined.one_ids
    parts = [part, *_filled(node, many, one, *ids, drop=drop, swapped=swapped, context=context)]
    return merge_same_labels(join_rows([part for part in parts if len(part)], left.steps))


def _paired(
    node: ir.Binary,
    many: Block,
    one: Block,
    pairs: Pairs,
    names: list[Labels],
    both: Bool | None,
    *,
    swapped: bool,
    context: Context,
) -> Block:
    many_values, many_present = many.values, many.present
    if not pairs.whole_many:
        many_values, many_present = many_values[pairs.many], many_present[pairs.many]
    one_values, one_present = one.values, one.present
    if not pairs.whole_one:
        one_values, one_present = one_values[pairs.one], one_present[pairs.one]
    points: tuple[Objects | None, Objects | None] = None, None
    if many.held is not None or one.held is not None:
        points = _histogram_rows(many, pairs.many), _histogram_rows(one, pairs.one)
    values = (one_values, many_values) if swapped else (many_values, one_values)
    histograms = points[::-1] if swapped else points
    out = _operated(node, *values, many_present & one_present, *histograms, both, context)
    drop_name = np.ones(len(names), np.bool_) if node.return_bool else many.drop_name[pairs.many]
    return Block(names, out.values, out.present, drop_name, out.histograms)


def _histogram_rows(block: Block, rows: Int64) -> Objects | None:
    return None if block.held is None or block.histograms is None else block.histograms[rows]


def _operated(
    node: ir.Binary,
    left: Float64,
    right: Float64,
    floats: Bool,
    left_histograms: Objects | None,
    right_histograms: Objects | None,
    both: Bool | None,
    context: Context,
) -> _Cells:
    """Apply the operator cell by cell; `both`, where the two sides stand, is only of interest to histograms."""
    values, present, histograms = left, floats, None
    if node.op in COMPARISONS:
        holds = COMPARISONS[node.op](left, right)
        if node.return_bool:
            values = holds.astype(np.float64)
        else:
            present = floats & holds
    elif node.op in TRIMS:
        if floats.any():
            context.annotations.incompatible_types("float", node.op, "float")
        present = np.zeros_like(floats)
    else:
        values = ARITHMETIC[node.op](left, right)
    if left_histograms is not None or right_histograms is not None:
        number = left if left_histograms is None else right
        if left_histograms is not None and right_histograms is not None:
            number = np.where(filled(left_histograms), right, left)
        cells = operate_cells(
            node.op,
            number,
            left_histograms,
            right_histograms,
            return_bool=node.return_bool,
            context=context,
            there=both,
        )
        values = np.where(cells.is_float, cells.floats, values)
        present, histograms = present | cells.is_float, cells.histograms
    return _Cells(values, present, histograms)


def _filled(
    node: ir.Binary,
    many: Block,
    one: Block,
    many_ids: Int64,
    one_ids: Int64,
    *,
    drop: bool,
    swapped: bool,
    context: Context,
) -> list[Block]:
    """Results of series without a partner at a step, with the fill value in the partner's place."""
    matching = node.matching
    # As in Prometheus, fill_left stands in for the many side, whichever side of the operator that is.
    many_fill, one_fill = matching.fill_left, matching.fill_right
    parts = []
    for block, ids, other, other_ids, fill, is_many in (
        (many, many_ids, one, one_ids, one_fill, True),
        (one, one_ids, many, many_ids, many_fill, False),
    ):
        if fill is None or not len(block):
            continue
        alone = block.exists & ~_group_exists(other, other_ids, ids)
        rows = np.flatnonzero(alone.any(axis=1))
        if not len(rows):
            continue
        stand_in = _stand_in(block.take(rows), matching, fill)
        pairs = Pairs(np.arange(len(rows)), np.arange(len(rows)), ids[rows])
        here = block.take(rows)
        first, second = (here, stand_in) if is_many else (stand_in, here)
        names = result_labels(first.labels, second.labels, pairs, matching, drop_metadata=drop)
        masked = here.masked(alone[rows])
        first, second = (masked, stand_in) if is_many else (stand_in, masked)
        check_many_side(pairs, alone[rows], names, matching)
        parts.append(
            _paired(node, first, second, pairs, names, alone[rows], swapped=swapped, context=context)
        )
    return parts


def _stand_in(block: Block, matching: ir.Matching, fill: float) -> Block:
    signature = label.signature_of(matching.on, matching.labels)
    return Block(
        [signature(labels) for labels in block.labels],
        np.full(block.values.shape, fill),
        np.ones(block.values.shape, np.bool_),
        np.zeros(len(block), np.bool_),
    )


def _group_exists(block: Block, ids: Int64, wanted: Int64) -> Bool:
    """Return, for each wanted group, at which steps the block has a series of it: [W, T]."""
    number = int(max(ids.max(initial=-1), wanted.max(initial=-1))) + 1
    out = np.zeros((number, block.steps), np.bool_)
    if len(block):
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        starts = np.flatnonzero(np.concatenate(([True], np.diff(ordered) != 0)))
        out[ordered[starts]] = np.logical_or.reduceat(block.exists[order], starts, axis=0)
    return out[wanted]


def set_operation(node: ir.Binary, left: Block, right: Block) -> Block:
    """`and`, `or`, `unless`."""
    left_ids, right_ids = match_ids(left.labels, right.labels, node.matching)
    if node.op == "or":
        hidden = _group_exists(left, left_ids, right_ids)
        rest = right.masked(~hidden)
        rows = np.flatnonzero(rest.exists.any(axis=1))
        parts = [part for part in (left, rest.take(rows)) if len(part)]
        return merge_same_labels(join_rows(parts, left.steps))
    matched = _group_exists(right, right_ids, left_ids)
    return left.masked(matched if node.op == "and" else ~matched)
