"""Values to table rows and back. Labels are JSON objects with sorted keys; NaN travels as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ninesight_query.contract import Labels

from ninesight_alerts.contract import AlertState
from ninesight_alerts.fingerprint import fingerprint
from ninesight_alerts.rules import Rule, RuleGroup
from ninesight_alerts.step import ActiveAlert

__all__ = ["alert_of", "history_row", "labels_of_text", "rule_row", "state_row", "text_of_labels"]


def text_of_labels(labels: Labels | Mapping[str, str]) -> str:
    """Return labels as JSON; equal labels give equal text."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))


def labels_of_text(text: str) -> Labels:
    """Return the labels that `text_of_labels` wrote."""
    return tuple(sorted(json.loads(text).items()))


def rule_row(group: RuleGroup, rule: Rule, position: int) -> dict[str, Any]:
    """Return what does not change while a rule is loaded."""
    return {
        "rule_key": rule.key,
        "position": position,
        "file": group.file,
        "group_name": group.name,
        "interval_ms": group.interval_ms,
        "name": rule.name,
        "kind": rule.kind,
        "expr": rule.expr,
        "for_ms": rule.for_ms,
        "keep_firing_for_ms": rule.keep_firing_for_ms,
        "labels": text_of_labels(rule.labels),
        "annotations": text_of_labels(rule.annotations),
    }


def state_row(group: str, rule: str, rule_key: str, alert: ActiveAlert) -> dict[str, Any]:
    """Return an alert as a row of `states`."""
    return {
        "rule_key": rule_key,
        "labels": text_of_labels(alert.labels),
        "fingerprint": fingerprint(alert.labels),
        "rule": rule,
        "group_name": group,
        "state": alert.state.value,
        "value": repr(alert.value),
        "annotations": text_of_labels(alert.annotations),
        "active_since_ms": alert.active_since_ms,
        "fired_ms": alert.fired_ms,
        "resolved_ms": alert.resolved_ms,
        "keep_firing_since_ms": alert.keep_firing_since_ms,
    }


def history_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `states` as a row of `history`."""
    return {name: value for name, value in row.items() if name not in {"state", "keep_firing_since_ms"}}


def alert_of(row: Any) -> ActiveAlert:
    """Return the alert that `state_row` wrote."""
    return ActiveAlert(
        labels_of_text(row.labels),
        AlertState(row.state),
        float(row.value),
        labels_of_text(row.annotations),
        row.active_since_ms,
        row.fired_ms,
        row.resolved_ms,
        row.keep_firing_since_ms,
    )
