"""Prometheus' own routes for rules and alerts, so that Grafana and promtool see ours: thin JSON over the reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ninesight_alerts.contract import AlertsReader, AlertState, AlertView, RuleView
from ninesight_alerts.go_format import go_float
from ninesight_alerts.webhook import go_time

__all__ = ["alerts_document", "routes", "rules_document"]


def routes(reader: AlertsReader) -> list[Route]:
    """Return `GET /api/v1/rules` (type=alert|record) and `GET /api/v1/alerts`."""

    async def rules(request: Request) -> Response:
        kind = request.query_params.get("type", "")
        if kind not in {"", "alert", "record"}:
            return _json(
                {"status": "error", "errorType": "bad_data", "error": _BAD_TYPE.format(kind=kind)}, 400
            )
        views = await run_in_threadpool(reader.rules)
        active = await run_in_threadpool(reader.active)
        return _json({"status": "success", "data": rules_document(views, active, kind)})

    async def alerts(_request: Request) -> Response:
        active = await run_in_threadpool(reader.active)
        return _json({"status": "success", "data": alerts_document(active)})

    return [Route("/api/v1/rules", rules, methods=["GET"]), Route("/api/v1/alerts", alerts, methods=["GET"])]


_BAD_TYPE = "type must be alert or record, got {kind!r}"


def alerts_document(active: Sequence[AlertView]) -> dict[str, Any]:
    """Return the data of `/api/v1/alerts`."""
    return {"alerts": [_alert(view) for view in active]}


def rules_document(views: Sequence[RuleView], active: Sequence[AlertView], kind: str = "") -> dict[str, Any]:
    """Return the data of `/api/v1/rules`: groups in file order, each rule with its active alerts."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    latest: dict[tuple[str, str], int] = {}
    for view in views:
        key = (view.file, view.group)
        group = groups.setdefault(key, _group(view))
        group["evaluationTime"] += view.evaluation_s
        latest[key] = max(latest.get(key, 0), view.last_evaluation_ms or 0)
        group["lastEvaluation"] = go_time(latest[key] or None)
        if kind in {"", "alert" if view.kind == "alerting" else "record"}:
            group["rules"].append(_rule(view, active))
    return {"groups": [group for group in groups.values() if group["rules"]]}


def _group(view: RuleView) -> dict[str, Any]:
    return {
        "name": view.group,
        "file": view.file,
        "interval": view.interval_ms / 1000,
        "evaluationTime": 0.0,
        "lastEvaluation": go_time(None),
        "rules": [],
    }


def _rule(view: RuleView, active: Sequence[AlertView]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": view.name,
        "query": view.expr,
        "labels": dict(view.labels),
        "health": view.health,
        "evaluationTime": view.evaluation_s,
        "lastEvaluation": go_time(view.last_evaluation_ms),
        "type": view.kind,
    }
    if view.last_error:
        document["lastError"] = view.last_error
    if view.kind == "alerting":
        mine = [alert for alert in active if _made_by(alert, view)]
        states = {alert.state for alert in mine}
        worst = AlertState.FIRING if AlertState.FIRING in states else AlertState.PENDING
        document |= {
            "state": worst.value if states else "inactive",
            "duration": view.for_ms / 1000,
            "keepFiringFor": view.keep_firing_for_ms / 1000,
            "annotations": dict(view.annotations),
            "alerts": [_alert(alert) for alert in mine],
        }
    return document


def _made_by(alert: AlertView, view: RuleView) -> bool:
    """Rules of one name differ in their labels; templates in them can be any text."""
    labels = dict(alert.labels)
    static = ((name, text) for name, text in view.labels.items() if "{{" not in text)
    return (alert.group, alert.rule) == (view.group, view.name) and all(
        labels.get(name, "") == text for name, text in static
    )


def _alert(view: AlertView) -> dict[str, Any]:
    return {
        "labels": dict(view.labels),
        "annotations": dict(view.annotations),
        "state": view.state.value,
        "activeAt": go_time(view.active_since_ms),
        "value": go_float(view.value),
    }


def _json(document: dict[str, Any], status: int = 200) -> Response:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")
