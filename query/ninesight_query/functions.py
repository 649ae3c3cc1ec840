"""Functions of vectors, scalars and strings, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import Float64

from ninesight_query import elementwise as floats
from ninesight_query import histogram_functions as histogram
from ninesight_query import ir, label_functions
from ninesight_query.block import Block, Grid, Scalars, Text, without_name
from ninesight_query.context import Context
from ninesight_query.info import info
from ninesight_query.label_functions import absent
from ninesight_query.select import instant
from ninesight_query.starts import start_timestamp

__all__ = ["FUNCTIONS", "Arguments", "absent"]

Evaluated = Block | Scalars | Text


@dataclass(frozen=True, slots=True)
class Arguments:
    """The operands of a call, evaluated when asked for."""

    node: ir.Call
    grid: Grid
    context: Context
    evaluate: Callable[[ir.Expr, Grid, Context], Evaluated]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.node.args)

    def vector(self, index: int) -> Block:
        """Return an operand that is a vector; what is noted from now on is about it."""
        value = self.evaluate(self.node.args[index], self.grid, self.context)
        assert isinstance(value, Block)
        self.context.annotations.look_at(self.node.args[index].position)
        return value

    def scalar(self, index: int) -> Float64:
        """Return an operand that is a scalar, [T]; notes about parameters are from now on about it."""
        notes = self.context.annotations
        position = notes.position
        value = self.evaluate(self.node.args[index], self.grid, self.context)
        assert isinstance(value, Scalars)
        notes.look_at(position, self.node.args[index].position)
        return value.values

    def text(self, index: int) -> str:
        """Return an operand that is a string."""
        value = self.evaluate(self.node.args[index], self.grid, self.context)
        assert isinstance(value, Text)
        return value.value


Function = Callable[[ir.Call, Arguments], Evaluated]


def _math(name: str) -> Function:
    operation = floats.MATH_FUNCTIONS[name]
    return lambda _, args: floats.elementwise(args.vector(0), operation, args.context)


def _date(name: str) -> Function:
    return lambda _, args: floats.date(
        name, [args.vector(0)] if len(args) else [], args.grid.times, args.context
    )


def _simple(name: str) -> Function:
    whole = name in ("histogram_count", "histogram_sum", "histogram_avg")

    def call(_: ir.Call, args: Arguments) -> Block:
        with args.context.finding_resets(whole or args.context.find_resets):
            block = args.vector(0)
        return histogram.simple(block, name, args.context)

    return call


def _clamp(_: ir.Call, args: Arguments) -> Block:
    return floats.clamp(args.vector(0), args.scalar(1), args.scalar(2), args.context)


def _clamp_max(_: ir.Call, args: Arguments) -> Block:
    return floats.clamp(args.vector(0), np.full(args.grid.count, -np.inf), args.scalar(1), args.context)


def _clamp_min(_: ir.Call, args: Arguments) -> Block:
    return floats.clamp(args.vector(0), args.scalar(1), np.full(args.grid.count, np.inf), args.context)


def _round(_: ir.Call, args: Arguments) -> Block:
    nearest = args.scalar(1) if len(args) > 1 else np.ones(args.grid.count)
    return floats.round_to(args.vector(0), nearest, args.context)


def _scalar(_: ir.Call, args: Arguments) -> Scalars:
    block = args.vector(0)
    single = block.present.sum(axis=0) == 1
    found = np.where(block.present, block.values, 0.0)
    total = (
        found[np.argmax(block.present, axis=0), np.arange(block.steps)]
        if len(block)
        else np.zeros(block.steps)
    )
    return Scalars(np.where(single, total, np.nan))


def _vector(_: ir.Call, args: Arguments) -> Block:
    return Block.of_row((), args.scalar(0), np.ones(args.grid.count, np.bool_))


def _time(_: ir.Call, args: Arguments) -> Scalars:
    return Scalars(args.grid.times / 1000.0)


def _constant(seconds: Callable[[Context], float]) -> Function:
    return lambda _, args: Scalars(np.full(args.grid.count, seconds(args.context)))


def _timestamp(node: ir.Call, args: Arguments) -> Block:
    argument = node.args[0]
    if isinstance(argument, ir.Selector) and not argument.extension:
        block = instant(argument, args.grid, args.context, timestamps=True)
    else:
        block = args.vector(0)
        seconds = np.broadcast_to(args.grid.times / 1000.0, block.values.shape)
        block = block.floats(seconds, block.exists)
    return without_name(block, delayed=args.context.settings.delayed_name_removal)


def _start_timestamp(node: ir.Call, args: Arguments) -> Block:
    argument = node.args[0]
    if not isinstance(argument, ir.Selector) or not args.context.settings.use_start_timestamps:
        # A computed vector has none.
        return Block.empty(args.grid.count)
    block = start_timestamp(argument, args.grid, args.context)
    return without_name(block, delayed=args.context.settings.delayed_name_removal)


def _absent(node: ir.Call, args: Arguments) -> Block:
    return absent(args.vector(0).exists, node.args[0])


def _label_replace(_: ir.Call, args: Arguments) -> Block:
    return label_functions.label_replace(
        args.vector(0), args.text(1), args.text(2), args.text(3), args.text(4), args.context
    )


def _label_join(_: ir.Call, args: Arguments) -> Block:
    sources = [args.text(k) for k in range(3, len(args))]
    return label_functions.label_join(args.vector(0), args.text(1), args.text(2), sources, args.context)


def _sort(descending: bool) -> Function:
    return lambda _, args: label_functions.sort_by_value(args.vector(0), descending=descending)


def _sort_by_label(descending: bool) -> Function:
    return lambda _, args: label_functions.sort_by_label(
        args.vector(0), [args.text(k) for k in range(1, len(args))], descending=descending
    )


def _histogram_quantile(_: ir.Call, args: Arguments) -> Block:
    return histogram.histogram_quantile(args.vector(1), args.scalar(0), args.context)


def _histogram_quantiles(_: ir.Call, args: Arguments) -> Block:
    ratios = [args.scalar(k) for k in range(2, len(args))]
    positions = [arg.position for arg in args.node.args[2:]]
    return histogram.histogram_quantiles(args.vector(0), args.text(1), ratios, positions, args.context)


def _histogram_fraction(_: ir.Call, args: Arguments) -> Block:
    return histogram.histogram_fraction(args.vector(2), args.scalar(0), args.scalar(1), args.context)


def _extreme(pick: Callable[[Float64, Float64], Float64]) -> Function:
    return lambda _, args: Scalars(pick(args.scalar(0), args.scalar(1)))


def _info(node: ir.Call, args: Arguments) -> Block:
    data = node.args[1] if len(node.args) > 1 else None
    assert data is None or isinstance(data, ir.Selector)
    return info(args.vector(0), node.args[0], data, args.grid, args.context)


FUNCTIONS: dict[str, Function] = {
    **{name: _math(name) for name in floats.MATH_FUNCTIONS},
    **{name: _date(name) for name in floats.DATE_FUNCTIONS},
    **{name: _simple(name) for name in histogram.SIMPLE_FUNCTIONS},
    "absent": _absent,
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp_min,
    "end": _constant(lambda context: context.end_ms / 1000.0),
    "histogram_fraction": _histogram_fraction,
    "histogram_quantile": _histogram_quantile,
    "histogram_quantiles": _histogram_quantiles,
    "info": _info,
    "label_join": _label_join,
    "label_replace": _label_replace,
    "max_of": _extreme(np.maximum),
    "min_of": _extreme(np.minimum),
    "pi": _constant(lambda _: float(np.pi)),
    "range": _constant(lambda context: (context.end_ms - context.start_ms) / 1000.0),
    "round": _round,
    "scalar": _scalar,
    "sort": _sort(descending=False),
    "sort_by_label": _sort_by_label(descending=False),
    "sort_by_label_desc": _sort_by_label(descending=True),
    "sort_desc": _sort(descending=True),
    "start": _constant(lambda context: context.start_ms / 1000.0),
    "start_timestamp": _start_timestamp,
    "step": _constant(lambda context: context.step_ms / 1000.0),
    "time": _time,
    "timestamp": _timestamp,
    "vector": _vector,
}
