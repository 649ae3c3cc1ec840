"""Table rows: raw numbers to sort by, and the text that is shown beside them under `<field>_t`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ninesight_alerts.contract import AlertState, AlertView, DeliveryView
from ninesight_analytics.contract import (
    CostReport,
    Estimate,
    ModelSummary,
    ObjectiveReport,
    SlaReport,
    SlaState,
)

from ninesight_dashboards.numbers import age, amount, milliseconds, money, percent, significant
from ninesight_dashboards.sparkline import thinned
from ninesight_dashboards.tiles import present
from ninesight_dashboards.zone import Zone

__all__ = [
    "alert_rows",
    "budgets",
    "cost_rows",
    "instance_rows",
    "model_rows",
    "objective_rows",
    "worst_budget",
]

Row = dict[str, Any]

_SEVERITY = {
    SlaState.BREACHED: 0,
    SlaState.AT_RISK: 1,
    SlaState.UNDECIDABLE: 2,
    SlaState.NO_DATA: 3,
    SlaState.OK: 4,
}
_ALERTS_SHOWN = 50


def budgets(reports: Sequence[SlaReport]) -> list[tuple[SlaReport, ObjectiveReport]]:
    """Return every objective, worst first: by state, then by budget left."""
    found = [(report, objective) for report in reports for objective in report.objectives]
    return sorted(
        found, key=lambda pair: (_SEVERITY[pair[1].state], _left(pair[1]), pair[0].name, pair[1].name)
    )


def _left(objective: ObjectiveReport) -> float:
    return 2.0 if objective.budget_left.value is None else objective.budget_left.value


def worst_budget(
    reports: Sequence[SlaReport], model: str | None = None
) -> tuple[SlaReport, ObjectiveReport] | None:
    """Return the objective with the least budget left, among those with data."""
    known = [
        (report, objective)
        for report in reports
        if model in (None, report.model)
        for objective in report.objectives
        if objective.budget_left.value is not None
    ]
    return min(known, key=lambda pair: (_left(pair[1]), pair[0].name, pair[1].name), default=None)


def model_rows(
    rows: Sequence[ModelSummary],
    reports: Sequence[SlaReport],
    cost: CostReport | None,
    firing: Mapping[str, int],
    sparks: Mapping[str, Sequence[float | None]],
    *,
    search: str,
) -> list[Row]:
    """Return one row per model, worst first: firing alerts, then budget, then error ratio, then traffic."""
    found = [_model_row(row, reports, cost, firing, sparks, search) for row in rows]
    found.sort(key=lambda row: row["rank"])
    for place, row in enumerate(found):
        row["rank"] = place
    return found


def _model_row(
    row: ModelSummary,
    reports: Sequence[SlaReport],
    cost: CostReport | None,
    firing: Mapping[str, int],
    sparks: Mapping[str, Sequence[float | None]],
    search: str,
) -> Row:
    model = row.key[0]
    worst = worst_budget(reports, model)
    state, word = _model_state(row, worst, firing.get(model, 0))
    left = None if worst is None else worst[1].budget_left.value
    now = present(sparks.get(model, ()))
    per_thousand = _per_thousand(cost, model)
    order = {"bad": 0, "warn": 1, "plain": 2, "empty": 3}[state]
    rank = (
        order,
        2.0 if left is None else left,
        -(row.error_ratio.value or 0),
        -(row.request_rate.value or 0),
        model,
    )
    return {
        "id": model,
        "rank": rank,
        "state": state,
        "state_t": word,
        "model": model or "(none)",
        "search": search,
        "simulated": row.simulated,
        "rate": now,
        "rate_t": "-" if now is None else amount(now),
        "spark": thinned(sparks.get(model, ()), 40),
        "errors": row.error_ratio.value,
        "errors_t": _text(
            row.error_ratio, percent, "no traffic" if row.request_rate.value == 0 else "no data"
        ),
        "budget": left,
        "budget_t": "-" if left is None else percent(left),
        "cost": per_thousand,
        "cost_t": "-"
        if per_thousand is None or cost is None
        else money(per_thousand, cost.currency, fine=True),
        **_latency_cells(row),
    }


def _latency_cells(row: ModelSummary) -> Row:
    cells: Row = {}
    for quantile in (0.5, 0.95, 0.99):
        field = f"p{quantile * 100:.0f}"
        estimate = row.latency.get(quantile, Estimate(None))
        cells[field] = estimate.value
        cells[f"{field}_t"] = _text(estimate, milliseconds, "-")
        cells[f"{field}_h"] = _bounds(estimate)
    return cells


def _bounds(estimate: Estimate) -> str:
    if estimate.value is None or estimate.lower is None or estimate.upper is None:
        return "no data"
    low, high = milliseconds(estimate.lower), milliseconds(estimate.upper)
    return f"between {low} and {high} ms · {amount(estimate.count)} requests · {estimate.basis}"


def _model_state(
    row: ModelSummary, worst: tuple[SlaReport, ObjectiveReport] | None, firing: int
) -> tuple[str, str]:
    """Return the level and the word; the word is what matters most."""
    if firing:
        return "bad", "firing" if firing == 1 else f"{firing} firing"
    if worst is not None and worst[1].state is SlaState.BREACHED:
        return "bad", "breached"
    if worst is not None and worst[1].state is SlaState.AT_RISK:
        return "warn", "at risk"
    if row.request_rate.value is None:
        return "empty", "no data"
    if row.request_rate.value == 0:
        return "empty", "no traffic"
    return "plain", "ok"


def _per_thousand(cost: CostReport | None, model: str) -> float | None:
    lines = [line for line in cost.lines if line.model == model] if cost else []
    predictions = sum(line.predictions for line in lines)
    return 1000 * sum(line.amount for line in lines) / predictions if predictions > 0 else None


def _text(estimate: Estimate, form: Any, absent: str = "no data") -> str:
    return absent if estimate.value is None else str(form(estimate.value))


def objective_rows(reports: Sequence[SlaReport], model: str | None = None) -> list[Row]:
    """Return one row per objective, worst first."""
    rows = []
    for place, (report, objective) in enumerate(budgets(reports)):
        if model not in (None, report.model):
            continue
        left = objective.budget_left.value
        rows.append(
            {
                "id": f"{report.name}/{objective.name}",
                "rank": place,
                "state": _level(objective.state),
                "state_t": str(objective.state),
                "sla": report.name,
                "model": report.model,
                "objective": objective.name,
                "what": f"{report.model or report.name} · {objective.name}",
                "target_t": _target(objective),
                "compliance": objective.compliance.value,
                "compliance_t": _compliance(objective),
                "budget": left,
                "budget_t": "no data" if left is None else percent(left),
                "burn_t": _burn(objective),
                "events_t": amount(objective.total),
                "simulated": report.simulated,
            }
        )
    return rows


def _level(state: SlaState) -> str:
    return {SlaState.BREACHED: "bad", SlaState.AT_RISK: "warn", SlaState.OK: "plain"}.get(state, "empty")


def _target(objective: ObjectiveReport) -> str:
    text = percent(objective.target)
    return text if objective.threshold_s is None else f"{text} < {objective.threshold_s * 1000:g} ms"


def _compliance(objective: ObjectiveReport) -> str:
    estimate = objective.compliance
    if objective.state is SlaState.UNDECIDABLE and estimate.lower is not None and estimate.upper is not None:
        return f"{percent(estimate.lower)} to {percent(estimate.upper)}"
    return _text(estimate, percent)


def _burn(objective: ObjectiveReport) -> str:
    parts = [
        f"{window} {significant(estimate.value, 2)}x"
        for window, estimate in list(objective.burn_rates.items())[:3]
        if estimate.value is not None
    ]
    return " · ".join(parts) or "-"


def cost_rows(report: CostReport | None, model: str | None = None) -> list[Row]:
    """Return what each model version cost, dearest first; idle stands first, because nobody asked for it."""
    if report is None:
        return []
    hours = report.window.duration_s / 3600
    rows: list[Row] = []
    if model is None and report.bill > 0:
        rows.append(_cost_row("idle", "", report.idle, report, hours))
    for line in report.lines:
        if model in (None, line.model):
            row = _cost_row(line.model, line.version, line.amount, report, hours)
            row["seconds_t"] = age(line.accelerator_seconds)
            value = line.per_thousand.value
            row["thousand"] = value
            row["thousand_t"] = "-" if value is None else money(value, report.currency, fine=True)
            rows.append(row)
    return rows


def _cost_row(name: str, version: str, spent: float, report: CostReport, hours: float) -> Row:
    share = spent / report.bill if report.bill > 0 else None
    return {
        "id": f"{name}/{version}" if version or name != "idle" else "idle",
        "idle": name == "idle" and not version,
        "name": f"{name} {version}".strip(),
        "hourly": spent / hours,
        "hourly_t": money(spent / hours, report.currency),
        "share": share,
        "share_t": "-" if share is None else percent(share),
        "thousand": None,
        "thousand_t": "",
        "seconds_t": "",
        "simulated": report.simulated,
    }


def instance_rows(rows: Sequence[ModelSummary]) -> list[Row]:
    """Return one row per instance of a model, slowest first."""
    found: list[Row] = [
        {
            "id": "/".join(row.key),
            "instance": row.labels.get("instance") or "(none)",
            "version": row.labels.get("version", ""),
            "rate": row.request_rate.value,
            "rate_t": _text(row.request_rate, amount),
            "errors": row.error_ratio.value,
            "errors_t": _text(row.error_ratio, percent, "-"),
            "simulated": row.simulated,
            **_latency_cells(row),
        }
        for row in rows
    ]
    return sorted(found, key=lambda cells: -(cells["p95"] or -1.0))


def alert_rows(
    alerts: Sequence[AlertView],
    deliveries: Sequence[DeliveryView],
    *,
    now_ms: int,
    zone: Zone,
) -> list[Row]:
    """Return alerts with their age and how their notification fares."""
    return [_alert_row(alert, deliveries, now_ms, zone) for alert in alerts[:_ALERTS_SHOWN]]


def _alert_row(alert: AlertView, deliveries: Sequence[DeliveryView], now_ms: int, zone: Zone) -> Row:
    labels = dict(alert.labels)
    began = alert.fired_ms or alert.active_since_ms
    level = {AlertState.FIRING: "bad", AlertState.PENDING: "warn"}.get(alert.state, "plain")
    if alert.state is AlertState.FIRING and labels.get("severity") in ("ticket", "warning", "info"):
        level = "warn"
    ended = alert.resolved_ms if alert.state is AlertState.RESOLVED else None
    summary = alert.annotations.get("summary") or alert.annotations.get("description") or ""
    return {
        "id": f"{alert.fingerprint}/{alert.active_since_ms}",
        "state": level,
        "state_t": str(alert.state),
        "alert": alert.rule,
        "severity": labels.get("severity", ""),
        "model": labels.get("model", ""),
        "summary": summary
        or ", ".join(f"{k}={v}" for k, v in alert.labels if k not in ("alertname", "__name__")),
        "since": began,
        "since_t": age((now_ms - began) / 1000)
        if ended is None
        else f"{age((ended - began) / 1000)} to {zone.clock(ended)}",
        "since_h": zone.stamp(began),
        "delivery_t": _delivery(alert, deliveries, zone),
        "simulated": labels.get("simulated") == "true",
    }


def _delivery(alert: AlertView, deliveries: Sequence[DeliveryView], zone: Zone) -> str:
    """The latest attempt of a message that names the alert and says what the alert's state says."""
    wanted = "resolved" if alert.state is AlertState.RESOLVED else "firing"
    since = alert.resolved_ms if alert.state is AlertState.RESOLVED else alert.fired_ms
    for attempt in deliveries:
        named = (
            alert.rule in [name.strip() for name in attempt.summary.split(",")]
            or alert.rule in attempt.summary
        )
        if named and attempt.status == wanted and attempt.at_ms >= (since or 0):
            detail = f" ({attempt.detail})" if attempt.detail else ""
            count = f", try {attempt.attempt}" if attempt.attempt > 1 else ""
            return f"{attempt.outcome} {zone.clock(attempt.at_ms)}{count}{detail}"
    return "not due" if alert.state is AlertState.PENDING else "no attempt yet"
