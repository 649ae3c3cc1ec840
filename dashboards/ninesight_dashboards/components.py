"""The few building blocks of a page. They decide nothing: text and classes come from callbacks."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag
from dash import dcc, html

from ninesight_dashboards.attributes import aria, data
from ninesight_dashboards.columns import defaults
from ninesight_dashboards.figure import CONFIG, frame
from ninesight_dashboards.panel import Panel
from ninesight_dashboards.sparkline import EMPTY

__all__ = ["chart", "count", "grid", "panel_frame", "simulated_badge", "tile"]


def simulated_badge(component_id: str | None = None) -> html.Span:
    """Return the mark of simulated data; it shows itself by the class of its frame, or its own."""
    named: dict[str, Any] = {"id": component_id} if component_id else {}
    return html.Span("simulated", className="ns-badge", title='Some series carry simulated="true"', **named)


def _help(title: str, text: str) -> html.Button:
    """Return the "?" button; its text is drawn by the style sheet on hover and on keyboard focus."""
    return html.Button(
        "?", className="ns-help", type="button", **aria(label=f"{title}: {text}"), **data(help=text)
    )


def panel_frame(panel_id: str, title: str, unit: str, text: str, body: Any, span: str) -> html.Section:
    """Return the frame around a chart or table: heading, unit, note, help, and what it says when empty."""
    return html.Section(
        html.Div(
            [
                html.Header(
                    [
                        html.H2(title, id=f"{panel_id}-title"),
                        html.Span(unit, className="ns-unit"),
                        simulated_badge(),
                        html.Span("", id=f"{panel_id}-note", className="ns-note", role="status"),
                        _help(title, text),
                    ]
                ),
                html.Div(
                    [body, html.Div("", id=f"{panel_id}-empty", className="ns-empty")],
                    className="ns-panel-body",
                ),
            ],
            id=f"{panel_id}-panel",
            className="ns-panel",
        ),
        className=f"ns-cell {span}",
        **aria(labelledby=f"{panel_id}-title"),
    )


_UNITS = {"ratio": "%", "s": "seconds", "bytes": "bytes"}


def chart(panel: Panel, span: str) -> html.Section:
    """Return a chart's frame with its empty figure."""
    graph = dcc.Graph(
        id=panel.id, figure=frame(panel), config=CONFIG, className="ns-graph", responsive=True, animate=False
    )
    described = html.Div(graph, role="img", className="ns-figure", **aria(label=f"Chart: {panel.help}"))
    body = html.Div(
        [described, html.Div(id=f"{panel.id}-legend", className="ns-legend", **data(chart=panel.id))],
        className="ns-chart",
    )
    return panel_frame(panel.id, panel.title, _UNITS.get(panel.unit, panel.unit), panel.help, body, span)


def grid(
    table_id: str, title: str, text: str, columns: list[dict[str, Any]], span: str, *, unit: str = ""
) -> html.Section:
    """Return a table's frame. Rows keep their identity by `id`, so that sorting, scrolling and focus survive."""
    table = dag.AgGrid(
        id=table_id,
        columnDefs=columns,
        defaultColDef=defaults(),
        rowData=[],
        getRowId="params.data.id",
        dashGridOptions={
            "animateRows": False,
            "suppressCellFocus": True,
            "rowHeight": 28,
            "headerHeight": 28,
            "tooltipShowDelay": 300,
            "suppressNoRowsOverlay": True,
            "enableCellTextSelection": True,
            "loading": False,
        },
        style={"height": "100%", "width": "100%"},
        className="ns-grid",
    )
    return panel_frame(table_id, title, unit, text, table, span)


def tile(tile_id: str, title: str, text: str) -> html.Div:
    """Return one tile."""
    return html.Div(
        [
            html.Div([html.H2(title), simulated_badge()], className="ns-tile-head"),
            html.Div(
                [
                    html.Div(
                        [
                            html.P("", id=f"{tile_id}-value", className="ns-value"),
                            html.P("", id=f"{tile_id}-sub", className="ns-sub"),
                        ],
                        className="ns-tile-text",
                    ),
                    html.Img(src=EMPTY, id=f"{tile_id}-spark", alt="", className="ns-spark"),
                ],
                className="ns-tile-body",
            ),
        ],
        id=tile_id,
        className="ns-tile is-plain",
        title=text,
    )


def count(leaf: str, word: str, icon: str) -> html.Span:
    """Return one count of the verdict strip: icon, number, word."""
    return html.Span(
        [
            html.Span(icon, className="ns-icon", **aria(hidden="true")),
            html.Span("-", id=f"{leaf}-number", className="ns-number"),
            html.Span(word),
        ],
        id=f"{leaf}-count",
        className="ns-count is-zero",
    )
