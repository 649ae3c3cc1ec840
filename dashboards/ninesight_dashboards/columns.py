"""Columns of the tables. A cell shows `<field>_t` and sorts by `<field>`; units stand in the header."""

from __future__ import annotations

from typing import Any

__all__ = [
    "ALERTS",
    "COSTS",
    "INSTANCES",
    "MODELS",
    "MODEL_ALERTS",
    "MODEL_OBJECTIVES",
    "OBJECTIVES",
    "defaults",
]

Column = dict[str, Any]


def defaults() -> Column:
    """Return what every column shares."""
    return {
        "resizable": True,
        "sortable": True,
        "suppressMovable": True,
        "suppressHeaderMenuButton": True,
        "minWidth": 54,
        "cellDataType": False,
        "sortingOrder": ["desc", "asc", None],
    }


def _text(field: str, head: str, **more: Any) -> Column:
    """A text column."""
    return {"field": field, "headerName": head, "cellRenderer": "NsText", **more}


def _number(field: str, head: str, width: int, **more: Any) -> Column:
    """A right-aligned figure that sorts by its raw value."""
    return {
        "field": field,
        "headerName": head,
        "cellRenderer": "NsText",
        "type": "rightAligned",
        "cellClass": "ns-number",
        "width": width,
        **more,
    }


def _state(width: int = 104) -> Column:
    return {
        "field": "state",
        "headerName": "State",
        "cellRenderer": "NsState",
        "width": width,
        "sortable": False,
    }


def _bar(field: str, head: str, width: int, **more: Any) -> Column:
    return {"field": field, "headerName": head, "cellRenderer": "NsBar", "width": width, **more}


def _latency(widths: int = 78) -> list[Column]:
    return [_number(field, f"{field} ms", widths) for field in ("p50", "p95", "p99")]


MODELS: list[Column] = [
    _state(),
    {"field": "model", "headerName": "Model", "cellRenderer": "NsModel", "flex": 1, "minWidth": 130},
    _number("rate", "req/s", 74),
    {"field": "spark", "headerName": "Traffic", "cellRenderer": "NsSpark", "width": 116, "sortable": False},
    _number("errors", "Errors", 82),
    *_latency(),
    _bar("budget", "Budget left", 132),
    _number("cost", "Cost / 1k", 112),
]

OBJECTIVES: list[Column] = [
    _state(100),
    _text("what", "Objective", flex=1, minWidth=96, tooltipField="what"),
    _text("target_t", "Target", width=114, sortable=False),
    _number("compliance", "Attained", 80),
    _bar("budget", "Budget left", 118, tooltipField="burn_t"),
]

MODEL_OBJECTIVES: list[Column] = [
    _state(100),
    _text("objective", "Objective", flex=1, minWidth=92),
    _text("target_t", "Target", width=116, sortable=False),
    _number("compliance", "Attained", 82),
    _bar("budget", "Budget left", 122),
    _text("burn_t", "Burn rate", width=150, sortable=False, tooltipField="burn_t"),
    _number("events_t", "Requests", 82, sortable=False),
]

COSTS: list[Column] = [
    _text("name", "Who", flex=1, minWidth=90),
    _number("hourly", "per hour", 88),
    _bar("share", "Share of bill", 104),
    _number("thousand", "per 1k", 96),
]

ALERTS: list[Column] = [
    _state(92),
    _text("alert", "Alert", flex=1, minWidth=120, tooltipField="summary"),
    _text("model", "Model", width=96),
    _number("since", "For", 84, tooltipField="since_h"),
    _text("delivery_t", "Last webhook", flex=1, minWidth=150, sortable=False, tooltipField="delivery_t"),
]

MODEL_ALERTS: list[Column] = [
    _state(92),
    _text("alert", "Alert", flex=1, minWidth=120, tooltipField="summary"),
    _number("since", "For", 160, tooltipField="since_h"),
    _text("delivery_t", "Last webhook", flex=1, minWidth=150, sortable=False, tooltipField="delivery_t"),
]

INSTANCES: list[Column] = [
    _text("instance", "Instance", flex=1, minWidth=120),
    _text("version", "Version", width=80),
    _number("rate", "mean req/s", 100),
    _number("errors", "Errors", 82),
    *_latency(),
]
