"""PromQL that serves native and classic histograms alike.

A native histogram answers where there is one; per group without it the classic `_bucket` series do.
"""

from __future__ import annotations

__all__ = ["mean", "quantile", "rate"]


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""


def rate(metric: str, by: tuple[str, ...] = (), matchers: str = "") -> str:
    """Return the per-second rate of a counter, summed."""
    inside = ", ".join(part for part in ("$scope", matchers) if part)
    return f"sum{_by(by)} (rate({metric}{{{inside}}}[$w]))"


def quantile(q: float, metric: str, by: tuple[str, ...] = ()) -> str:
    """Return a quantile of a histogram per group."""
    native = f"histogram_quantile({q}, sum{_by(by)} (rate({metric}{{$scope}}[$w])))"
    classic = f"histogram_quantile({q}, sum{_by((*by, 'le'))} (rate({metric}_bucket{{$scope}}[$w])))"
    return f"{native} or {classic}"


def mean(metric: str, by: tuple[str, ...] = ()) -> str:
    """Return the mean of a histogram per group: sum over count, where there were observations."""
    native = f"sum{_by(by)} (rate({metric}{{$scope}}[$w]))"
    total = f"sum{_by(by)} (rate({metric}_sum{{$scope}}[$w]))"
    count = f"sum{_by(by)} (rate({metric}_count{{$scope}}[$w]))"
    return f"histogram_avg({native}) or {total} / ({count} > 0)"
