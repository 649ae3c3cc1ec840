"""What a query will read, worked out before it is evaluated: each selector is fetched once per span."""

from __future__ import annotations

from dataclasses import dataclass, field

from ninesight_store.contract import Matcher

from ninesight_query import ir
from ninesight_query.bin_functions import BIN_FUNCTIONS, BinFunction
from ninesight_query.block import Grid
from ninesight_query.context import Context
from ninesight_query.fetch import BinWish
from ninesight_query.spans import bin_wish, selector_span, shifted

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
    """Fill `context.spans` with the joined spans of every selector, `bin_wishes` with what is read as bins."""
    wanted = _Wanted()
    _visit(expr, grid, context, wanted)
    for matchers, found in wanted.spans.items():
        context.spans[matchers] = _joined(found)
    for matchers, wishes in wanted.bins.items():
        context.bin_wishes[matchers] = _joined_wishes(wishes)


@dataclass
class _Wanted:
    """What the selectors of a query ask for."""

    spans: Spans = field(default_factory=dict)
    bins: dict[tuple[Matcher, ...], list[BinWish]] = field(default_factory=dict)

    def add(self, selector: ir.Selector, span: tuple[int, int], wish: BinWish | None) -> None:
        """Note a selector; `wish`: the bins that are enough for it."""
        if wish is None:
            self.spans.setdefault(selector.matchers, []).append(span)
        else:
            self.bins.setdefault(selector.matchers, []).append(wish)


def _visit(expr: ir.Expr, grid: Grid, context: Context, wanted: _Wanted) -> None:
    waiting: list[tuple[ir.Expr, Grid, BinFunction | None]] = [(expr, grid, None)]
    while waiting:
        node, at, function = waiting.pop()
        match node:
            case ir.RangeSelector():
                one, range_ms = node.selector, node.range_ms
                wish = None
                if function is not None:
                    wish = bin_wish(one, range_ms, at, context, columns=function.columns, newest=False)
                wanted.add(one, selector_span(one, range_ms, at, context), wish)
            case ir.Selector():
                lookback_ms = context.settings.lookback_ms
                wish = bin_wish(node, lookback_ms, at, context, newest=True)
                wanted.add(node, selector_span(node, lookback_ms, at, context), wish)
            case ir.Subquery():
                inner = subquery_grid(node, at, context)
                # Before any array of that many times is made.
                context.check_cells(1, inner.count)
                if inner.count:
                    waiting.append((node.expr, inner, None))
            case _:
                named = BIN_FUNCTIONS.get(node.name) if isinstance(node, ir.Call) else None
                waiting.extend((child, at, named) for child in reversed(ir.children(node)))


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join spans that touch; spans far apart stay apart (a week's offset shall not read the week)."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return out


def _joined_wishes(wishes: list[BinWish]) -> list[BinWish]:
    """Join wishes whose spans touch."""
    out: list[BinWish] = []
    for wish in sorted(wishes, key=lambda wish: (wish.start_ms, wish.end_ms)):
        if out and wish.start_ms <= out[-1].end_ms + 1:
            out[-1] = out[-1].and_also(wish)
        else:
            out.append(wish)
    return out
