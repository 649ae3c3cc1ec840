"""Leaf values on their way to the browser: into the skeleton when a page opens, as a small packet later.

Charts and tables are component properties. Text, classes and images of all other leaves travel in one
packet that a few lines of script set: a hundred separate properties would cost the renderer ten times the time.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from dash.development.base_component import Component

from ninesight_dashboards.contract import Leaves
from ninesight_dashboards.figure import FigureChange

__all__ = ["fill", "fingerprints", "packet", "property_of"]

_KINDS = {"children": "text", "className": "class", "src": "src", "lines": "legend"}


def packet(leaves: Leaves) -> dict[str, Any]:
    """Return everything that is neither chart nor table: {"ack", "have", "text", "class", "src", "legend"}."""
    found: dict[str, Any] = {"ack": leaves.get("ack"), "have": fingerprints(leaves)}
    found |= {kind: {} for kind in _KINDS.values()}
    for name, value in leaves.items():
        component, _, prop = name.rpartition(".")
        if prop in _KINDS:
            found[_KINDS[prop]][component] = value
    return found


def fingerprints(leaves: Leaves) -> dict[str, str]:
    """Return a short digest of each chart and table: two that are equal show the same."""
    return {
        name: hashlib.blake2b(
            orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), digest_size=8
        ).hexdigest()
        for name, value in leaves.items()
        if name.endswith((".figure", ".rowData"))
    }


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
