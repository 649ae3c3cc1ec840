"""What dashboards may raise.

DashboardsError
|- PagesConfigError   a setting of the pages is wrong; the message names the key
`- PanelError         a panel is declared wrongly (found when the process starts, never later)

While a page is shown nothing is raised into the browser: a panel that cannot be read says so in its place.
"""

from __future__ import annotations

__all__ = ["DashboardsError", "PagesConfigError", "PanelError"]


class DashboardsError(Exception):
    """Base of every error of this part."""


class PagesConfigError(DashboardsError):
    """A setting of the pages is not valid."""


class PanelError(DashboardsError):
    """A panel's declaration is not valid."""
