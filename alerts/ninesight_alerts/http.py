"""Prometheus' own routes for rules and alerts, so that Grafana and promtool see ours: thin JSON over the reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ninesight_query.parse import one_line
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ninesight_alerts.contract import AlertsReader, AlertState, AlertView, RuleView
from ninesight_alerts.go_format import go_exponent
from ninesight_alerts.rules_query import RulesQuery, RulesQueryError, page_of
from ninesight_alerts.webhook import go_time

__all__ = ["GroupLimits", "alerts_document", "routes", "rules_document"]


GroupLimits = Callable[[], Mapping[tuple[str, str], int]]
"""`limit` of each group that has one, by (file, name)."""


def routes(reader: AlertsReader, group_limits: GroupLimits = dict) -> list[Route]:
    """Return `GET /api/v1/rules` (see `RulesQuery`) and `GET /api/v1/alerts`."""

    async def rules(request: Request) -> Response:
        try:
            query = RulesQuery.of(request.query_params)
            document = await run_in_threadpool(answer, query)
        except RulesQueryError as error:
            return _json({"status": "error", "errorType": "bad_data", "error": str(error)}, 400)
        return _json({"status": "success", "data": document})

    def answer(query: RulesQuery) -> dict[str, Any]:
        active = () if query.exclude_alerts else reader.active()
        return rules_document(reader.rules(), active, query, group_limits())

    async def alerts(_request: Request) -> Response:
        active = await run_in_threadpool(reader.active)
        return _json({"status": "success", "data": alerts_document(active)})

    return [Route("/api/v1/rules", rules, methods=["GET"]), Route("/api/v1/alerts", alerts, methods=["GET"])]


def alerts_document(active: Sequence[AlertView]) -> dict[str, Any]:
    """Return the data of `/api/v1/alerts`."""
    return {"alerts": [_alert(view) for view in active]}


def rules_document(
    views: Sequence[RuleView],
    active: Sequence[AlertView],
    query: RulesQuery | None = None,
    limits: Mapping[tuple[str, str], int] | None = None,
) -> dict[str, Any]:
    """Return the data of `/api/v1/rules`: groups in file order, each rule with its active alerts.

    Raises RulesQueryError for a page that is none.
    """
    asked = query or RulesQuery()
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    latest: dict[tuple[str, str], int] = {}
    for view in views:
        key = (view.file, view.group)
        group = groups.setdefault(key, _group(view, (limits or {}).get(key, 0)))
        group["evaluationTime"] += view.evaluation_s
        latest[key] = max(latest.get(key, 0), view.last_evaluation_ms or 0)
        group["lastEvaluation"] = go_time(latest[key] or None)
        if asked.wants(view):
            group["rules"].append(_rule(view, active, alerts=not asked.exclude_alerts))
    page, token = page_of([group for group in groups.values() if group["rules"]], asked)
    return {"groups": page} | ({"groupNextToken": token} if token else {})


def _group(view: RuleView, limit: int) -> dict[str, Any]:
    return {
        "name": view.group,
        "file": view.file,
        "interval": view.interval_ms / 1000,
        "limit": limit,
        "evaluationTime": 0.0,
        "lastEvaluation": go_time(None),
        "rules": [],
    }


def _rule(view: RuleView, active: Sequence[AlertView], *, alerts: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": view.name,
        "query": one_line(view.expr),
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
        }
        if alerts:
            document["alerts"] = [_alert(alert) for alert in mine]
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
        "value": go_exponent(view.value),
    }


def _json(document: dict[str, Any], status: int = 200) -> Response:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    headers = {"x-content-type-options": "nosniff"}
    return Response(text.encode("utf-8", "replace"), status, headers, media_type="application/json")
