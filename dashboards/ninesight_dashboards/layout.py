"""The static skeleton of both pages, sent once. Callbacks change leaves in it and never its structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import dcc, html

from ninesight_dashboards import columns
from ninesight_dashboards.attributes import aria, data
from ninesight_dashboards.components import chart, count, grid, simulated_badge, tile
from ninesight_dashboards.contract import PagesSettings
from ninesight_dashboards.first_run import first_run
from ninesight_dashboards.panels import panel
from ninesight_dashboards.timerange import PRESETS

__all__ = ["PAGES", "TILES_MODEL", "TILES_OVERVIEW", "VERDICT", "body", "shell"]

PAGES = ("overview", "model")

TILES_OVERVIEW = (
    ("tile-rate", "Requests", "Requests per second over the range shown, every outcome"),
    (
        "tile-errors",
        "Errors",
        "Share of requests that ended in error or timeout; orange from 0.1 %, red from 1 %",
    ),
    (
        "tile-p95",
        "Latency p95",
        "Over every request of every model in the range, with its bounds and sample count",
    ),
    ("tile-load", "In flight / waiting", "Requests being worked on, and waiting in queues, now"),
    ("tile-gpu", "Busiest GPU", "Highest utilisation now; orange from 90 % of its memory, red from 98 %"),
    ("tile-budget", "Worst budget left", "The error budget closest to its end; orange under 25 %, red at 0"),
    ("tile-cost", "Cost", "Price times time over the range, per hour"),
    ("tile-idle", "Idle", "Share of the bill that no model used, and how use was measured"),
)

TILES_MODEL = (
    ("tile-model-rate", "Requests", "Requests per second over the range shown, every outcome"),
    (
        "tile-model-errors",
        "Errors",
        "Share of requests that ended in error or timeout; orange from 0.1 %, red from 1 %",
    ),
    ("tile-model-p50", "Latency p50", "Half of the requests were faster; bounds and sample count below"),
    ("tile-model-p95", "Latency p95", "95 of 100 requests were faster; bounds and sample count below"),
    ("tile-model-p99", "Latency p99", "99 of 100 requests were faster; bounds and sample count below"),
    ("tile-model-load", "In flight / waiting", "Requests being worked on, and waiting in queues, now"),
    (
        "tile-model-budget",
        "Worst budget left",
        "The error budget closest to its end; orange under 25 %, red at 0",
    ),
    ("tile-model-cost", "Cost per 1k", "Cost of 1,000 predictions over the range, all versions together"),
)

VERDICT = (
    ("overview-firing", "firing", "⬢"),
    ("overview-pending", "pending", "▲"),
    ("overview-breached", "breached", "⬢"),
    ("overview-at-risk", "at risk", "▲"),
    ("overview-ok", "ok", "✓"),
    ("overview-unknown", "no data", "?"),
)


def shell(settings: PagesSettings, bodies: Mapping[str, Any], paints: Mapping[str, Any]) -> html.Div:
    """Return the whole page: header, and a slot per page; the page first asked for is in its slot already."""
    slots = [
        html.Div(
            bodies.get(page, []),
            id=f"{page}-slot",
            className="ns-page",
            **data(slot=page, filled="true" if page in paints else ""),
        )
        for page in PAGES
    ]
    # A store that is given None announces it as a change; one that is given nothing stays silent.
    stores = [dcc.Store(id=f"{page}-{kind}") for page in PAGES for kind in ("ask", "mount")]
    stores += [
        dcc.Store(id=f"{page}-paint", **({"data": paints[page]} if page in paints else {})) for page in PAGES
    ]
    return html.Div(
        [
            html.A("Skip to content", href="#main", className="ns-skip"),
            _header(settings),
            html.Div("", id="ns-offline", className="ns-banner is-none", role="alert"),
            html.Main(slots, id="main"),
            *stores,
            dcc.Store(id="boot", data={"refresh_s": settings.refresh_s}),
        ],
        className="ns-app",
    )


def body(page: str, settings: PagesSettings) -> list[Any]:
    """Return the skeleton of a page's own part."""
    return _overview(settings) if page == "overview" else _model()


