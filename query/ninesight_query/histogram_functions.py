"""histogram_quantile and its kin over blocks: native histograms and classic buckets side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ninesight_store.contract import Float64, Int64, Labels

from ninesight_query import labels as label
from ninesight_query.annotations import Annotations
from ninesight_query.block import Block, Bool, Objects, join_rows, merge_same_labels, without_name
from ninesight_query.classic import Cube, bucket_fraction, bucket_quantile, cubes_of
from ninesight_query.context import Context
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_grid import HistogramGrid
from ninesight_query.histogram_quantile import Note, stack_fraction, stack_quantile
from ninesight_query.histogram_stack import Stack, stacks_of
from ninesight_query.histogram_stats import averages, stack_stdvar, stdvars
from ninesight_query.ir import Position
from ninesight_query.text import format_ratio

__all__ = [
    "SIMPLE_FUNCTIONS",
    "STACK_FUNCTIONS",
    "histogram_fraction",
    "histogram_quantile",
    "histogram_quantiles",
    "simple",
]

Batch = Callable[[Objects], Float64]
Native = Callable[[Stack, Int64], tuple[Float64, frozenset[Note]]]
"""Answers for a stack of histograms, given the step of each."""

SIMPLE_FUNCTIONS: dict[str, Batch] = {
    "histogram_avg": averages,
    "histogram_count": lambda points: np.array([point.count for point in points], np.float64),
    "histogram_stddev": lambda points: np.sqrt(stdvars(points)),
    "histogram_stdvar": stdvars,
    "histogram_sum": lambda points: np.array([point.sum for point in points], np.float64),
}


STACK_FUNCTIONS: dict[str, Callable[[Stack], Float64]] = {
    "histogram_avg": lambda stack: stack.sum / stack.count,
    "histogram_count": lambda stack: stack.count,
    "histogram_stddev": lambda stack: np.sqrt(stack_stdvar(stack)),
    "histogram_stdvar": stack_stdvar,
    "histogram_sum": lambda stack: stack.sum,
}
"""The same over whole series."""


def simple(block: Block, name: str, context: Context) -> Block:
    """One number from each histogram; floats drop out."""
    has = block.has_histogram
    if has is None:
        return Block.empty(block.steps)
    values = np.zeros(block.values.shape)
    with np.errstate(all="ignore"):
        rest = _dense_rows(block, values, STACK_FUNCTIONS[name], context)
        if rest.any() and block.histograms is not None:
            values[rest] = SIMPLE_FUNCTIONS[name](block.histograms[rest])
    return _without_name(block.floats(values, has), context)


def _dense_rows(
    block: Block, values: Float64, function: Callable[[Stack], Float64], context: Context
) -> Bool:
    """Fill the rows of `values` that are there as matrices; returns where histograms are left to do."""
    has = block.has_histogram
    assert has is not None
    if not isinstance(block.held, HistogramGrid):
        return has
    rest = has.copy()
    for row, present, stack in block.held.stacks():
        context.check_deadline()
        values[row] = np.where(present, function(stack), 0.0)
        rest[row] = False
    return rest


def _without_name(block: Block, context: Context) -> Block:
    return without_name(block, delayed=context.settings.delayed_name_removal)


def histogram_quantile(block: Block, q: Float64, context: Context) -> Block:
    """The q-quantile of each histogram; `q` is [T]."""
    for ratio in np.unique(q):
        if not 0 <= ratio <= 1:
            context.annotations.invalid_quantile(float(ratio))
    return _without_name(_quantile(block, q, context), context)


def _quantile(block: Block, q: Float64, context: Context) -> Block:
    def classic(cube: Cube) -> Float64:
        values, forced = bucket_quantile(q, cube)
        if forced.any():
            _annotate_forced(cube, forced, context)
        return values

    def native(stack: Stack, steps: Int64) -> tuple[Float64, frozenset[Note]]:
        return stack_quantile(q[steps], stack)

    return _both(block, classic, native, context)


def histogram_quantiles(
    block: Block,
    name: str,
    ratios: Sequence[Float64],
    positions: Sequence[Position | None],
    context: Context,
) -> Block:
    """Several quantiles at once; each gets a label with its ratio. `positions` are those of the ratios."""
    parts: list[Block] = []
    rows = 0
    for q, position in zip(ratios, positions, strict=True):
        context.annotations.look_at(context.annotations.position, position)
        found = histogram_quantile(block, q, context)
        for ratio in np.unique(q):
            # A ratio of its own at each step makes a series of its own.
            rows += len(found)
            context.check_deadline()
            context.check_cells(rows, block.steps)
            names = [label.with_label(labels, name, format_ratio(float(ratio))) for labels in found.labels]
            mask = found.present & (np.isnan(q) if np.isnan(ratio) else q == ratio)
            parts.append(Block(names, found.values, mask, found.drop_name))
    return merge_same_labels(join_rows(parts, block.steps))


def histogram_fraction(block: Block, lower: Float64, upper: Float64, context: Context) -> Block:
    """The share of observations between two values; the bounds are [T]."""

    def classic(cube: Cube) -> Float64:
        return bucket_fraction(lower, upper, cube)

    def native(stack: Stack, steps: Int64) -> tuple[Float64, frozenset[Note]]:
        return stack_fraction(lower[steps], upper[steps], stack)

    return _without_name(_both(block, classic, native, context), context)


def _both(
    block: Block,
    classic: Callable[[Cube], Float64],
    native: Native,
    context: Context,
) -> Block:
    """Evaluate classic and native histograms; where both claim one series at one step, neither counts."""
    cubes = cubes_of(block, context)
    clash = _clashes(block, cubes, context)
    parts = []
    for cube in cubes:
        exists = cube.exists
        for group, key in enumerate(cube.labels):
            if key in clash:
                exists[group] &= ~clash[key]
        drop_name = np.zeros(len(cube.labels), np.bool_)
        if block.drop_name.any():
            drop_name = np.array([bool(block.drop_name[rows].any()) for rows in cube.rows])
        parts.append(Block(cube.labels, classic(cube), exists, drop_name))
    has = block.has_histogram
    if has is not None:
        parts.append(_native(block, has, clash, native, context))
    return merge_same_labels(join_rows([part for part in parts if len(part)], block.steps))


def _clashes(block: Block, cubes: Sequence[Cube], context: Context) -> dict[Labels, Bool]:
    has = block.has_histogram
    if has is None:
        return {}
    rows = {block.labels[row]: row for row in np.flatnonzero(has.any(axis=1)).tolist()}
    found: dict[Labels, Bool] = {}
    for cube in cubes:
        for group, key in enumerate(cube.labels):
            if key in rows and (both := has[rows[key]] & cube.exists[group]).any():
                found[key] = both
                context.annotations.mixed_classic_native(label.get(key, label.METRIC_NAME))
    return found


def _native(
    block: Block,
    has: Bool,
    clash: dict[Labels, Bool],
    native: Native,
    context: Context,
) -> Block:
    values, present = np.zeros(block.values.shape), has.copy()
    for labels, mask in clash.items():
        present[block.labels.index(labels)] &= ~mask
    with np.errstate(all="ignore"):
        rest = present.copy()
        if isinstance(block.held, HistogramGrid):
            every = np.arange(block.steps)
            for row, _, stack in block.held.stacks():
                context.check_deadline()
                values[row], notes = native(stack, every)
                _annotate(notes, label.get(block.labels[row], label.METRIC_NAME), context.annotations)
                rest[row] = False
        if rest.any():
            _native_objects(block, rest, values, native, context)
    kept = np.flatnonzero(present.any(axis=1))
    return block.floats(values, present).take(kept)


def _native_objects(block: Block, rest: Bool, values: Float64, native: Native, context: Context) -> None:
    """Fill the cells of `values` whose histograms are objects."""
    assert block.histograms is not None
    rows, steps = np.nonzero(rest)
    points = block.histograms[rest]
    plain = np.array([_without_nan(point) for point in points], np.bool_)
    batches = [(np.flatnonzero(plain), "")]
    for row in {*rows[~plain].tolist()}:
        # What is said of NaN observations names the metric they are in.
        metric = label.get(block.labels[row], label.METRIC_NAME)
        batches.append((np.flatnonzero((rows == row) & ~plain), metric))
    for batch, metric in batches:
        for members, stack in stacks_of(points[batch]):
            at = batch[members]
            values[rows[at], steps[at]], notes = native(stack, steps[at])
            _annotate(notes, metric, context.annotations)


def _without_nan(point: Histogram) -> bool:
    return point.sum == point.sum


_NOTES = {
    Note.NAN_RESULT: "input to histogram_quantile has NaN observations, result is NaN",
    Note.NAN_SKEW: "input to histogram_quantile has NaN observations, result is skewed higher",
    Note.NAN_EXCLUDED: "input to histogram_fraction has NaN observations, which are excluded from all fractions",
}


def _annotate(notes: frozenset[Note], metric: str, annotations: Annotations) -> None:
    for note in notes:
        annotations.info(_NOTES[note] + (f' for metric name "{metric}"' if metric else ""))


def _annotate_forced(cube: Cube, forced: Bool, context: Context) -> None:
    for group in np.flatnonzero(forced.any(axis=1)).tolist():
        metric = label.get(cube.labels[group], label.METRIC_NAME)
        context.annotations.info(
            "input to histogram_quantile needed to be fixed for monotonicity "
            "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
            + (f' for metric name "{metric}"' if metric else "")
        )
