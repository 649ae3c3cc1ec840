"""Tiles: one figure each, with its unit, its bounds or its present value, and a line of how it got there.

Coloured only where a threshold is a judgement; a healthy page is nearly grey.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ninesight_analytics.contract import CostReport, Estimate, ModelSummary, ObjectiveReport

from ninesight_dashboards.contract import Leaves
from ninesight_dashboards.lines import State
from ninesight_dashboards.numbers import amount, duration, money, percent
from ninesight_dashboards.sparkline import EMPTY, sparkline

__all__ = [
    "Tile",
    "budget_tile",
    "cost_tile",
    "error_tile",
    "idle_tile",
    "latency_tile",
    "leaves",
    "load_tile",
    "missing",
    "present",
    "rate_tile",
    "share_tile",
]

ERROR_WARN, ERROR_BAD = 0.001, 0.01
BUDGET_WARN = 0.25
MEMORY_WARN, MEMORY_BAD = 0.90, 0.98
_COUNT_MIN = {0.5: 5, 0.9: 10, 0.95: 20, 0.99: 100}
"""Below so many observations a percentile is one or two requests, not a property of the model."""

Values = Sequence[float | None]


@dataclass(frozen=True)
class Tile:
    """One tile, ready to be shown."""

    value: str
    sub: str = ""
    level: str = "plain"
    """plain, warn or bad."""
    state: State = State.OK
    spark: Values = ()
    spark_top: float | None = None
    simulated: bool = False


def missing(state: State, sub: str = "") -> Tile:
    """Return a tile that says why it has no figure."""
    return Tile(str(state), sub, state=state)


def leaves(tile_id: str, tile: Tile) -> Leaves:
    """Return the tile's leaf values."""
    classes = ["ns-tile", f"is-{tile.level}", f"is-{tile.state.replace(' ', '-')}"]
    if tile.simulated:
        classes.append("is-simulated")
    return {
        f"{tile_id}-value.children": tile.value,
        f"{tile_id}-sub.children": tile.sub,
        f"{tile_id}.className": " ".join(classes),
        f"{tile_id}-spark.src": sparkline(tile.spark, top=tile.spark_top) if tile.spark else EMPTY,
    }


def present(values: Values) -> float | None:
    """The last value, if it is among the last few steps."""
    return next((value for value in reversed(list(values)[-3:]) if value is not None), None)


def rate_tile(rate: Estimate, spark: Values) -> Tile:
    """Requests per second now, beside the number of requests in the range."""
    if rate.value is None:
        return missing(State.NO_DATA, "model_requests_total")
    now = present(spark)
    if now is None:
        return Tile(f"{amount(rate.value)} /s", "mean of the range, none now", spark=spark)
    return Tile(f"{amount(now)} /s", f"{amount(rate.count)} in range", spark=spark)


def error_tile(ratio: Estimate, rate: Estimate, spark: Values) -> Tile:
    """Share of requests in error or timeout over the range."""
    if rate.value is None:
        return missing(State.NO_DATA, "model_requests_total")
    if ratio.value is None:
        return missing(State.NO_TRAFFIC)
    level = "bad" if ratio.value >= ERROR_BAD else "warn" if ratio.value >= ERROR_WARN else "plain"
    now = present(spark)
    sub = f"now {percent(now)}" if now is not None else f"of {amount(ratio.count)}"
    return Tile(percent(ratio.value), sub, level, spark=spark, spark_top=max(0.01, _highest(spark)))


def latency_tile(estimate: Estimate | None, rate: Estimate, spark: Values, *, quantile: float) -> Tile:
    """A percentile over the range with its bounds and the number of requests behind it."""
    if estimate is None or estimate.value is None:
        return missing(State.NO_TRAFFIC if rate.value == 0 else State.NO_DATA)
    sub = f"n {amount(estimate.count)}"
    if estimate.upper is not None and math.isinf(estimate.upper):
        sub = f"or more · {sub}"
    elif estimate.lower is not None and estimate.upper is not None and estimate.upper > estimate.lower:
        sub = f"{_bounds(estimate.lower, estimate.upper)} · {sub}"
    tile = Tile(duration(estimate.value), sub, spark=spark)
    few = estimate.count < _COUNT_MIN.get(quantile, 1)
    return replace(tile, sub=f"{sub} (few)") if few else tile


