"""What a query will read, worked out before it is evaluated: each selector is fetched once per span."""

from __future__ import annotations

from ninesight_store.contract import Matcher

from ninesight_query import ir
from ninesight_query.block import Grid
from ninesight_query.context import Context
from ninesight_query.select import selector_span, shifted

__all__ = ["plan", "subquery_grid"]

Spans = dict[tuple[Matcher, ...], list[tuple[int, int]]]


def subquery_grid(node: ir.Subquery, grid: Grid, context: Context) -> Grid:
    """Return the inner grid: multiples of the step (from the epoch) within all windows of the outer one."""
    step_ms = node.step_ms or context.settings.subquery_step_ms
    ends = shifted(grid, node.offset_ms, node.at, context)
    first, last = int(ends[0]) - node.range_ms, int(ends[-1])
    start_ms = (first // step_ms + 1) * step_ms
    return Grid(start_ms, step_ms, max(0, (last - start_ms) // step_ms + 1))


def plan(expr: ir.Expr, grid: Grid, context: Context) -> None:
    """Fill `context.spans` with the joined spans of every selector."""
    spans: Spans = {}
    _visit(expr, grid, context, spans)
    for matchers, found in spans.items():
        context.spans[matchers] = _joined(found)


def _visit(expr: ir.Expr, grid: Grid, context: Context, spans: Spans) -> None:
    waiting = [(expr, grid)]
    while waiting:
        node, at = waiting.pop()
        match node:
            case ir.RangeSelector():
                span = selector_span(node.selector, node.range_ms, at, context)
                spans.setdefault(node.selector.matchers, []).append(span)
            case ir.Selector():
                span = selector_span(node, context.settings.lookback_ms, at, context)
                spans.setdefault(node.matchers, []).append(span)
            case ir.Subquery():
                inner = subquery_grid(node, at, context)
                # Before any array of that many times is made.
                context.check_cells(1, inner.count)
                if inner.count:
                    waiting.append((node.expr, inner))
            case _:
                waiting.extend((child, at) for child in reversed(ir.children(node)))


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join spans that touch; spans far apart stay apart (a week's offset shall not read the week)."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return out
