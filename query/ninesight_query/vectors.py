"""Binary operators between two vectors: arithmetic, comparison, fill, and the set operators."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Float64, Int64, Labels

from ninesight_query import ir
from ninesight_query import labels as label
from ninesight_query.binary import ARITHMETIC, COMPARISONS, TRIMS, arithmetic, compare
from ninesight_query.block import Block, Bool, Objects, filled, join_rows, merge_same_labels
from ninesight_query.context import Context
from ninesight_query.join import Pairs, check_many_side, join_of, match_ids, result_labels
from ninesight_query.operate_histograms import operate_cells

__all__ = ["set_operation", "vector_vector"]


T = TypeVar("T", np.float64, np.bool_)


def vector_vector(node: ir.Binary, left: Block, right: Block, context: Context) -> Block:
    """Arithmetic and comparison of two vectors."""
    matching = node.matching
    filled = matching.fill_left is not None or matching.fill_right is not None
    if not (len(left) or len(right)) or (not filled and not (len(left) and len(right))):
        return Block.empty(left.steps)
    drop = node.op in ARITHMETIC or (node.return_bool and not context.settings.delayed_name_removal)
    joined = join_of(left, right, matching, drop=drop, context=context)
    swapped = matching.cardinality is ir.Cardinality.ONE_TO_MANY
    many, one = (right, left) if swapped else (left, right)
    pairs, names = joined.pairs, joined.names
    context.check_cells(len(pairs.many), left.steps)
    both = _taken(many.exists, pairs.many) & _taken(one.exists, pairs.one)
    if joined.ambiguous:
        check_many_side(pairs, both, names, matching)
    parts = [_paired(node, many, one, pairs, names, both, swapped=swapped, context=context)]
    if filled:
        ids = joined.many_ids, joined.one_ids
        parts += _filled(node, many, one, *ids, drop=drop, swapped=swapped, context=context)
    return merge_same_labels(join_rows([part for part in parts if len(part)], left.steps))


def _paired(
    node: ir.Binary,
    many: Block,
    one: Block,
    pairs: Pairs,
    names: list[Labels],
    both: Bool,
    *,
    swapped: bool,
    context: Context,
) -> Block:
    left, right = (one, many) if swapped else (many, one)
    left_rows, right_rows = (pairs.one, pairs.many) if swapped else (pairs.many, pairs.one)
    drop_name = many.drop_name[pairs.many] | node.return_bool
    out = _operated(
        node,
        _taken(left.values, left_rows),
        _taken(right.values, right_rows),
        _taken(left.present, left_rows) & _taken(right.present, right_rows),
        _histogram_rows(left, left_rows),
        _histogram_rows(right, right_rows),
        both,
        context,
    )
    return Block(names, out.values, out.present, drop_name, out.histograms)


def _taken(values: npt.NDArray[T], rows: Int64) -> npt.NDArray[T]:
    """Return rows of an array, itself where all are asked for in order."""
    if len(rows) == len(values) and (rows[1:] > rows[:-1]).all():
        return values
    return values[rows]


def _histogram_rows(block: Block, rows: Int64) -> Objects | None:
    return None if block.histograms is None else block.histograms[rows]


def _operated(
    node: ir.Binary,
    left: Float64,
    right: Float64,
    floats: Bool,
    left_histograms: Objects | None,
    right_histograms: Objects | None,
    both: Bool,
    context: Context,
) -> Block:
    """Apply the operator cell by cell; the result has no labels yet."""
    values, present, histograms = left, floats, None
    if node.op in COMPARISONS:
        holds = compare(node.op, left, right)
        if node.return_bool:
            values = holds.astype(np.float64)
        else:
            present = floats & holds
    elif node.op in TRIMS:
        if floats.any():
            context.annotations.incompatible_types("float", node.op, "float")
        present = np.zeros_like(floats)
    else:
        values = arithmetic(node.op, left, right)
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
    labels: list[Labels] = [()] * len(values)
    return Block(labels, values, present, np.zeros(len(values), np.bool_), histograms)


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