def _bounds(lower: float, upper: float) -> str:
    """Both bounds in one unit where they share it: 44.8-45.3 ms."""
    low, high = duration(lower), duration(upper)
    low_unit, high_unit = low.rpartition(" ")[2], high.rpartition(" ")[2]
    return (
        f"{low.removesuffix(' ' + low_unit)}-{high}"
        if low_unit == high_unit and " m" not in low[:-2]
        else f"{low}-{high}"
    )


def load_tile(in_flight: Values, waiting: Values) -> Tile:
    """Requests in flight and waiting, now."""
    working, queued = present(in_flight), present(waiting)
    if working is None and queued is None:
        return missing(State.NO_DATA, "model_requests_in_flight")
    text = [amount(value) if value is not None else "-" for value in (working, queued)]
    return Tile(" / ".join(text), "now", spark=waiting if queued is not None else in_flight)


def share_tile(name: str, busy: Values, memory: Values) -> Tile:
    """The busiest GPU's utilisation, with its memory."""
    now, used = present(busy), present(memory)
    if now is None:
        return missing(State.NO_DATA, "gpu_utilization_ratio")
    sub = name if used is None else f"{name} · mem {percent(used)}"
    level = "plain" if used is None or used < MEMORY_WARN else "bad" if used >= MEMORY_BAD else "warn"
    return Tile(percent(now), sub, level, spark=busy, spark_top=1.0)


def budget_tile(worst: tuple[str, ObjectiveReport] | None, *, configured: bool) -> Tile:
    """The worst error budget left, and whose it is."""
    if worst is None or worst[1].budget_left.value is None:
        return missing(State.NO_DATA, "no objective has data" if configured else "no SLA configured")
    left = worst[1].budget_left.value
    level = "bad" if left <= 0 else "warn" if left < BUDGET_WARN else "plain"
    return Tile(percent(left), f"{worst[0]} · {worst[1].name}", level)


def cost_tile(report: CostReport | None) -> Tile:
    """Cost per hour over the range."""
    if report is None:
        return missing(State.NO_DATA, "no price book configured")
    hours = report.window.duration_s / 3600
    if report.bill == 0:
        return missing(State.NO_DATA, "nothing priced was seen")
    sub = f"{money(report.bill, report.currency)} in range"
    return Tile(f"{money(report.bill / hours, report.currency)}/h", sub, simulated=report.simulated)


def idle_tile(report: CostReport | None) -> Tile:
    """Share of the bill that no model used."""
    if report is None or report.idle_ratio is None:
        return missing(State.NO_DATA, "no bill")
    sub = f"{money(report.idle, report.currency)} · {report.basis}"
    return Tile(percent(report.idle_ratio), sub, simulated=report.simulated)


def per_thousand_tile(report: CostReport | None, model: str) -> Tile:
    """Cost per 1,000 predictions of a model, all versions together."""
    lines = [line for line in report.lines if line.model == model] if report else []
    predictions = sum(line.predictions for line in lines)
    if report is None or not lines:
        return missing(State.NO_DATA, "no price book configured" if report is None else "no cost attributed")
    if predictions <= 0:
        return missing(State.NO_TRAFFIC)
    spent = sum(line.amount for line in lines)
    sub = f"{money(spent, report.currency)} in range"
    text = money(1000 * spent / predictions, report.currency, fine=True)
    return Tile(text, sub, simulated=report.simulated)


def summed(rows: Sequence[ModelSummary]) -> tuple[Estimate, Estimate]:
    """Return request rate and error ratio over all rows."""
    known = [row for row in rows if row.request_rate.value is not None]
    if not known:
        return Estimate(None), Estimate(None)
    rates = np.array([row.request_rate.value for row in known], np.float64)
    counts = np.array([row.request_rate.count for row in known], np.float64)
    ratios = np.array([row.error_ratio.value or 0.0 for row in known], np.float64)
    total = float(rates.sum())
    rate = Estimate(total, count=float(counts.sum()), basis=known[0].request_rate.basis)
    if total == 0:
        return rate, Estimate(None)
    return rate, Estimate(float((ratios * rates).sum() / total), count=float(counts.sum()), basis=rate.basis)


def _highest(values: Values) -> float:
    return max((value for value in values if value is not None), default=0.0)
