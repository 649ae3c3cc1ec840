"""The body of a notification: Alertmanager's webhook shape, version 4, so existing receivers read it unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

from ninesight_query.contract import Labels

from ninesight_alerts.contract import AlertState
from ninesight_alerts.fingerprint import fingerprint
from ninesight_alerts.grouping import Message, group_key
from ninesight_alerts.step import ActiveAlert

__all__ = ["generator_url", "go_time", "summary", "webhook_body"]

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: the end of an alert that still fires."""

SUMMARY_CHARS_MAX = 200


def webhook_body(message: Message, exprs: Mapping[Labels, str], external_url: str) -> bytes:
    """Return the message as UTF-8 JSON. `exprs` gives each alert's expression by its labels, for `generatorURL`."""
    carried = message.alerts[: message.route.max_alerts]
    alerts = [_alert(alert, exprs, external_url) for alert in carried]
    document = {
        "receiver": message.route.name,
        "status": message.status,
        "alerts": alerts,
        "groupLabels": dict(message.group),
        "commonLabels": _common([alert.labels for alert in carried]),
        "commonAnnotations": _common([alert.annotations for alert in carried]),
        "externalURL": external_url,
        "version": "4",
        "groupKey": group_key(message.group),
        "truncatedAlerts": len(message.alerts) - len(carried),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def summary(message: Message) -> str:
    """Return the alert names of a message, for the ledger."""
    names = {dict(alert.labels).get("alertname", "") for alert in message.alerts}
    return ", ".join(sorted(names))[:SUMMARY_CHARS_MAX]


def generator_url(expr: str, external_url: str) -> str:
    """Return the link to the expression, as Prometheus writes it."""
    return f"{external_url}/graph?g0.expr={quote_plus(expr)}&g0.tab=1"


def go_time(at_ms: int | None) -> str:
    """Return a time as Go's JSON has it: UTC, no trailing zeros.

    >>> go_time(1_700_000_000_120)
    '2023-11-14T22:13:20.12Z'
    """
    if at_ms is None:
        return NEVER
    seconds, rest_ms = divmod(at_ms, 1000)
    fraction = f".{rest_ms:03d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def _alert(alert: ActiveAlert, exprs: Mapping[Labels, str], external_url: str) -> dict[str, Any]:
    over = alert.state is AlertState.RESOLVED
    labels = dict(alert.labels)
    return {
        "status": "resolved" if over else "firing",
        "labels": labels,
        "annotations": dict(alert.annotations),
        "startsAt": go_time(alert.fired_ms),
        "endsAt": go_time(alert.resolved_ms) if over else NEVER,
        "generatorURL": generator_url(exprs.get(alert.labels, ""), external_url),
        "fingerprint": fingerprint(alert.labels),
    }


def _common(maps: Sequence[Labels]) -> dict[str, str]:
    shared = set(maps[0]).intersection(*map(set, maps[1:])) if maps else set()
    return dict(sorted(shared))
