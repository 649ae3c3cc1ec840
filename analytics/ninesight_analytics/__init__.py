"""What the numbers mean: percentiles with bounds, cost per prediction, SLA compliance."""

from __future__ import annotations

from ninesight_analytics import cost, latency, pricebook, sla, traffic
from ninesight_analytics.config import AnalyticsConfig
from ninesight_analytics.contract import (
    NO_DATA,
    Basis,
    Billing,
    CostLine,
    CostReport,
    Estimate,
    ModelSummary,
    ObjectiveReport,
    Scope,
    SlaReport,
    SlaState,
    Window,
)
from ninesight_analytics.errors import AnalyticsError, PriceBookError, SlaError, WindowError

__all__ = [
    "NO_DATA",
    "AnalyticsConfig",
    "AnalyticsError",
    "Basis",
    "Billing",
    "CostLine",
    "CostReport",
    "Estimate",
    "ModelSummary",
    "ObjectiveReport",
    "PriceBookError",
    "Scope",
    "SlaError",
    "SlaReport",
    "SlaState",
    "Window",
    "WindowError",
    "cost",
    "latency",
    "pricebook",
    "sla",
    "traffic",
]
