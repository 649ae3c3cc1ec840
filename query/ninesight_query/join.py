"""Vector matching: which series of two vectors meet, and what their results are called.

    left  {a="1"} {a="2"} ...      match group = labels after on(...) / ignoring(...)
    right {a="1"} {a="1", b="x"}   pairs (left row, right row) of equal group

A pair exists at the steps where both series do. Prometheus' errors (many-to-many and so on) are raised
where, at some step, a group really holds more series than the cardinality allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from ninesight_store.contract import Int64, Labels

from ninesight_query import ir
from ninesight_query import labels as label
from ninesight_query.block import Block, Bool
from ninesight_query.context import Context
from ninesight_query.errors import ExecutionError
from ninesight_query.label_memo import remembered, remembered_of_two

__all__ = ["Join", "Pairs", "check_many_side", "join_of", "match_ids", "result_labels"]

S = TypeVar("S")
Signature = Callable[[Labels], Labels]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows that meet. The "many" side is the left one, unless the matching says one-to-many."""

    many: Int64
    """[P] rows of the many side."""
    one: Int64
    """[P] rows of the one side."""
    group: Int64
    """[P]"""
    whole_many: bool = False
    """Whether every row of the many side is there, once and in order."""
    whole_one: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Which series meet and what their results are called."""

    many_ids: Int64
    """[M] match group of each series of the many side."""
    one_ids: Int64
    """[O] the same of the one side."""
    pairs: Pairs
    names: list[Labels]
    """[P] labels of the results."""
    ambiguous: bool
    """Whether two pairs of a group give results of the same labels."""
    distinct: bool = False
    """Whether no two results have the same labels at all."""


def match_ids(left: Sequence[Labels], right: Sequence[Labels], matching: ir.Matching) -> tuple[Int64, Int64]:
    """Number the match groups of both sides alike."""
    key = ("match", matching.on, matching.labels)
    return remembered_of_two(left, right, key, partial(_match_ids, left, right, matching))


def _match_ids(left: Sequence[Labels], right: Sequence[Labels], matching: ir.Matching) -> tuple[Int64, Int64]:
    seen: dict[Labels, int] = {}
    sides = []
    for side in (left, right):
        ids = np.empty(len(side), np.int64)
        for row, labels in enumerate(_signatures(side, matching)):
            ids[row] = seen.setdefault(labels, len(seen))
        sides.append(ids)
    return sides[0], sides[1]


def _signatures(labels: Sequence[Labels], matching: ir.Matching) -> list[Labels]:
    signature = label.signature_of(matching.on, matching.labels)
    key = ("signatures", matching.on, tuple(matching.labels))
    return remembered(labels, key, lambda: [signature(each) for each in labels], label.itself)


def join_of(left: Block, right: Block, matching: ir.Matching, *, drop: bool, context: Context) -> Join:
    """Join two vectors by their labels; `drop` takes metadata labels from the results.

    Raises ExecutionError where the one side holds two series of a group at one step, LimitError for too many pairs.
    """
    make = partial(_simple_join, left.labels, right.labels, matching, drop=drop)
    joined = remembered_of_two(left.labels, right.labels, ("join", matching, drop), make, _names_of)
    if joined is not None:
        return joined
    many, one, many_ids, one_ids = _sides(
        left, right, matching, match_ids(left.labels, right.labels, matching)
    )
    _check_one_side(many, one, one_ids, matching)
    order = np.argsort(one_ids, kind="stable")
    low, number = _found(one_ids[order], many_ids)
    context.check_cells(int(number.sum()), left.steps)
    rows = np.repeat(np.arange(len(many_ids)), number)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
    pairs = Pairs(rows, order[np.repeat(low, number) + within], many_ids[rows])
    names = result_labels(many.labels, one.labels, pairs, matching, drop_metadata=drop)
    return Join(many_ids, one_ids, pairs, names, ambiguous=True)


def _simple_join(
    left: Sequence[Labels], right: Sequence[Labels], matching: ir.Matching, *, drop: bool
) -> Join | None:
    """Join by labels alone; None where a group has several series on the one side: then the samples decide."""
    many, one, many_ids, one_ids = _sides(left, right, matching, match_ids(left, right, matching))
    order = np.argsort(one_ids, kind="stable")
    ordered = one_ids[order]
    if (ordered[1:] == ordered[:-1]).any():
        return None
    low, number = _found(ordered, many_ids)
    rows = np.flatnonzero(number)
    found = order[low[rows]]
    whole = (np.array_equal(each, np.arange(len(side))) for each, side in ((rows, many), (found, one)))
    pairs = Pairs(rows, found, many_ids[rows], *whole)
    names = result_labels(many, one, pairs, matching, drop_metadata=drop)
    keys = _result_keys(pairs, names, matching)
    distinct = len(set(names)) == len(names)
    return Join(many_ids, one_ids, pairs, names, len(set(keys)) < len(keys), distinct)


def _names_of(join: Join | None) -> Sequence[Labels]:
    return () if join is None else join.names


def _sides(left: S, right: S, matching: ir.Matching, ids: tuple[Int64, Int64]) -> tuple[S, S, Int64, Int64]:
    """Return the many side, the one side, and the match groups of both."""
    if matching.cardinality is ir.Cardinality.ONE_TO_MANY:
        return right, left, ids[1], ids[0]
    return left, right, *ids


def _found(ordered: Int64, wanted: Int64) -> tuple[Int64, Int64]:
    """Return where each wanted group begins among ordered ones, and how often it is there."""
    low = np.searchsorted(ordered, wanted, "left")
    return low, np.searchsorted(ordered, wanted, "right") - low


def _check_one_side(many: Block, one: Block, ids: Int64, matching: ir.Matching) -> None:
    """Raise ExecutionError where the one side holds two series of a group at one step; `ids` [O] are its groups."""
    order = np.argsort(ids, kind="stable")
    asked = many.exists.any(axis=0)
    if matching.fill_left is not None or matching.fill_right is not None:
        asked = np.ones_like(asked)
    exists = one.exists & asked
    ordered = ids[order]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(ordered) != 0)))
    crowd = np.add.reduceat(exists[order], starts, axis=0, dtype=np.int64)
    if not (crowd > 1).any():
        return
    group, step = (int(index[0]) for index in np.nonzero(crowd > 1))
    rows = [row for row in np.flatnonzero(ids == ordered[starts[group]]).tolist() if exists[row, step]]
    shared = _matched_labels(one.labels[rows[0]], matching)
    side = "left" if matching.cardinality is ir.Cardinality.ONE_TO_MANY else "right"
    raise ExecutionError(
        f"found duplicate series for the match group {label.show(shared)} on the {side} hand-side of the operation: "
        f"[{label.show(one.labels[rows[0]])}, {label.show(one.labels[rows[1]])}]"
        ";many-to-many matching not allowed: matching labels must be unique on one side"
    )


def _matched_labels(labels: Labels, matching: ir.Matching) -> Labels:
    return label.signature_of(matching.on, matching.labels)(labels)


def check_many_side(pairs: Pairs, exists: Bool, labels: Sequence[Labels], matching: ir.Matching) -> None:
    """Raise ExecutionError where, at one step, two pairs of a group give the same result.

    `exists` [P, T] says where a pair is there; `labels` [P] are the results' labels.
    """
    message = "multiple matches for labels: grouping labels must ensure unique matches"
    if matching.cardinality is ir.Cardinality.ONE_TO_ONE:
        message = (
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        )
    rows: dict[object, list[int]] = {}
    for row, key in enumerate(_result_keys(pairs, labels, matching)):
        rows.setdefault(key, []).append(row)
    for members in rows.values():
        if len(members) > 1 and (exists[members].sum(axis=0) > 1).any():
            raise ExecutionError(message)


def _result_keys(pairs: Pairs, labels: Sequence[Labels], matching: ir.Matching) -> list[object]:
    """Return what must differ between the pairs that are there at one step."""
    if matching.cardinality is ir.Cardinality.ONE_TO_ONE:
        return [*pairs.group.tolist()]
    return list(zip(pairs.group.tolist(), labels, strict=True))


def result_labels(
    many: Sequence[Labels],
    one: Sequence[Labels],
    pairs: Pairs,
    matching: ir.Matching,
    *,
    drop_metadata: bool,
) -> list[Labels]:
    """Return the labels of every pair's result."""
    namer = _namer(matching, drop_metadata=drop_metadata)
    include = matching.include
    if not include:
        cache: dict[int, Labels] = {}
        for row in pairs.many.tolist():
            if row not in cache:
                cache[row] = namer(many[row])
        return [cache[row] for row in pairs.many.tolist()]
    out = []
    for row, other in zip(pairs.many.tolist(), pairs.one.tolist(), strict=True):
        labels = namer(many[row])
        for name in include:
            labels = label.with_label(labels, name, label.get(one[other], name))
        out.append(labels)
    return out


def _namer(matching: ir.Matching, *, drop_metadata: bool) -> Signature:
    dropped = label.METADATA_LABELS if drop_metadata else frozenset[str]()
    if matching.cardinality is not ir.Cardinality.ONE_TO_ONE:
        return lambda labels: tuple(pair for pair in labels if pair[0] not in dropped)
    if matching.on:
        wanted = frozenset(matching.labels) - dropped
        return lambda labels: tuple(pair for pair in labels if pair[0] in wanted)
    unwanted = frozenset(matching.labels) | dropped
    return lambda labels: tuple(pair for pair in labels if pair[0] not in unwanted)
