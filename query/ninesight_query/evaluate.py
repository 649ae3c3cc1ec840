"""The evaluator: walks the tree once, each node over all series and all steps.

An instant query is a range query of one step. What is the same at every step (`@`-pinned, literals)
is evaluated at one step and repeated without a copy.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from ninesight_store.contract import Float64
from ninesight_store.errors import MatcherError

from ninesight_query import binary, functions, ir, vectors
from ninesight_query.aggregate import aggregate
from ninesight_query.bin_functions import NotInBinsError, bin_vector
from ninesight_query.block import Block, Grid, Scalars, Text, filled, without_name
from ninesight_query.context import Context
from ninesight_query.errors import ExecutionError
from ninesight_query.extended import smoothed
from ninesight_query.histogram_math import negate
from ninesight_query.narrow import Narrow, narrowed
from ninesight_query.plan import subquery_grid
from ninesight_query.range_functions import RANGE_FUNCTIONS, call_range
from ninesight_query.ranked import count_values, ranked
from ninesight_query.select import RangeVector, instant, range_vector
from ninesight_query.subquery import subquery_vector

__all__ = ["evaluate", "range_argument"]

Evaluated = Block | Scalars | Text


def evaluate(expr: ir.Expr, grid: Grid, context: Context) -> Evaluated:
    """Return the value of a scalar, vector or string expression on a grid. Raises QueryError."""
    if isinstance(expr, ir.NumberLiteral):
        return Scalars(np.broadcast_to(np.float64(expr.value), (grid.count,)))
    if grid.count > 1 and ir.step_invariant(expr):
        once = _evaluate(expr, Grid(grid.start_ms, grid.step_ms, 1), context)
        if isinstance(once, Block):
            context.check_cells(len(once), grid.count)
            out = once.broadcast(grid.count)
            out.ordered = False
            return out
        if isinstance(once, Scalars):
            return Scalars(np.broadcast_to(once.values, (grid.count,)))
        return once
    value = _evaluate(expr, grid, context)
    context.check_deadline()
    if isinstance(value, Block):
        # Some nodes know how large they get only when they are done.
        context.check_cells(len(value.labels), value.values.shape[1])
    return value


def _evaluate(expr: ir.Expr, grid: Grid, context: Context) -> Evaluated:
    match expr:
        case ir.Call():
            return _call(expr, grid, context)
        case ir.Selector():
            return smoothed(expr, grid, context) if expr.extension else instant(expr, grid, context)
        case ir.Aggregate():
            return _aggregate(expr, grid, context)
        case ir.Binary():
            return _binary(expr, grid, context)
        case ir.Negate():
            return _negate(evaluate(expr.expr, grid, context), context)
        case ir.StringLiteral():
            return Text(expr.value)
        case _:
            raise ExecutionError(
                "a range vector (like metric[5m]) must stand inside a function such as rate()"
            )


def vector(expr: ir.Expr, grid: Grid, context: Context) -> Block:
    """Evaluate an operand that the parser knows to be a vector."""
    value = evaluate(expr, grid, context)
    assert isinstance(value, Block), expr
    return value


def scalar(expr: ir.Expr, grid: Grid, context: Context) -> Float64:
    """Evaluate an operand that the parser knows to be a scalar: [T]."""
    value = evaluate(expr, grid, context)
    assert isinstance(value, Scalars), expr
    return value.values


def range_argument(expr: ir.Expr, grid: Grid, context: Context) -> RangeVector:
    """Evaluate an operand that the parser knows to be a range vector."""
    if isinstance(expr, ir.RangeSelector):
        return range_vector(expr, grid, context)
    assert isinstance(expr, ir.Subquery), expr
    inner = subquery_grid(expr, grid, context)
    block = vector_or_scalar(expr.expr, inner, context) if inner.count else Block.empty(0)
    return subquery_vector(expr, block, inner, grid, context)


def vector_or_scalar(expr: ir.Expr, grid: Grid, context: Context) -> Block:
    """Evaluate an operand that may be a scalar; a scalar becomes one series without labels."""
    value = evaluate(expr, grid, context)
    if isinstance(value, Scalars):
        return Block.of_row((), value.values, np.ones(grid.count, np.bool_))
    assert isinstance(value, Block), expr
    return value


def _negate(value: Evaluated, context: Context) -> Evaluated:
    if isinstance(value, Scalars):
        return Scalars(-value.values)
    assert isinstance(value, Block)
    histograms = value.histograms
    if histograms is not None:
        histograms = histograms.copy()
        for cell in zip(*np.nonzero(filled(histograms)), strict=True):
            histograms[cell] = negate(histograms[cell])
    out = Block(value.labels, -value.values, value.present, value.drop_name, histograms)
    return without_name(out, delayed=context.settings.delayed_name_removal)


def _binary(node: ir.Binary, grid: Grid, context: Context) -> Evaluated:
    """Evaluate a chain of operators from its innermost left operand out, without a level of stack for each."""
    if context.find_resets:
        with context.finding_resets(False):
            return _binary(node, grid, context)
    chain = [node]
    while isinstance(inner := chain[-1].left, ir.Binary) and not (
        grid.count > 1 and ir.step_invariant(inner)
    ):
        chain.append(inner)
    left = evaluate(inner, grid, context)
    for each in reversed(chain):
        held = left.values.size if isinstance(left, Block) else 0
        # A query that fails meanwhile ends: nothing has to be let go then.
        context.held += held
        right = evaluate(each.right, grid, context)
        context.held -= held
        left = _operated(each, left, right, context)
    return left


def _operated(node: ir.Binary, left: Evaluated, right: Evaluated, context: Context) -> Evaluated:
    context.annotations.look_at(node.position)
    if isinstance(left, Scalars) and isinstance(right, Scalars):
        return binary.scalar_scalar(node.op, left, right)
    if isinstance(left, Block) and isinstance(right, Block):
        if node.op in ("and", "or", "unless"):
            return vectors.set_operation(node, left, right)
        return vectors.vector_vector(node, left, right, context)
    if isinstance(left, Block) and isinstance(right, Scalars):
        return binary.vector_scalar(
            node.op, left, right, swapped=False, return_bool=node.return_bool, context=context
        )
    assert isinstance(left, Scalars)
    assert isinstance(right, Block)
    return binary.vector_scalar(
        node.op, right, left, swapped=True, return_bool=node.return_bool, context=context
    )


def _aggregate(node: ir.Aggregate, grid: Grid, context: Context) -> Block:
    if node.op == "count_values":
        assert isinstance(node.param, ir.StringLiteral)
        return count_values(node, vector(node.expr, grid, context), node.param.value, context)
    param = None if node.param is None else scalar(node.param, grid, context)
    block = evaluate(node.expr, grid, context)
    assert isinstance(block, Block), node.expr
    context.annotations.look_at(node.expr.position, None if node.param is None else node.param.position)
    if node.op in ("topk", "bottomk", "limitk", "limit_ratio"):
        assert param is not None
        return ranked(node, block, param, context)
    if node.op == "quantile":
        assert param is not None
        for q in np.unique(param):
            if not 0 <= q <= 1:
                context.annotations.invalid_quantile(float(q))
    return aggregate(node, block, param, context)


def _call(node: ir.Call, grid: Grid, context: Context) -> Evaluated:
    if node.name in RANGE_FUNCTIONS:
        narrow = context.narrow.get(id(node)) if context.narrow and not context.find_resets else None
        if narrow is not None:
            return _shared_call(node, narrow, grid, context)
        return _range_call(node, grid, context)
    function = functions.FUNCTIONS.get(node.name)
    if function is None:
        raise ExecutionError(f"the function {node.name} is not supported by this engine")
    return function(node, functions.Arguments(node, grid, context, evaluate))


def _shared_call(node: ir.Call, narrow: Narrow, grid: Grid, context: Context) -> Block:
    """Evaluate a call that another one is wider than, or that is wider itself."""
    key = id(narrow.wide), grid.start_ms, grid.step_ms, grid.count
    if key not in context.wide:
        before = context.annotations.mark
        block = _range_call(narrow.wide, grid, context)
        if context.annotations.mark == before:
            context.wide[key] = block
            context.held += block.values.size
        else:
            # What there is to say is about one place of the query: each call is worked out, and says it, for itself.
            context.annotations.forget_from(before)
            context.wide[key] = None
    wide = context.wide[key]
    if wide is None:
        return _range_call(node, grid, context)
    try:
        return narrowed(wide, narrow)
    except MatcherError as error:
        raise ExecutionError(str(error)) from error


def _range_call(node: ir.Call, grid: Grid, context: Context) -> Block:
    argument, params = node.args[0], []
    if len(node.args) > 1:
        place = next(k for k, arg in enumerate(node.args) if arg.type is ir.ValueType.MATRIX)
        params = [scalar(arg, grid, context) for k, arg in enumerate(node.args) if k != place]
        argument = node.args[place]
    block: Block | None = None
    if isinstance(argument, ir.RangeSelector):
        bins = bin_vector(node.name, argument, grid, context)
        if bins is not None:
            context.annotations.look_at(argument.position, node.args[0].position)
            with suppress(NotInBinsError):
                block = call_range(node.name, bins, params, context)
    if block is None:
        windows = range_argument(argument, grid, context)
        context.annotations.look_at(argument.position, node.args[0].position)
        block = call_range(node.name, windows, params, context)
    if node.name == "absent_over_time":
        return functions.absent(block.present, argument)
    return block
