"""Cost over time, for a chart: the bill of each step, split like the report's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ninesight_query.contract import Engine
from ninesight_query.durations import format_duration

from ninesight_analytics import presence
from ninesight_analytics.arrays import Float64, Int64
from ninesight_analytics.billing import Bill, bill_of
from ninesight_analytics.contract import Billing, Key, Window
from ninesight_analytics.presence import Grid, grid_of, matrix
from ninesight_analytics.pricebook import PriceBook
from ninesight_analytics.selectors import grouping

__all__ = ["CostSeries", "series"]


@dataclass(frozen=True, eq=False)
class CostSeries:
    """Amounts per step; at each step the lines and idle add up to the bill."""

    timestamps: Int64
    """[T] end of each step, milliseconds."""
    step_s: float
    currency: str
    bill: Float64
    """[T]"""
    idle: Float64
    """[T]"""
    lines: Mapping[Key, Float64]
    """(model, version) -> [T]"""


def series(
    engine: Engine,
    window: Window,
    price_book: PriceBook,
    *,
    steps: int = 60,
    billing: Billing = Billing.OBSERVED,
) -> CostSeries:
    """Return cost over time in at most `steps` steps, by the SDK's accelerator-seconds.

    Every second costs the average of what was billed in its step. Two or three queries. Raises QueryError.
    """
    if not 1 <= steps <= presence.STEPS_MAX:
        raise ValueError(f"steps must be between 1 and {presence.STEPS_MAX}, got {steps}")
    gpus = presence.gpus(engine, window)
    instances = presence.instances(engine, window) if price_book.prices_instances else ()
    grid = grid_of(window, steps)
    amounts, capacity = _per_step(bill_of(gpus, instances, price_book, window, billing), grid)
    seconds = _seconds(engine, grid)
    measured = np.sum(list(seconds.values()), axis=0) if seconds else np.zeros(grid.steps)
    available = np.maximum(capacity, measured)
    price = np.divide(amounts, available, out=np.zeros(grid.steps), where=available > 0)
    lines = {key: price * used for key, used in seconds.items()}
    attributed = np.sum(list(lines.values()), axis=0) if lines else np.zeros(grid.steps)
    return CostSeries(
        timestamps=_ends(grid),
        step_s=grid.step_ms / 1000.0,
        currency=price_book.currency,
        bill=amounts,
        idle=np.maximum(amounts - attributed, 0.0),
        lines=lines,
    )


def _ends(grid: Grid) -> Int64:
    return grid.start_ms + grid.step_ms * np.arange(1, grid.steps + 1, dtype=np.int64)


def _per_step(bill: Bill, grid: Grid) -> tuple[Float64, Float64]:
    """Return (amount, accelerator-seconds available) of each step: each charge by its overlap."""
    ends = _ends(grid)
    begins = ends - grid.step_ms
    amounts, capacity = np.zeros(grid.steps), np.zeros(grid.steps)
    for charge in bill.charges:
        overlap = np.minimum(ends, charge.span[1]) - np.maximum(begins, charge.span[0])
        share = np.clip(overlap, 0, None) / (charge.span[1] - charge.span[0])
        amounts += share * charge.amount
        capacity += share * charge.capacity_s
    return amounts, capacity


def _seconds(engine: Engine, grid: Grid) -> dict[Key, Float64]:
    by = grouping(("model", "version"))
    span = format_duration(grid.step_ms)
    answer = matrix(engine, f"sum {by} (increase(model_accelerator_seconds_total[{span}]))", grid)
    column = ((answer.timestamps - grid.start_ms) // grid.step_ms).astype(np.intp)
    found: dict[Key, Float64] = {}
    for row, labels in enumerate(answer.labels):
        used = np.zeros(grid.steps + 1)
        used[column] = np.where(answer.present[row], answer.values[row], 0.0)
        known = dict(labels)
        found[known.get("model", ""), known.get("version", "")] = np.maximum(np.nan_to_num(used[1:]), 0.0)
    return found
