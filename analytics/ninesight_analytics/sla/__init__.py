"""Service level agreements: read them, judge them, warn before they break."""

from __future__ import annotations

from ninesight_analytics.sla.agreement import BurnWindow, Objective, Sla
from ninesight_analytics.sla.burn import burn_rules, default_windows
from ninesight_analytics.sla.evaluation import evaluate
from ninesight_analytics.sla.reading import load

__all__ = ["BurnWindow", "Objective", "Sla", "burn_rules", "default_windows", "evaluate", "load"]
