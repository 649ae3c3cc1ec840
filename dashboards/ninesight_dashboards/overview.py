"""The Overview: is anything broken, where, and since when. One batched read, one set of leaf values."""

from __future__ import annotations

from concurrent.futures import Executor

from ninesight_alerts.contract import AlertState
from ninesight_analytics.contract import Estimate

from ninesight_dashboards import tables, tiles
from ninesight_dashboards.charts import Charts
from ninesight_dashboards.contract import Ask, Leaves
from ninesight_dashboards.desk import Desk, Frame
from ninesight_dashboards.head import banner, round_trip, verdict
from ninesight_dashboards.marks import badge, table, tile
from ninesight_dashboards.panels import OVERVIEW, SPARKS
from ninesight_dashboards.series import Optionals
from ninesight_dashboards.timerange import write_range

__all__ = ["overview"]

_PAGE = "overview"
_REQUESTS = ("model_requests_total",)
_LATENCY = ("model_request_duration_seconds",)
_LOAD = ("model_requests_in_flight", "model_queue_depth")
_GPU = ("gpu_utilization_ratio",)


def overview(desk: Desk, ask: Ask, pool: Executor | None = None) -> Leaves:
    """Return every leaf value of the Overview. Never raises for what the engine or analytics raise."""
    frame = desk.frame(ask)
    simulated = desk.simulated(frame).value
    charts = Charts(desk, frame, simulated)
    charts.read(OVERVIEW + SPARKS, pool)
    rows, alerts, reports = desk.models(frame, ("model",), None), desk.active(frame), desk.slas(frame)
    rate, ratio = tiles.summed(rows.value or ())
    leaves = round_trip(frame, default_from=desk.settings.default_from)
    leaves |= banner(_PAGE, frame, charts.failures()) | verdict(_PAGE, alerts, reports)
    leaves |= _first_run(first=desk.any_model(frame).value is False and not rows.value)
    for panel in OVERVIEW:
        leaves |= charts.leaves(panel, traffic=rate.value)
    leaves |= _traffic_tiles(desk, charts, rate, ratio) | _other_tiles(desk, charts)
    leaves |= _models(desk, charts) | _lists(desk, frame)
    return leaves | badge(_PAGE, shown=bool(simulated))


def _first_run(*, first: bool) -> Leaves:
    return {
        "first-run.className": "ns-first-run is-shown" if first else "ns-first-run",
        "overview-body.className": "ns-body is-first-run" if first else "ns-body",
    }


def _traffic_tiles(desk: Desk, charts: Charts, rate: Estimate, ratio: Estimate) -> Leaves:
    """Rate, errors, latency and load."""
    rows, p95 = desk.models(charts.frame, ("model",), None), desk.latency(charts.frame)
    estimate = (p95.value or {}).get(0.95)
    in_flight, waiting = (charts.line("spark-load", query) for query in (0, 1))
    return (
        tile("tile-rate", tiles.rate_tile(rate, charts.total("traffic")), charts, rows, _REQUESTS)
        | tile("tile-errors", tiles.error_tile(ratio, rate, _overall_errors(charts)), charts, rows, _REQUESTS)
        | tile(
            "tile-p95",
            tiles.latency_tile(estimate, rate, charts.line("spark-latency"), quantile=0.95),
            charts,
            p95,
            _LATENCY,
        )
        | tile("tile-load", tiles.load_tile(in_flight, waiting), charts, metrics=_LOAD)
    )


def _other_tiles(desk: Desk, charts: Charts) -> Leaves:
    """GPU, budget, cost and idle share."""
    cost, reports = desk.cost(charts.frame), desk.slas(charts.frame)
    worst = tables.worst_budget(reports.value or ())
    named = None if worst is None else (worst[0].model or worst[0].name, worst[1])
    return (
        tile("tile-gpu", tiles.share_tile(*_busiest(charts)), charts, metrics=_GPU)
        | tile("tile-budget", tiles.budget_tile(named, configured=bool(reports.value)), charts, reports)
        | tile("tile-cost", tiles.cost_tile(cost.value), charts, cost)
        | tile("tile-idle", tiles.idle_tile(cost.value), charts, cost)
    )


def _overall_errors(charts: Charts) -> Optionals:
    """The error ratio of all models: each model's ratio weighted by its requests."""
    if charts.rows("errors") is None:
        return ()
    rates, ratios = charts.by_label("traffic", "model"), charts.by_label("errors", "model")
    found: list[float | None] = []
    for step, total in enumerate(charts.total("traffic")):
        pairs = [(rates[model][step], row[step]) for model, row in ratios.items() if model in rates]
        bad = sum(rate * ratio for rate, ratio in pairs if rate is not None and ratio is not None)
        found.append(bad / total if total else None)
    return tuple(found)


def _busiest(charts: Charts) -> tuple[str, Optionals, Optionals]:
    """The GPU with the highest utilisation at the end: its name, its utilisation, its memory."""
    busy, used = charts.rows("gpu-utilization"), charts.rows("gpu-memory")
    if busy is None or not busy.labels:
        return "", (), ()
    lines = [busy.line(place) for place in range(len(busy.labels))]
    ends = [next((value for value in reversed(line[-3:]) if value is not None), -1.0) for line in lines]
    top = max(range(len(ends)), key=ends.__getitem__)
    names = busy.names()
    shown = f"gpu {names[top].get('gpu', '?')}"
    if len({row.get("instance", "") for row in names}) > 1:
        shown = f"{names[top].get('instance', '')} {shown}".strip()
    memory: Optionals = ()
    if used is not None and busy.labels[top] in used.labels:
        memory = used.line(used.labels.index(busy.labels[top]))
    return shown, lines[top], memory


def _models(desk: Desk, charts: Charts) -> Leaves:
    """The model table."""
    frame = charts.frame
    rows = desk.models(frame, ("model",), None)
    firing: dict[str, int] = {}
    for alert in desk.active(frame).value or ():
        model = dict(alert.labels).get("model")
        if alert.state is AlertState.FIRING and model:
            firing[model] = firing.get(model, 0) + 1
    shown = tables.model_rows(
        rows.value or (),
        desk.slas(frame).value or (),
        desk.cost(frame).value,
        firing,
        charts.by_label("traffic", "model"),
        search=write_range(frame.chosen, default_from=desk.settings.default_from),
    )
    return table("models", shown, rows, frame, "no model reported in this range")


def _lists(desk: Desk, frame: Frame) -> Leaves:
    """Objectives, costs and alerts."""
    reports, cost, alerts = desk.slas(frame), desk.cost(frame), desk.active(frame)
    priced = "no price book configured" if cost.value is None else "nothing priced was seen in this range"
    rows = tables.alert_rows(
        alerts.value or (), desk.deliveries(frame).value or (), now_ms=frame.now_ms, zone=frame.zone
    )
    return (
        table("objectives", tables.objective_rows(reports.value or ()), reports, frame, "no SLA configured")
        | table("costs", tables.cost_rows(cost.value), cost, frame, priced)
        | table("alerts", rows, alerts, frame, "nothing is firing or pending", calm=True)
    )
