"""Leaf values on their way to the browser: into the skeleton when a page opens, as a small packet later.

Charts and tables are component properties. Text, classes and images of all other leaves travel in one
packet that a few lines of script set: a hundred separate properties would cost the renderer ten times the time.
"""

from __future__ import annotations

from typing import Any

from dash.development.base_component import Component

from ninesight_dashboards.contract import Leaves
from ninesight_dashboards.figure import FigureChange

__all__ = ["fill", "packet", "property_of"]

_KINDS = {"children": "text", "className": "class", "src": "src", "lines": "legend"}


def packet(leaves: Leaves) -> dict[str, Any]:
    """Return everything that is neither chart nor table: {"ack", "text", "class", "src", "legend"}."""
    found: dict[str, Any] = {"ack": leaves.get("ack")} | {kind: {} for kind in _KINDS.values()}
    for name, value in leaves.items():
        component, _, prop = name.rpartition(".")
        if prop in _KINDS:
            found[_KINDS[prop]][component] = value
    return found


def property_of(leaves: Leaves, name: str, default: Any) -> Any:
    """Return a chart's patch or a table's rows, `default` where the page did not set it."""
    value = leaves.get(name, default)
    return value.patch() if isinstance(value, FigureChange) else value


def fill(skeleton: list[Any], leaves: Leaves) -> list[Any]:
    """Set the leaves in a skeleton that nobody has seen yet, and return it."""
    by_component: dict[str, list[tuple[str, Any]]] = {}
    for name, value in leaves.items():
        component, _, prop = name.rpartition(".")
        by_component.setdefault(component, []).append((prop, value))
    for part in skeleton:
        for node in (part, *part._traverse()):
            if isinstance(node, Component):
                for prop, value in by_component.get(getattr(node, "id", "-"), ()):
                    _set(node, prop, value)
    return skeleton


def _set(node: Component, prop: str, value: Any) -> None:
    if isinstance(value, FigureChange):
        setattr(node, prop, value.whole(getattr(node, prop)))
    elif prop in node._prop_names:
        setattr(node, prop, value)
