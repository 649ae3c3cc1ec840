"""What an expression yields while it is evaluated: blocks of series over steps, scalars, strings.

Arrays are shared between nodes and may be read-only broadcasts: nobody writes into an operand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Float64, Int64, Labels

from ninesight_query import labels as label
from ninesight_query.errors import ExecutionError
from ninesight_query.histogram_grid import HistogramGrid

__all__ = [
    "SAME_LABELSET",
    "Block",
    "Bool",
    "Grid",
    "Objects",
    "Scalars",
    "Text",
    "filled",
    "join_rows",
    "merge_same_labels",
    "only",
    "spread",
    "without_name",
]

Bool = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]

SAME_LABELSET = "vector cannot contain metrics with the same labelset"


def filled(objects: Objects) -> Bool:
    """Return where an array of objects holds one."""
    return np.asarray(np.not_equal(objects, None), np.bool_)  # type: ignore[call-overload]


def spread(mask: Bool, shape: tuple[int, int]) -> Bool:
    """Return a mask in full shape. For few cells this is faster than a view by np.broadcast_to."""
    if mask.shape == shape:
        return mask
    out = np.empty(shape, np.bool_)
    out[...] = mask
    return out


def only(objects: Objects, mask: Bool) -> Objects:
    """Return the objects under a mask, None elsewhere."""
    out = objects.copy()
    out[~mask] = None
    return out


@dataclass(slots=True)
class Grid:
    """Evaluation times: start, start + step, ... (count of them), in milliseconds. Nobody changes one."""

    start_ms: int
    step_ms: int
    count: int
    _times: Int64 | None = field(default=None, repr=False, compare=False)

    @property
    def end_ms(self) -> int:
        """The last time."""
        return self.start_ms + self.step_ms * (self.count - 1)

    @property
    def times(self) -> Int64:
        """[T] Made once: nobody writes into it."""
        if self._times is None:
            if self.count == 1:
                self._times = np.array((self.start_ms,), np.int64)
            else:
                self._times = self.start_ms + np.arange(self.count, dtype=np.int64) * self.step_ms
        return self._times


@dataclass(slots=True, eq=False)
class Scalars:
    """One number per step."""

    values: Float64
    """[T]"""


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal."""

    value: str


@dataclass(slots=True)
class Block:
    """Series over steps. A cell holds a float (`present`), a histogram (`histograms`), or nothing."""

    labels: Sequence[Labels]
    """[S] unique."""
    values: Float64
    """[S, T]"""
    present: Bool
    """[S, T] where `values` counts; False where a histogram stands."""
    drop_name: Bool
    """[S] whether the metric's name must go before the answer (delayed name removal)."""
    held: Objects | HistogramGrid | None = None
    """[S, T] the histograms, as objects or as a lazy grid; None where the block has no histogram at all."""
    ordered: bool = False
    """Whether the order of rows is part of the answer (sort, topk)."""

    def __len__(self) -> int:
        """Series."""
        return len(self.labels)

    @property
    def steps(self) -> int:
        """T"""
        return int(self.values.shape[1])

    @property
    def histograms(self) -> Objects | None:
        """[S, T] Histogram or None; None where the block has no histogram at all. Made from a grid if need be."""
        return self.held.objects() if isinstance(self.held, HistogramGrid) else self.held

    @property
    def has_histogram(self) -> Bool | None:
        """[S, T] or None where there is none."""
        if isinstance(self.held, HistogramGrid):
            return self.held.present
        return None if self.held is None else filled(self.held)

    @property
    def exists(self) -> Bool:
        """[S, T] where a float or a histogram stands."""
        histograms = self.has_histogram
        return self.present if histograms is None else self.present | histograms

    def take(
        self, rows: npt.NDArray[np.integer] | Sequence[int], labels: Sequence[Labels] | None = None
    ) -> Block:
        """Return some rows, in the order asked for; `labels` are theirs, where they are known already."""
        index = np.asarray(rows, np.int64)
        return Block(
            [self.labels[row] for row in index] if labels is None else labels,
            self.values[index],
            self.present[index],
            self.drop_name[index],
            self.held.take(index)
            if isinstance(self.held, HistogramGrid)
            else None
            if self.held is None
            else self.held[index],
            self.ordered,
        )

    def masked(self, mask: Bool) -> Block:
        """Return only the points under a mask [S, T]."""
        histograms = None if self.histograms is None else only(self.histograms, mask)
        return Block(self.labels, self.values, self.present & mask, self.drop_name, histograms)

    def broadcast(self, steps: int) -> Block:
        """Return the one column repeated, without a copy."""
        if self.steps == steps:
            return self
        shape = (len(self), steps)
        return Block(
            self.labels,
            np.broadcast_to(self.values, shape),
            np.broadcast_to(self.present, shape),
            self.drop_name,
            None if self.histograms is None else np.broadcast_to(self.histograms, shape),
            self.ordered,
        )

    def floats(
        self, values: Float64, present: Bool | None = None, *, labels: Sequence[Labels] | None = None
    ) -> Block:
        """Return a block of the same series with other floats and no histograms."""
        return Block(
            self.labels if labels is None else labels,
            values,
            self.present if present is None else present,
            self.drop_name,
            None,
            self.ordered,
        )

    @staticmethod
    def empty(steps: int) -> Block:
        """No series."""
        return Block([], np.zeros((0, steps)), np.zeros((0, steps), np.bool_), np.zeros(0, np.bool_))

    @staticmethod
    def of_row(labels: Labels, values: Float64, present: Bool) -> Block:
        """One series of floats."""
        return Block([labels], values[None, :], present[None, :], np.zeros(1, np.bool_))


