"""What a new installation shows: what to point at it. It leaves by itself when the first model reports."""

from __future__ import annotations

from dash import html

from ninesight_dashboards.contract import PagesSettings

__all__ = ["decorator_snippet", "first_run", "scrape_snippet"]


def decorator_snippet(settings: PagesSettings) -> str:
    """Return the five lines that make a Python function observed."""
    return (
        "import ninesight\n"
        f'ninesight.configure(otlp_endpoint="{settings.otlp_url}")\n'
        '@ninesight.observe(model="sentiment", version="1")\n'
        "def predict(texts):\n"
        "    return model(texts)"
    )


def scrape_snippet() -> str:
    """Return the configuration that scrapes a server's own metrics."""
    return 'collector:\n  scrape:\n    - job: my-server\n      targets: ["127.0.0.1:8000"]'


def _way(title: str, text: str, code: str) -> html.Section:
    return html.Section(
        [html.H3(title), html.P(text), html.Pre(html.Code(code), tabIndex="0")], className="ns-way"
    )


def first_run(settings: PagesSettings) -> html.Div:
    """Return the three ways in."""
    return html.Div(
        [
            html.H2("No model has reported yet"),
            html.P(
                "Everything runs and waits for data. This page switches by itself when the first series arrives."
            ),
            html.Div(
                [
                    _way("Decorate a function", "Python servers: five lines.", decorator_snippet(settings)),
                    _way(
                        "Push OTLP",
                        "Anything that speaks OpenTelemetry metrics over HTTP.",
                        f"OTEL_EXPORTER_OTLP_ENDPOINT={settings.otlp_url}\n"
                        "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
                    ),
                    _way(
                        "Scrape /metrics",
                        "Servers that expose metrics already: in the configuration file.",
                        scrape_snippet(),
                    ),
                ],
                className="ns-ways",
            ),
            html.P(["PromQL and the Prometheus API: ", html.Code(settings.api_url)], className="ns-muted"),
        ],
        id="first-run",
        className="ns-first-run",
        role="status",
    )
