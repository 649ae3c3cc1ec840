"""Latency percentiles that say how sure they are.

Native histograms give bounds of about 1 % (schema 6), classic buckets an interval between two
fixed edges, and nothing is invented above the last edge. Where a group has both, native wins.

Counts come from `increase` over the window: Prometheus extrapolates to the window's ends, so over
windows of a few scrapes the count is an estimate. It scales every bucket alike, so the percentile
of the requests between the first and the last sample is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ninesight_query.contract import Engine

from ninesight_analytics.contract import EVERYTHING, NO_DATA, Estimate, Key, Scope, Window
from ninesight_analytics.distribution import (
    Distribution,
    distribution_of_classic,
    distribution_of_native,
    percentile,
)
from ninesight_analytics.rows import Row, ask, key_of, totals
from ninesight_analytics.selectors import grouping, range_of, scoped

__all__ = ["METRIC", "QUANTILES", "distributions", "percentiles", "relative_error"]

METRIC = "model_request_duration_seconds"
QUANTILES = (0.5, 0.9, 0.95, 0.99)


def percentiles(
    engine: Engine,
    window: Window,
    quantiles: Sequence[float] = QUANTILES,
    *,
    by: Sequence[str] = ("model",),
    scope: Scope = EVERYTHING,
    metric: str = METRIC,
) -> Mapping[Key, Mapping[float, Estimate]]:
    """Return, for each group, each quantile's value in seconds with its bounds and the requests behind it.

    The definition is nearest rank: the smallest latency that at least quantile x count requests
    stay at or under. Taken exactly from a log of the same requests it lies in lower..upper.
    `metric` may name any histogram (stages, batch sizes). Raises QueryError, and ValueError for a
    quantile outside 0..1.
    """
    found = distributions(engine, window, by=by, scope=scope, metric=metric)
    return {key: {q: percentile(known, q) for q in quantiles} for key, known in found.items()}


def relative_error(estimate: Estimate) -> float | None:
    """Return how far the truth can lie from the value, as a share of the truth.

    None without data, infinite where a bound is 0 or infinite.
    """
    if estimate.value is None or estimate.lower is None or estimate.upper is None:
        return None
    if estimate.lower == estimate.upper:
        return 0.0
    if estimate.lower <= 0 or math.isinf(estimate.upper):
        return math.inf
    return max(estimate.value / estimate.lower - 1, 1 - estimate.value / estimate.upper)


def distributions(
    engine: Engine,
    window: Window,
    *,
    by: Sequence[str] = ("model",),
    scope: Scope = EVERYTHING,
    metric: str = METRIC,
    more: Sequence[str] = (),
) -> dict[Key, Distribution]:
    """Return what each group's histograms saw in the window. `more` are further matchers, already written.

    Two queries, four where any group has only classic buckets. Raises QueryError.
    """
    span, group = range_of(window), grouping(by)
    by_bucket = grouping((*by, "le"))
    total = f"sum {group}" if by else "sum"

    def increase(suffix: str) -> str:
        return f"(increase({scoped(metric + suffix, scope, *more)}{span}))"

    found = {
        key_of(row, by): distribution_of_native(row.histogram)
        for row in ask(engine, total + increase(""), window.end_ms)
        if row.histogram is not None
    }
    found = {key: known for key, known in found.items() if known.count > 0}
    buckets = ask(engine, f"sum {by_bucket}" + increase("_bucket"), window.end_ms)
    if all(key_of(row, by) in found for row in buckets):
        return found
    series = ask(engine, f"count {by_bucket}" + increase("_bucket"), window.end_ms)
    sums = totals(ask(engine, total + increase("_sum"), window.end_ms), by)
    for key, cumulative in _common_buckets(buckets, series, by).items():
        known = distribution_of_classic(cumulative, sums.get(key))
        if key not in found and known is not None and known.count > 0:
            found[key] = known
    return found


def mean_of(distribution: Distribution | None) -> Estimate:
    """Return the mean in seconds, no data where there is no distribution."""
    return NO_DATA if distribution is None else distribution.mean


def _common_buckets(
    buckets: Sequence[Row], series: Sequence[Row], by: Sequence[str]
) -> dict[Key, dict[float, float]]:
    """Keep, for each group, the bounds that every one of its series has.

    Two instances with different buckets add up only at the bounds they share; a bound that one of
    them lacks would count that instance's requests as slower than they were.
    """
    members: dict[Key, dict[float, float]] = {}
    for row in series:
        members.setdefault(key_of(row, by), {})[_bound(row)] = row.value
    found: dict[Key, dict[float, float]] = {}
    for row in buckets:
        key, bound = key_of(row, by), _bound(row)
        counts = members.get(key, {})
        if counts.get(bound, 0.0) >= counts.get(math.inf, math.inf):
            found.setdefault(key, {})[bound] = row.value
    return found


def _bound(row: Row) -> float:
    """Return the bucket's upper bound; text that is no number cannot be one."""
    try:
        return float(row.labels.get("le", ""))
    except ValueError:
        return math.nan
