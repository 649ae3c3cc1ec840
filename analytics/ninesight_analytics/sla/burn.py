"""Burn-rate rules: a Prometheus rule group that warns before the budget is gone.

    burn over the long look-back > factor      it matters
    and burn over the short one > factor       it still goes on
    and enough requests                        it is not one or two failures

Source of the default set: Google's SRE workbook, chapter 5, table 5-8, and Sloth's formula
factor = share of the budget x period / long look-back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from ninesight_query.durations import duration_ms, format_duration

from ninesight_analytics.sla.agreement import BurnWindow, Objective, Sla, look_backs, requests_for
from ninesight_analytics.sla.period import DAY_MS

__all__ = ["ALERT", "FAILURES_MIN", "burn_rules", "default_windows"]

ALERT = "SlaErrorBudgetBurn"
FAILURES_MIN = 2.0
"""One failure alone wakes nobody."""

_MONTH_MS = 28 * DAY_MS
# (long, short, share of the budget, severity) for a period of 28 days or more.
_WORKBOOK = (
    (3_600_000, 300_000, 0.02, "page"),
    (6 * 3_600_000, 1_800_000, 0.05, "page"),
    (3 * DAY_MS, 6 * 3_600_000, 0.10, "ticket"),
)


def default_windows(period_ms: int) -> tuple[BurnWindow, ...]:
    """Return the workbook's three pairs for a period; below 28 days the look-backs shrink with it.

    30 days: 1h/5m at 14.4 and 6h/30m at 6 page, 3d/6h at 1 is a ticket. Raises ValueError below a
    day: look-backs of seconds must be chosen by hand.
    """
    if period_ms < DAY_MS:
        raise ValueError(
            f"burn_windows must be given for a period under 1d, got {format_duration(period_ms)}; "
            "write burn_windows: [{long: 1m, short: 15s, factor: 2, severity: page}]"
        )
    scale = min(1.0, period_ms / (30 * DAY_MS)) if period_ms < _MONTH_MS else 1.0
    windows = []
    for long_ms, short_ms, share, severity in _WORKBOOK:
        long_s, short_s = round(long_ms * scale / 1000), round(short_ms * scale / 1000)
        factor = share * period_ms / (long_s * 1000)
        windows.append(
            BurnWindow(
                format_duration(long_s * 1000),
                format_duration(short_s * 1000),
                float(f"{factor:.4g}"),
                severity,
            )
        )
    return tuple(windows)


def burn_rules(
    sla: Sla,
    *,
    windows: Sequence[BurnWindow] | None = None,
    failures_min: float = FAILURES_MIN,
    interval: str | None = None,
    labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return the SLA's alerting rules as one Prometheus rule group, ready for YAML.

    `windows` replace the SLA's own (a demo uses 30s/10s). A pair that an objective cannot reach
    (factor x budget >= 1) is left out for it. `failures_min` failures are needed at least: the guard
    for low traffic asks for failures_min / (factor x budget) requests in the long look-back.
    `interval` is the group's; None: a fifth of the shortest look-back if that is under 2 minutes,
    else the evaluator's default. `labels` are added to every alert.
    """
    chosen = tuple(windows) if windows is not None else sla.burn_windows
    rules = [
        _rule(sla, objective, window, failures_min, labels or {})
        for objective in sla.objectives
        for window in chosen
        if window.factor * objective.budget < 1
    ]
    group: dict[str, Any] = {"name": f"sla/{sla.name}", "rules": rules}
    shortest_ms = duration_ms(look_backs(chosen)[0]) if chosen else 0
    if interval is None and 0 < shortest_ms < 120_000:
        interval = format_duration(max(1000, shortest_ms // 5 // 1000 * 1000))
    if interval is not None:
        group["interval"] = interval
    return group


def _rule(
    sla: Sla, objective: Objective, window: BurnWindow, failures_min: float, more: dict[str, str]
) -> dict[str, Any]:
    threshold = f"{window.factor * objective.budget:.10g}"
    events = objective.events
    requests = requests_for(failures_min, window.factor, objective.budget)
    expr = (
        f"({events.bad_ratio(window.long)}) > {threshold}\n"
        f"and ({events.bad_ratio(window.short)}) > {threshold}\n"
        f"and {events.total(window.long)} >= {requests}"
    )
    labels = {
        "severity": window.severity,
        "sla": sla.name,
        "objective": objective.name,
        "model": sla.model,
        "version": sla.version,
        "customer": sla.customer,
        "burn_window": window.long,
    }
    rule: dict[str, Any] = {"alert": ALERT, "expr": expr}
    if window.hold:
        rule["for"] = window.hold
    rule["labels"] = {name: _literal(value) for name, value in (labels | more).items() if value}
    rule["annotations"] = _annotations(sla, objective, window)
    return rule


def _annotations(sla: Sla, objective: Objective, window: BurnWindow) -> dict[str, str]:
    what, name = _literal(sla.display_name or sla.name), _literal(objective.name)
    missed = "failed"
    if objective.events.threshold_s is not None:
        missed = f"took longer than {objective.events.threshold_s:g} s"
    exhausted = format_duration(round(sla.period.length_ms / window.factor / 1000) * 1000)
    found = {
        "summary": f"{what}: the error budget of {name} burns at {window.factor:g}x or more",
        "description": (
            f"{{{{ $value | humanizePercentage }}}} of requests {missed} over the last {window.long}, "
            f"{100 * objective.budget:.4g} % is allowed. At {window.factor:g}x a whole budget lasts {exhausted}."
        ),
    }
    if sla.model:
        found["dashboard"] = _literal(f"/model/{quote(sla.model, safe='')}")
    return found


def _literal(text: str) -> str:
    """Return text that the template language leaves as it is."""
    return text.replace("{{", '{{ "{{" }}')
