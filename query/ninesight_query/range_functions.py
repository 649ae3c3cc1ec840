"""Functions of a range vector: the float kernels tile by tile, then the series that hold histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import Float64, Labels

from ninesight_query import labels as label
from ninesight_query import over_time, rates, regression
from ninesight_query import range_histograms as histogram
from ninesight_query.bin_functions import BIN_FUNCTIONS, BinVector
from ninesight_query.block import Block, Bool, Objects, spread, without_name
from ninesight_query.context import Context
from ninesight_query.errors import ExecutionError
from ninesight_query.extended import kernel_of
from ninesight_query.extended_histograms import apply_extended
from ninesight_query.histogram_grid import HistogramGrid
from ninesight_query.label_memo import remembered
from ninesight_query.range_grid import apply_to_grid
from ninesight_query.select import RangeVector, Window
from ninesight_query.starts import overlapping_rows

__all__ = ["RANGE_FUNCTIONS", "RangeFunction", "call_range"]

Kernel = Callable[[Window, Sequence[Float64]], tuple[Float64, Bool]]


@dataclass(frozen=True, slots=True)
class RangeFunction:
    """How one function treats floats and histograms."""

    kernel: Kernel
    handler: histogram.Handler
    keeps_name: bool = False
    every_step: bool = False
    """Whether the result depends on the step even where `@` pins the window."""
    by_group: bool = False
    """Whether long windows are faster one group of timestamps after another."""


RANGE_FUNCTIONS: dict[str, RangeFunction] = {
    "absent_over_time": RangeFunction(over_time.present, histogram.present, keeps_name=True),
    "avg_over_time": RangeFunction(over_time.avg, histogram.avg),
    "changes": RangeFunction(rates.changes, histogram.changes),
    "count_over_time": RangeFunction(over_time.count, histogram.count),
    "delta": RangeFunction(rates.delta, histogram.delta),
    "deriv": RangeFunction(regression.deriv, histogram.ignored_for_line, by_group=True),
    "double_exponential_smoothing": RangeFunction(
        over_time.double_exponential_smoothing, histogram.ignored_for_line
    ),
    "first_over_time": RangeFunction(over_time.first, histogram.first, keeps_name=True),
    "idelta": RangeFunction(rates.idelta, histogram.idelta),
    "increase": RangeFunction(rates.increase, histogram.increase),
    "irate": RangeFunction(rates.irate, histogram.irate),
    "last_over_time": RangeFunction(over_time.last, histogram.last, keeps_name=True),
    "mad_over_time": RangeFunction(over_time.mad, histogram.ignored),
    "max_over_time": RangeFunction(over_time.maximum, histogram.ignored),
    "min_over_time": RangeFunction(over_time.minimum, histogram.ignored),
    "predict_linear": RangeFunction(
        regression.predict_linear, histogram.ignored_for_line, every_step=True, by_group=True
    ),
    "present_over_time": RangeFunction(over_time.present, histogram.present),
    "quantile_over_time": RangeFunction(over_time.quantile, histogram.ignored, by_group=True),
    "rate": RangeFunction(rates.rate, histogram.rate),
    "resets": RangeFunction(rates.resets, histogram.resets),
    "stddev_over_time": RangeFunction(over_time.stddev, histogram.ignored, by_group=True),
    "stdvar_over_time": RangeFunction(over_time.stdvar, histogram.ignored, by_group=True),
    "sum_over_time": RangeFunction(over_time.sum_, histogram.sum_),
    "ts_of_first_over_time": RangeFunction(over_time.ts_of_first, histogram.ts_of_first),
    "ts_of_last_over_time": RangeFunction(over_time.ts_of_last, histogram.ts_of_last),
    "ts_of_max_over_time": RangeFunction(over_time.ts_of_maximum, histogram.ignored),
    "ts_of_min_over_time": RangeFunction(over_time.ts_of_minimum, histogram.ignored),
}
_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")
_SMOOTHING_ARGUMENTS = ("smoothing", "trend")


def call_range(name: str, vector: RangeVector, params: Sequence[Float64], context: Context) -> Block:
    """Evaluate one function over all series and steps. `params` are its scalar arguments, [T] each.

    Raises NotInBinsError where the vector is one of bins that do not say it exactly.
    """
    function = RANGE_FUNCTIONS[name]
    every_step = function.every_step or (
        bool(params) and any(len(param) > 1 and param.strides != (0,) for param in params)
    )
    steps = 1 if vector.pinned and not every_step else vector.grid.count
    if params:
        params = [param[:steps] for param in params]
        _check_params(name, params, context)
    samples = vector.samples
    shape = len(samples.labels), steps
    context.check_cells(shape[0], vector.grid.count)
    vector.check_points(name)
    values, present = _floats(name, vector, params, context, shape, every_step=every_step)
    histograms: Objects | HistogramGrid | None = None
    if samples.histograms and vector.extension:
        histograms = apply_extended(name, vector, values, present, context)
    elif samples.histograms:
        histograms = apply_to_grid(name, function.handler, vector, params, values, present, context)
    if name in ("rate", "increase"):
        _annotate_counters(vector, present, context)
    block = Block(samples.labels, values, present, samples.drop_name, histograms)
    if steps != vector.grid.count:
        block = block.broadcast(vector.grid.count)
    if function.keeps_name:
        return block
    return without_name(block, delayed=context.settings.delayed_name_removal)


def _floats(
    name: str,
    vector: RangeVector,
    params: Sequence[Float64],
    context: Context,
    shape: tuple[int, int],
    *,
    every_step: bool,
) -> tuple[Float64, Bool]:
    """Return what a function's kernel gives for the float samples: values and where they count, [S, T] each."""
    function, samples = RANGE_FUNCTIONS[name], vector.samples
    kernel: Callable[..., tuple[Float64, Bool]] = function.kernel
    arguments: tuple[Sequence[Float64], ...] = (params,)
    if isinstance(vector, BinVector):
        kernel, arguments = BIN_FUNCTIONS[name].kernel, ()
    elif vector.extension:
        kernel, arguments = kernel_of(name, vector, context), ()
    # Histograms are written into what the kernels gave: that must be ours. Tiles of bins are not those of the samples.
    alone = not samples.histograms and not isinstance(vector, BinVector) and samples.in_one_tile
    values, present = np.zeros((0, 0)), np.zeros((0, 0), np.bool_)
    for window in vector.windows(context, every_step=every_step):
        by_group = function.by_group and _long(window)
        if alone and not by_group and len(window.tile.rows) == shape[0]:
            values, present = kernel(window, *arguments)
            if values.shape != shape:
                values = np.broadcast_to(values, shape)
            present = spread(present, shape)
        else:
            if values.shape != shape:
                values, present = np.zeros(shape), np.zeros(shape, np.bool_)
            for part in window.groups() if by_group else (window,):
                rows = part.tile.rows
                values[rows], present[rows] = kernel(part, *arguments)
        if window.tile.starts is not None and name in ("rate", "increase"):
            _annotate_overlaps(window, samples.labels, context)
    if values.shape != shape:
        values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    return values, present


