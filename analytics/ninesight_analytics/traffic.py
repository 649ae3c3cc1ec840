"""Traffic per model, version or instance: rates, errors, latency, load, in a handful of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ninesight_query.contract import Engine

from ninesight_analytics import latency
from ninesight_analytics.contract import (
    EVERYTHING,
    NO_DATA,
    Basis,
    Estimate,
    Key,
    ModelSummary,
    Scope,
    Window,
)
from ninesight_analytics.distribution import Distribution, percentile
from ninesight_analytics.rows import ask, key_of
from ninesight_analytics.selectors import grouping, range_of, scoped
from ninesight_analytics.wilson import wilson

__all__ = ["ERROR_OUTCOMES", "models"]

ERROR_OUTCOMES = frozenset({"error", "timeout"})
"""Outcomes that are the server's fault. Shed and cancelled requests are shown, but are no errors."""


@dataclass
class _Gathered:
    """What the queries say of one group."""

    outcomes: dict[str, float] = field(default_factory=dict)
    """Requests by outcome."""
    predictions: float | None = None
    in_flight: float | None = None
    queue_depth: float | None = None
    simulated: bool = False


def models(
    engine: Engine, window: Window, *, by: Sequence[str] = ("model",), scope: Scope = EVERYTHING
) -> tuple[ModelSummary, ...]:
    """Return one row per group seen in the window, sorted by key.

    Six queries for native histograms, eight for classic ones, whatever the number of models.
    Rates are means over the window; in flight and queue depth are as of its end. Raises QueryError.
    """
    gathered = _gather(engine, window, by, scope)
    known = latency.distributions(engine, window, by=by, scope=scope)
    keys = sorted(gathered.keys() | known.keys())
    return tuple(_summary(key, by, gathered.get(key, _Gathered()), known.get(key), window) for key in keys)


def _gather(engine: Engine, window: Window, by: Sequence[str], scope: Scope) -> dict[Key, _Gathered]:
    """Ask for counters and gauges, and sort the answers by group."""
    span = range_of(window)
    group = grouping((*by, "simulated"))
    by_outcome = grouping((*by, "outcome", "simulated"))
    requests = f"sum {by_outcome} (increase({scoped('model_requests_total', scope)}{span}))"
    predictions = f"sum {group} (increase({scoped('model_predictions_total', scope)}{span}))"
    in_flight = f"sum {group} ({scoped('model_requests_in_flight', scope)})"
    queue_depth = f"sum {group} ({scoped('model_queue_depth', scope)})"
    found: dict[Key, _Gathered] = {}
    for query in (requests, predictions, in_flight, queue_depth):
        for row in ask(engine, query, window.end_ms):
            group_of = found.setdefault(key_of(row, by), _Gathered())
            group_of.simulated |= row.simulated
            if query is requests:
                outcome = row.labels.get("outcome", "")
                group_of.outcomes[outcome] = group_of.outcomes.get(outcome, 0.0) + row.value
            elif query is predictions:
                group_of.predictions = (group_of.predictions or 0.0) + row.value
            elif query is in_flight:
                group_of.in_flight = (group_of.in_flight or 0.0) + row.value
            else:
                group_of.queue_depth = (group_of.queue_depth or 0.0) + row.value
    return found


def _summary(
    key: Key,
    by: Sequence[str],
    gathered: _Gathered,
    distribution: Distribution | None,
    window: Window,
) -> ModelSummary:
    requests = sum(gathered.outcomes.values())
    seconds = window.duration_s
    return ModelSummary(
        key=key,
        labels=dict(zip(by, key, strict=True)),
        request_rate=_rate(requests if gathered.outcomes else None, seconds),
        error_ratio=error_ratio(gathered.outcomes),
        outcomes={name: _rate(count, seconds) for name, count in sorted(gathered.outcomes.items())},
        latency={
            q: NO_DATA if distribution is None else percentile(distribution, q) for q in latency.QUANTILES
        },
        latency_mean=latency.mean_of(distribution),
        prediction_rate=_rate(gathered.predictions, seconds),
        in_flight=_gauge(gathered.in_flight),
        queue_depth=_gauge(gathered.queue_depth),
        simulated=gathered.simulated,
    )


def error_ratio(outcomes: dict[str, float]) -> Estimate:
    """Return the share of failed requests with Wilson's 95 % interval; no data without requests."""
    count = sum(outcomes.values())
    if count <= 0:
        return NO_DATA
    errors = sum(number for outcome, number in outcomes.items() if outcome in ERROR_OUTCOMES)
    lower, upper = wilson(errors, count)
    return Estimate(errors / count, lower, upper, count, Basis.COUNTER)


def _rate(count: float | None, seconds: float) -> Estimate:
    if count is None:
        return NO_DATA
    return Estimate(count / seconds, count=count, basis=Basis.COUNTER)


def _gauge(value: float | None) -> Estimate:
    return NO_DATA if value is None else Estimate(value, value, value, 1.0, Basis.GAUGE)