def without_name(block: Block, *, delayed: bool) -> Block:
    """Take the metric name away: now, merging equal series, or later, by a mark."""
    if delayed:
        marked = np.ones(len(block), np.bool_)
        return Block(block.labels, block.values, block.present, marked, block.held, block.ordered)
    stripped, distinct = label.bare(block.labels)
    out = Block(stripped, block.values, block.present, block.drop_name, block.held, block.ordered)
    return out if distinct else merge_same_labels(out)


def merge_same_labels(block: Block) -> Block:
    """Join series of equal labels whose points lie at different steps.

    Raises ExecutionError where two stand at one step.
    """
    if label.distinct(block.labels):
        return block
    ids, merged = label.group_ids(block.labels, lambda labels: labels)
    exists = block.exists
    order = np.argsort(ids, kind="stable")
    starts = np.searchsorted(ids[order], np.arange(len(merged)))
    if np.any(np.add.reduceat(exists[order].astype(np.int32), starts, axis=0) > 1):
        raise ExecutionError(SAME_LABELSET)
    shape = (len(merged), block.steps)
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    histograms = None if block.histograms is None else np.full(shape, None, object)
    drop_name = np.zeros(len(merged), np.bool_)
    for row, target in enumerate(ids):
        here = block.present[row]
        values[target][here] = block.values[row][here]
        present[target] |= here
        drop_name[target] |= block.drop_name[row]
        if histograms is not None and block.histograms is not None:
            those = filled(block.histograms[row])
            histograms[target][those] = block.histograms[row][those]
    return Block(merged, values, present, drop_name, histograms, block.ordered)


def join_rows(blocks: Sequence[Block], steps: int) -> Block:
    """Put blocks one under the other."""
    if not blocks:
        return Block.empty(steps)
    if len(blocks) == 1:
        return blocks[0]
    histograms = None
    if any(block.histograms is not None for block in blocks):
        histograms = np.concatenate(
            [
                np.full((len(block), steps), None, object) if block.histograms is None else block.histograms
                for block in blocks
            ]
        )
    return Block(
        [labels for block in blocks for labels in block.labels],
        np.concatenate([block.values for block in blocks]),
        np.concatenate([block.present for block in blocks]),
        np.concatenate([block.drop_name for block in blocks]),
        histograms,
    )
