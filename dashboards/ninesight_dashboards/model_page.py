"""The Model page: one model over a range, from its tiles down to its instances."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from urllib.parse import unquote

from ninesight_alerts.contract import AlertView
from ninesight_analytics.contract import Estimate, ModelSummary, SlaReport

from ninesight_dashboards import tables, tiles
from ninesight_dashboards.charts import Charts
from ninesight_dashboards.contract import Ask, Leaves
from ninesight_dashboards.desk import Desk, Frame
from ninesight_dashboards.head import banner, round_trip
from ninesight_dashboards.lines import shorten
from ninesight_dashboards.marks import badge, table, tile
from ninesight_dashboards.panels import MODEL

__all__ = ["PREFIX", "model_of", "model_page"]

PREFIX = "/model/"
_PAGE = "model"
_REQUESTS = ("model_requests_total",)
_LATENCY = ("model_request_duration_seconds",)
_LOAD = ("model_requests_in_flight", "model_queue_depth")


def model_of(path: str) -> str:
    """Return the model a path names, "" if it names none."""
    return unquote(path.removeprefix(PREFIX))[:300] if path.startswith(PREFIX) else ""


def model_page(desk: Desk, ask: Ask, pool: Executor | None = None) -> Leaves:
    """Return every leaf value of the Model page. Never raises for what the engine or analytics raise."""
    frame, model = desk.frame(ask), model_of(ask.path)
    simulated = desk.simulated(frame).value
    charts = Charts(desk, frame, simulated, model)
    charts.read(MODEL, pool)
    rows = desk.models(frame, ("model",), model)
    row = next(iter(rows.value or ()), None)
    rate = row.request_rate if row else Estimate(None)
    reports = desk.slas(frame)
    leaves = round_trip(frame, default_from=desk.settings.default_from)
    leaves |= banner(_PAGE, frame, charts.failures())
    for panel in MODEL:
        lines = _objective_lines(reports.value or (), model) if panel.id == "model-latency" else ()
        leaves |= charts.leaves(panel, traffic=rate.value, objectives=lines)
    leaves |= _tiles(desk, charts, row) | _lists(desk, frame, model)
    leaves |= badge(_PAGE, shown=any(of == model for _, of in simulated or ()))
    return leaves | {"model-name.children": model or "(no model named)"}


def _objective_lines(reports: Sequence[SlaReport], model: str) -> list[tuple[str, float]]:
    """Latency objectives as lines: their percentage and threshold."""
    found = {
        (f"{objective.target * 100:g} % under", objective.threshold_s)
        for report in reports
        if report.model == model
        for objective in report.objectives
        if objective.threshold_s is not None
    }
    return sorted(found, key=lambda line: line[1])[:3]


def _tiles(desk: Desk, charts: Charts, row: ModelSummary | None) -> Leaves:
    """Rate, errors, percentiles, load, budget and cost of the model."""
    frame, model = charts.frame, charts.model or ""
    rows, cost, reports = desk.models(frame, ("model",), model), desk.cost(frame), desk.slas(frame)
    rate, ratio = (row.request_rate, row.error_ratio) if row else (Estimate(None), Estimate(None))
    outcomes = charts.by_label("model-outcomes", "outcome")
    total = charts.total("model-outcomes")
    bad = [
        None
        if every is None or every == 0
        else sum(outcomes[o][step] or 0 for o in _BAD if o in outcomes) / every
        for step, every in enumerate(total)
    ]
    leaves = tile("tile-model-rate", tiles.rate_tile(rate, total), charts, rows, _REQUESTS)
    leaves |= tile("tile-model-errors", tiles.error_tile(ratio, rate, bad), charts, rows, _REQUESTS)
    for place, quantile in ((0, 0.5), (2, 0.95), (3, 0.99)):
        estimate = row.latency.get(quantile) if row else None
        made = tiles.latency_tile(estimate, rate, charts.line("model-latency", place), quantile=quantile)
        leaves |= tile(f"tile-model-p{quantile * 100:.0f}", made, charts, rows, _LATENCY)
    load = tiles.load_tile(charts.line("model-load", 0), charts.line("model-load", 1))
    worst = tables.worst_budget(reports.value or (), model)
    named = None if worst is None else (worst[0].name, worst[1])
    configured = any(report.model == model for report in reports.value or ())
    return (
        leaves
        | tile("tile-model-load", load, charts, metrics=_LOAD)
        | tile("tile-model-budget", tiles.budget_tile(named, configured=configured), charts, reports)
        | tile("tile-model-cost", tiles.per_thousand_tile(cost.value, model), charts, cost)
    )


_BAD = ("error", "timeout")


def _lists(desk: Desk, frame: Frame, model: str) -> Leaves:
    """Instances, objectives, cost and alerts of the model."""
    instances = desk.models(frame, ("instance", "version"), model)
    reports, cost, history = desk.slas(frame), desk.cost(frame), desk.history(frame)
    deliveries = desk.deliveries(frame).value or ()
    alerts = _of_model([*(desk.active(frame).value or ()), *(history.value or ())], model)
    rows = tables.alert_rows(alerts[:20], deliveries, now_ms=frame.now_ms, zone=frame.zone)
    absent = f"no instance of {shorten(model)} reported in this range"
    return (
        table("instances", tables.instance_rows(instances.value or ()), instances, frame, absent)
        | table(
            "model-objectives",
            tables.objective_rows(reports.value or (), model),
            reports,
            frame,
            "no SLA names this model",
        )
        | table(
            "model-costs",
            tables.cost_rows(cost.value, model),
            cost,
            frame,
            "no cost attributed in this range",
        )
        | table("model-alerts", rows, history, frame, "no alert of this model is kept", calm=True)
    )


def _of_model(alerts: Sequence[AlertView], model: str) -> list[AlertView]:
    """Alerts that carry the model's label, newest first, each once."""
    found = {
        (alert.fingerprint, alert.active_since_ms): alert
        for alert in reversed(alerts)
        if dict(alert.labels).get("model") == model
    }
    return sorted(found.values(), key=lambda alert: -(alert.fired_ms or alert.active_since_ms))
