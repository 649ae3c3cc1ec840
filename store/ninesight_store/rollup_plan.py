"""Which chunks may be summed up alone: those whose bins no edge cuts and whose series nothing else overlaps.

A series' samples that lie in several places at one time (late ones, ones written twice) must be put together sample
by sample, and so must those around an edge that is no multiple of the width of a bin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ninesight_store.chunk_reader import ChunkMeta
from ninesight_store.config import HOUR_MS
from ninesight_store.contract import Int64
from ninesight_store.hot_reader import HotMeta, Picked
from ninesight_store.rollup import ROLLUP_MS

__all__ = ["Alone", "Plan", "planned"]

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Alone:
    """A chunk that can be summed up without looking at any other."""

    kind: int
    meta: ChunkMeta
    picked: Picked
    free: Bool | None
    """[P] which of the picked series; None: all of them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How chunks are read."""

    alone: list[Alone]
    together: dict[int, list[tuple[ChunkMeta, Picked]]]
    """By kind: chunks whose picked series must be read sample by sample."""


def planned(
    sealed: Mapping[int, Sequence[ChunkMeta]],
    hot: Sequence[HotMeta],
    picked: Mapping[int, Picked],
    edges: Int64,
) -> Plan:
    """Return how to read chunks (by kind) beside hot rows; `edges` are ascending, the span's ends among them."""
    listed = [
        (kind, meta)
        for kind, metas in sealed.items()
        for meta in metas
        if len(picked[meta.layout_id].positions)
    ]
    plan = Plan([], {kind: [] for kind in sealed})
    spans = _spans_of([meta for _, meta in listed], hot, picked)
    free = _free(spans, [picked[number] for number in spans.layouts.tolist()])
    off = edges[edges % ROLLUP_MS != 0]
    low, high = np.searchsorted(off, spans.starts), np.searchsorted(off, spans.ends)
    cut = (low < high).tolist()
    for at, (kind, meta) in enumerate(listed):
        found = picked[meta.layout_id]
        mine = np.zeros(len(found.positions), np.bool_) if cut[at] else free[at]
        if mine is None or mine.all():
            plan.alone.append(Alone(kind, meta, found, None))
            continue
        if mine.any():
            plan.alone.append(Alone(kind, meta, found, mine))
        rest = Picked(found.positions[~mine], found.ranks[~mine], every=False)
        plan.together[kind].append((meta, rest))
    return plan


@dataclass(frozen=True, slots=True)
class _Spans:
    """[I] spans in which series have samples: those of the chunks, then those of the hot rows."""

    layouts: Int64
    starts: Int64
    ends: Int64


def _spans_of(metas: Sequence[ChunkMeta], hot: Sequence[HotMeta], picked: Mapping[int, Picked]) -> _Spans:
    hulls: dict[tuple[int, int], tuple[int, int]] = {}
    for row in hot:
        # A row lies within an hour; those of one hour and layout as a rule follow each other closely.
        key = (row.layout_id, row.start_ms // HOUR_MS)
        start, end = hulls.get(key, (row.start_ms, row.end_ms))
        hulls[key] = (min(start, row.start_ms), max(end, row.end_ms))
    rows = [(meta.layout_id, meta.start_ms, meta.end_ms) for meta in metas]
    rows += [(layout, *hull) for (layout, _), hull in hulls.items() if len(picked[layout].positions)]
    columns = np.array(rows, np.int64).reshape(-1, 3)
    return _Spans(columns[:, 0], columns[:, 1], columns[:, 2])


def _free(spans: _Spans, picked: Sequence[Picked]) -> list[Bool | None]:
    """Return for each span which of its series have nothing else at that time; None: all of them."""
    result: list[Bool | None] = [None] * len(picked)
    if not picked:
        return result
    order = np.argsort(spans.starts, kind="stable")
    sizes = np.array([len(picked[at].ranks) for at in order.tolist()])
    edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    ranks = np.concatenate([picked[at].ranks for at in order.tolist()])
    owner = np.repeat(order, sizes)
    by = np.argsort(ranks, kind="stable")
    clash = np.empty(len(ranks), np.bool_)
    clash[by] = _clashes(ranks[by], spans.starts[owner[by]], spans.ends[owner[by]])
    stands = np.argsort(order).tolist()
    for at in np.unique(owner[clash]).tolist():
        result[at] = ~clash[edges[stands[at]] : edges[stands[at] + 1]]
    return result


def _clashes(ranks: Int64, starts: Int64, ends: Int64) -> Bool:
    """Return which spans of a series overlap with another one of it; sorted by series, then by start."""
    # Times as places among all times: a series' number and a place fit into one integer.
    times = np.unique(ends)
    place = np.searchsorted(times, ends)
    key = ranks * len(times) + place
    reach = times[np.maximum.accumulate(key) - ranks * len(times)]
    same = ranks[1:] == ranks[:-1]
    clash = np.zeros(len(ranks), np.bool_)
    clash[1:] |= same & (reach[:-1] >= starts[1:])
    clash[:-1] |= same & (starts[1:] <= ends[:-1])
    return clash
