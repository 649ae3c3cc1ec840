"""The pages: what operations teams look at. They read by contract and never block on data.

Dash is imported with the first use of `pages_app`: who only reads a configuration never pays for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ninesight_dashboards.config import PagesConfig
from ninesight_dashboards.contract import Ask, Figures, Leaves, PagesSettings
from ninesight_dashboards.errors import DashboardsError, PagesConfigError, PanelError
from ninesight_dashboards.panel import Chart, Panel, Query
from ninesight_dashboards.panels import MODEL, OVERVIEW

if TYPE_CHECKING:
    from ninesight_dashboards.app import pages_app

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


def __getattr__(name: str) -> Any:
    """Import `pages_app` when it is first asked for (PEP 562)."""
    if name != "pages_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ninesight_dashboards.app import pages_app

    globals()[name] = pages_app
    return pages_app