def _long(window: Window) -> bool:
    """Whether slices of groups beat passes over the samples of all windows (microseconds, measured)."""
    owner = window.tile.owner
    if owner is None:
        return False
    rows, steps = window.shape
    slices = (int(owner[-1]) + 1) * steps * 25
    return slices < int(window.count.max(initial=0)) * (50 + rows * steps * 0.06)


def _check_params(name: str, params: Sequence[Float64], context: Context) -> None:
    if name == "quantile_over_time":
        for quantile in np.unique(params[0]):
            if not 0 <= quantile <= 1:
                context.annotations.invalid_quantile(float(quantile))
    elif name == "double_exponential_smoothing":
        for what, factors in zip(_SMOOTHING_ARGUMENTS, params, strict=True):
            wrong = factors[~((factors > 0) & (factors < 1))]
            if len(wrong):
                raise ExecutionError(f"invalid {what} factor. Expected: 0 < factor < 1, got: {wrong[0]:g}")


def _annotate_overlaps(window: Window, labels: Sequence[Labels], context: Context) -> None:
    for row in overlapping_rows(window).tolist():
        context.annotations.overlapping_start(label.get(labels[window.tile.rows[row]], label.METRIC_NAME))


def _annotate_counters(vector: RangeVector, present: Bool, context: Context) -> None:
    labels = vector.samples.labels
    if not context.settings.type_and_unit_labels:
        odd = remembered(labels, "no counters", lambda: _not_counters(label.metric_names(labels)))
        if odd:
            names = label.metric_names(labels)
            for metric in dict.fromkeys(names[row] for row in odd if present[row].any()):
                context.annotations.possible_non_counter(metric)
        return
    names = label.metric_names(labels)
    some = present.any(axis=1)
    for row in np.flatnonzero(some).tolist():
        kind = label.get(vector.samples.labels[row], "__type__")
        if names[row] and kind not in ("counter", "histogram"):
            context.annotations.possible_non_counter_type(names[row], kind)


def _not_counters(names: Sequence[str]) -> list[int]:
    """Return the rows whose metric has a name that counters do not have."""
    return [row for row, metric in enumerate(names) if metric and not metric.endswith(_COUNTER_SUFFIXES)]
