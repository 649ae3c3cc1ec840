"""Vector matching: which series of two vectors meet, and what their results are called.

    left  {a="1"} {a="2"} ...      match group = labels after on(...) / ignoring(...)
    right {a="1"} {a="1", b="x"}   pairs (left row, right row) of equal group

A pair exists at the steps where both series do. Prometheus' errors (many-to-many and so on) are raised
where, at some step, a group really holds more series than the cardinality allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import Int64, Labels

from ninesight_query import ir
from ninesight_query import labels as label
from ninesight_query.block import Block, Bool
from ninesight_query.errors import ExecutionError
from ninesight_query.label_memo import remembered

__all__ = ["Pairs", "match_ids", "pair_up", "result_labels"]

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


def match_ids(left: Block, right: Block, matching: ir.Matching) -> tuple[Int64, Int64, int]:
    """Number the match groups of both sides alike; also their number."""
    seen: dict[Labels, int] = {}
    sides = []
    for block in (left, right):
        ids = np.empty(len(block), np.int64)
        for row, labels in enumerate(_signatures(block.labels, matching)):
            ids[row] = seen.setdefault(labels, len(seen))
        sides.append(ids)
    return sides[0], sides[1], len(seen)


def _signatures(labels: Sequence[Labels], matching: ir.Matching) -> list[Labels]:
    signature = label.signature_of(matching.on, matching.labels)
    key = ("signatures", matching.on, tuple(matching.labels))
    return remembered(labels, key, lambda: [signature(each) for each in labels], label.itself)


def pair_up(many: Block, one: Block, many_ids: Int64, one_ids: Int64, matching: ir.Matching) -> Pairs:
    """Pair every series of the many side with those of its group on the one side.

    Raises ExecutionError where the one side holds two series of a group at one step.
    """
    order = np.argsort(one_ids, kind="stable")
    ordered = one_ids[order]
    low = np.searchsorted(ordered, many_ids, "left")
    high = np.searchsorted(ordered, many_ids, "right")
    if len(ordered) and (np.diff(ordered) == 0).any():
        _check_one_side(many, one, one_ids, order, matching)
        number = high - low
        rows = np.repeat(np.arange(len(many_ids)), number)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
        return Pairs(rows, order[np.repeat(low, number) + within], many_ids[rows])
    rows = np.flatnonzero(high > low)
    return Pairs(rows, order[low[rows]], many_ids[rows])


def _check_one_side(many: Block, one: Block, ids: Int64, order: Int64, matching: ir.Matching) -> None:
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
    if matching.cardinality is ir.Cardinality.ONE_TO_ONE:
        keys: list[object] = pairs.group.tolist()
        message = (
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        )
    else:
        keys = list(zip(pairs.group.tolist(), labels, strict=True))
        message = "multiple matches for labels: grouping labels must ensure unique matches"
    if len(set(keys)) == len(keys):
        return
    rows: dict[object, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    for members in rows.values():
        if len(members) > 1 and (exists[members].sum(axis=0) > 1).any():
            raise ExecutionError(message)


def result_labels(
    many: Block, one: Block, pairs: Pairs, matching: ir.Matching, *, drop_metadata: bool
) -> list[Labels]:
    """Return the labels of every pair's result."""
    namer = _namer(matching, drop_metadata=drop_metadata)
    include = matching.include
    if not include:
        cache: dict[int, Labels] = {}
        for row in pairs.many.tolist():
            if row not in cache:
                cache[row] = namer(many.labels[row])
        return [cache[row] for row in pairs.many.tolist()]
    out = []
    for row, other in zip(pairs.many.tolist(), pairs.one.tolist(), strict=True):
        labels = namer(many.labels[row])
        for name in include:
            labels = label.with_label(labels, name, label.get(one.labels[other], name))
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
