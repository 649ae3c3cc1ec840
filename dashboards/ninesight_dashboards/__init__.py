"""The pages: what operations teams look at. They read by contract and never block on data."""

from __future__ import annotations

from ninesight_dashboards.app import pages_app
from ninesight_dashboards.config import PagesConfig
from ninesight_dashboards.contract import Ask, Figures, Leaves, PagesSettings
from ninesight_dashboards.errors import DashboardsError, PagesConfigError, PanelError
from ninesight_dashboards.panel import Chart, Panel, Query
from ninesight_dashboards.panels import MODEL, OVERVIEW

__all__ = [
    "MODEL",
    "OVERVIEW",
    "Ask",
    "Chart",
    "DashboardsError",
    "Figures",
    "Leaves",
    "PagesConfig",
    "PagesConfigError",
    "PagesSettings",
    "Panel",
    "PanelError",
    "Query",
    "pages_app",
]