def _header(settings: PagesSettings) -> html.Header:
    presets = [
        html.A(preset, href=f"?from=now-{preset}&to=now", className="ns-preset", **data(preset=preset))
        for preset in PRESETS
    ]
    return html.Header(
        [
            html.Div(
                [
                    html.A(settings.title, href="/", className="ns-brand", **data(nav="keep")),
                    html.Nav(
                        html.A("Overview", href="/", className="ns-link", **data(nav="keep")),
                        **aria(label="Pages"),
                    ),
                ],
                className="ns-head-left",
            ),
            html.Div(
                [
                    html.Nav(presets, className="ns-presets", **aria(label="Time range")),
                    html.Span("", id="ns-range", className="ns-range"),
                    html.Span(
                        "", id="ns-zone", className="ns-zone", title="Time zone of every axis and table"
                    ),
                ],
                className="ns-head-middle",
            ),
            html.Div(
                [
                    html.Span("connecting", id="ns-status", className="ns-status is-wait", role="status"),
                    html.Button(
                        "Pause", id="ns-pause", className="ns-button", type="button", title="Pause (p)"
                    ),
                    html.Button(
                        "Refresh", id="ns-refresh", className="ns-button", type="button", title="Refresh (r)"
                    ),
                    html.Div(
                        [
                            html.Button(choice, type="button", className="ns-choice", **data(choice=choice))
                            for choice in ("auto", "light", "dark")
                        ],
                        className="ns-choices",
                        role="group",
                        **aria(label="Theme"),
                    ),
                ],
                className="ns-head-right",
            ),
        ],
        className="ns-header",
    )


def _overview(settings: PagesSettings) -> list[Any]:
    return [
        html.Div("", id="overview-banner", className="ns-banner is-none", role="status"),
        html.Div(
            [
                html.H1("Overview"),
                simulated_badge("overview-simulated"),
                html.Div(
                    [
                        html.Span("Alerts", className="ns-verdict-label"),
                        *[count(*entry) for entry in VERDICT[:2]],
                        html.Span("Objectives", className="ns-verdict-label"),
                        *[count(*entry) for entry in VERDICT[2:]],
                    ],
                    className="ns-verdict",
                    role="status",
                ),
            ],
            className="ns-title",
        ),
        first_run(settings),
        html.Div(
            [
                html.Div([tile(*entry) for entry in TILES_OVERVIEW], className="ns-tiles"),
                html.Div(_overview_panels(), className="ns-panels"),
            ],
            id="overview-body",
            className="ns-body",
        ),
    ]


def _overview_panels() -> list[html.Section]:
    return [
        grid(
            "models",
            "Models",
            "Worst first: firing alerts, then the budget left, then the error ratio. Figures are over the range "
            "shown; hover a percentile for its bounds. Click a row for the model.",
            columns.MODELS,
            "w8 h-table",
        ),
        grid(
            "alerts",
            "Active alerts",
            "Firing first, newest first, with the age and how the webhook fared.",
            columns.ALERTS,
            "w4 h-table",
        ),
        chart(panel("traffic"), "w4 h-chart"),
        chart(panel("errors"), "w4 h-chart"),
        chart(panel("latency"), "w4 h-chart"),
        grid(
            "objectives",
            "Objectives",
            "Each SLA objective over its own window, worst first: what it promises, what was attained, and how much "
            "of the error budget is left. Hover the bar for burn rates.",
            columns.OBJECTIVES,
            "w4 h-list",
        ),
        chart(panel("gpu-utilization"), "w2 h-list"),
        chart(panel("gpu-memory"), "w2 h-list"),
        grid(
            "costs",
            "Cost",
            "The bill over the range per model version. Idle is what no model used; together they are the bill.",
            columns.COSTS,
            "w4 h-list",
        ),
    ]


def _model() -> list[Any]:
    return [
        html.Div("", id="model-banner", className="ns-banner is-none", role="status"),
        html.Div(
            [
                html.Nav(
                    html.A("Overview", href="/", className="ns-link", **data(nav="keep")),
                    className="ns-crumb",
                    **aria(label="Breadcrumb"),
                ),
                html.H1("", id="model-name"),
                simulated_badge("model-simulated"),
            ],
            className="ns-title",
        ),
        html.Div(
            [
                html.Div([tile(*entry) for entry in TILES_MODEL], className="ns-tiles"),
                html.Div(_model_panels(), className="ns-panels"),
            ],
            className="ns-body",
        ),
    ]


def _model_panels() -> list[html.Section]:
    return [
        chart(panel("model-latency"), "w8 h-tall"),
        chart(panel("model-stages"), "w4 h-tall"),
        chart(panel("model-outcomes"), "w4 h-chart"),
        chart(panel("model-load"), "w4 h-chart"),
        chart(panel("model-batch"), "w4 h-chart"),
        grid(
            "model-objectives",
            "Objectives",
            "This model's SLA objectives over their own windows. Burn rate 1x uses up the budget exactly at the "
            "window's end.",
            columns.MODEL_OBJECTIVES,
            "w6 h-list",
        ),
        grid(
            "model-alerts",
            "Alerts",
            "This model's alerts, newest first, resolved ones included.",
            columns.MODEL_ALERTS,
            "w6 h-list",
        ),
        chart(panel("model-instances"), "w4 h-chart"),
        grid(
            "instances",
            "Instances",
            "Slowest first, over the range shown. Hover a percentile for its bounds and sample count.",
            columns.INSTANCES,
            "w5 h-chart",
        ),
        grid(
            "model-costs",
            "Cost",
            "The bill's part of each version of this model.",
            columns.COSTS,
            "w3 h-chart",
        ),
    ]
