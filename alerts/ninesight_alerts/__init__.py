"""Rules, alert states, and webhooks that are never lost."""

from __future__ import annotations

from ninesight_alerts.alerting import Alerting, check_rules
from ninesight_alerts.config import AlertsConfig, ReceiverConfig
from ninesight_alerts.contract import (
    AlertsReader,
    AlertState,
    AlertView,
    Channel,
    DeliveryView,
    Notification,
    Receipt,
    Record,
    RecordedSample,
    RuleView,
)
from ninesight_alerts.errors import (
    AlertsError,
    EvaluationError,
    PermanentError,
    ReceiverError,
    RetryableError,
    RuleError,
    TargetError,
    TemplateError,
)
from ninesight_alerts.fingerprint import fingerprint
from ninesight_alerts.reader import DatabaseAlerts
from ninesight_alerts.rulefile import load_rules, rules_from_mapping, rules_from_text
from ninesight_alerts.rules import Rule, RuleGroup
from ninesight_alerts.signing import new_secret
from ninesight_alerts.step import ActiveAlert, AlertSample, StepSettings, Transition, step

__all__ = [
    "ActiveAlert",
    "AlertSample",
    "AlertState",
    "AlertView",
    "Alerting",
    "AlertsConfig",
    "AlertsError",
    "AlertsReader",
    "Channel",
    "DatabaseAlerts",
    "DeliveryView",
    "EvaluationError",
    "Notification",
    "PermanentError",
    "Receipt",
    "ReceiverConfig",
    "ReceiverError",
    "Record",
    "RecordedSample",
    "RetryableError",
    "Rule",
    "RuleError",
    "RuleGroup",
    "RuleView",
    "StepSettings",
    "TargetError",
    "TemplateError",
    "Transition",
    "check_rules",
    "fingerprint",
    "load_rules",
    "new_secret",
    "rules_from_mapping",
    "rules_from_text",
    "step",
]
