"""A panel as data: what it asks, in which unit, and how it is drawn. Decisions live here, not in components.

In an expression `$w` stands for the rate window and `$scope` for the label matchers of the page
(empty on the Overview).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from ninesight_dashboards.errors import PanelError

__all__ = ["Chart", "Panel", "Query", "Rest", "quoted", "scope_of"]

_ID = re.compile(r"[a-z][a-z0-9-]{1,40}")


class Chart(StrEnum):
    """How a panel is drawn."""

    LINES = "lines"
    STACK = "stack"
    """Areas on top of each other: only for parts of a whole."""


class Rest(StrEnum):
    """What stands for the series that are not drawn."""

    SUM = "sum"
    MEAN = "mean"
    NONE = "none"
    """They are only counted (percentiles can be neither added nor averaged)."""


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and how its series are named and coloured."""

    expr: str
    by: tuple[str, ...] = ()
    """Labels that name a series; () where the expression yields one series, named `name`."""
    name: str = ""
    style: str = "entity"
    """entity, stage, outcome, quantile:0..3, mean."""

    def text(self, window_s: int, scope: str = "") -> str:
        """Return the PromQL for a rate window and a scope."""
        expr = self.expr if scope else self.expr.replace("$scope, ", "")
        return expr.replace("$w", f"{window_s}s").replace("$scope", scope)


@dataclass(frozen=True)
class Panel:
    """One chart over time. Raises PanelError where the declaration is wrong."""

    id: str
    title: str
    help: str
    """What it shows, the metric, and what to do if it looks bad."""
    queries: tuple[Query, ...]
    metrics: tuple[str, ...]
    """Canonical metric names it reads, without _bucket, _sum and _count."""
    unit: str
    chart: Chart = Chart.LINES
    top: int = 6
    rest: Rest = Rest.NONE
    y_max: float | None = None
    """Upper end of the axis where the scale is known (1 for a share)."""
    needs_traffic: bool = False
    """True where an empty answer beside a request rate of zero means "no traffic", not "no data"."""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise PanelError(f"a panel's id must match {_ID.pattern}, got {self.id!r}")
        if not (self.help and self.queries and self.metrics and self.unit):
            raise PanelError(f"panel {self.id} must have help, queries, metrics and a unit")


def quoted(value: str) -> str:
    """Return a label value as a PromQL string literal."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def scope_of(model: str | None) -> str:
    """Return the matchers that stand for `$scope`."""
    return "" if model is None else f"model={quoted(model)}"
