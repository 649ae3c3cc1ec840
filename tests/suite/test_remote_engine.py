"""The whole suite on another engine: what comes in goes there by remote write, and everything is asked there."""

import asyncio
import contextlib
import re

import pytest
import yaml
from ninesight_analytics import sla
from ninesight_query import RemoteEngine, RemoteSettings
from ninesight_query.contract import Vector
from ninesight_query.testing_servers import running_prometheus, running_victoria_metrics
from ninesight_server.load.run import LoadSettings, run_load
from ninesight_store import LocalStore
from ninesight_suite.demo.webhook_receiver import WebhookReceiver
from ninesight_suite.testing import BROWSER_ARGUMENTS, eventually, now_ms, running_server, running_suite

MODEL = "ranker-heavy"
ENGINES = {
    "prometheus": (running_prometheus, "prometheus", ()),
    # Without it an older VictoriaMetrics shows nothing of the last 30 s in a chart.
    "victoriametrics": (running_victoria_metrics, "victoria-metrics", ("-search.latencyOffset=1s",)),
}

RULES = {
    "groups": [
        {
            "name": "remote",
            "interval": "1s",
            "rules": [
                {
                    "record": "model:requests:rate20s",
                    "expr": "sum by (model) (rate(model_requests_total[20s]))",
                },
                # It can only fire on what was recorded, sent on and asked again.
                {"alert": "Busy", "expr": f'model:requests:rate20s{{model="{MODEL}"}} > 1'},
            ],
        }
    ]
}

# Hardly anything answers within a millisecond: the burn-rate alert must fire.
SLA = {
    "apiVersion": "openslo/v1",
    "kind": "SLO",
    "metadata": {"name": "strict"},
    "spec": {
        "service": MODEL,
        "timeWindow": [{"duration": "1h", "isRolling": True}],
        "budgetingMethod": "Occurrences",
        "ninesight": {
            "customer": "test",
            "model": MODEL,
            "burn_windows": [{"long": "30s", "short": "15s", "factor": 10, "severity": "page"}],
        },
        "objectives": [
            {
                "displayName": "fast",
                "targetPercent": 98,
                "ninesight": {"kind": "latency", "threshold": "1ms"},
            },
            {"displayName": "answered", "targetPercent": 99, "ninesight": {"kind": "availability"}},
        ],
    },
}


class World:
    """A suite on an engine, after some seconds of traffic."""

    def __init__(self, suite, engine, webhooks, folder):
        self.suite, self.engine, self.webhooks, self.folder = suite, engine, webhooks, folder

    def number(self, query):
        """The first value of an instant query at the engine itself, or None."""
        value = self.engine.instant(query, now_ms()).value
        assert isinstance(value, Vector)
        return float(value.values[0]) if len(value.values) else None


@pytest.fixture(scope="module", params=ENGINES)
def world(request, tmp_path_factory, real):
    """Suite, reference server with the SDK, load; until the first webhook has come."""
    start, component, options = ENGINES[request.param]
    binary = real(component)
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "rules.yaml").write_text(yaml.safe_dump(RULES))
    (folder / "slas.yaml").write_text(yaml.safe_dump(SLA))
    webhooks = WebhookReceiver()
    with contextlib.ExitStack() as stack:
        stack.callback(webhooks.close)
        address = stack.enter_context(start(binary, folder / "engine", options=options))
        config = {
            "engine": {"url": address},
            "collector": {
                "remote_write": [{"url": f"{address}/api/v1/write", "name": "engine"}],
                "host": {"interval": "1s"},
                "gpu": {"mode": "simulated", "interval": "1s", "scenario": {"utilization": 0.5}},
            },
            "analytics": {"slas": ["slas.yaml"]},
            "alerts": {
                "rule_files": ["rules.yaml"],
                "evaluation_interval": "1s",
                "receivers": [{"name": "r", "url": webhooks.url, "allow_private": True}],
            },
        }
        suite = stack.enter_context(running_suite(folder, config))
        server = stack.enter_context(running_server(folder, otlp_url=suite.api_url))
        engine = RemoteEngine(RemoteSettings(address, timeout_s=30.0))
        stack.callback(engine.close)
        asyncio.run(run_load(LoadSettings(url=server.url, rate_per_s=40, duration_s=12, seed=3), quiet=True))
        yield World(suite, engine, webhooks, folder)


def test_the_data_is_there_and_only_there(world):
    """The engine has what the SDK pushed and what was sampled; the suite's own answers are the engine's."""
    total = f'sum(model_requests_total{{model="{MODEL}"}})'
    assert eventually(lambda: (world.number(total) or 0) > 100, what="the requests in the engine")
    assert world.number("count(host_memory_used_bytes)") == 1
    assert world.number("count(gpu_power_watts)") == 1
    assert world.suite.value("count(host_memory_used_bytes)") == 1
    with LocalStore(f"sqlite:///{world.folder / 'data' / 'ninesight.db'}", read_only=True) as store:
        assert store.series([], 0, 2**52) == ()


def test_percentiles_come_from_the_engine(world):
    """Native histograms where the engine has them, classic ones that the sender made where it has none."""
    native = 'count(histogram_count(model_request_duration_seconds{model="ranker-heavy"}))'
    classic = 'count(model_request_duration_seconds_bucket{model="ranker-heavy"})'
    assert eventually(lambda: world.number(native) or world.number(classic), what="a histogram")
    assert bool(world.number(native)) is world.engine.capabilities.native_histograms
    quantile = (
        'histogram_quantile(0.95, sum(rate(model_request_duration_seconds{model="ranker-heavy"}[1m]))) or '
        'histogram_quantile(0.95, sum by (le) (rate(model_request_duration_seconds_bucket{model="ranker-heavy"}[1m])))'
    )
    assert 0 < eventually(lambda: world.suite.value(quantile), what="a quantile") < 5


def test_alerts_fire_and_their_webhooks_arrive(world):
    """The alert on a recorded rate, and the burn rate of the SLA on its histogram, wherever they are evaluated."""
    for name in ("Busy", "SlaErrorBudgetBurn"):
        found = world.webhooks.wait_for(
            lambda one, name=name: one.status == "firing" and name in one.alert_names, 60.0
        )
        assert found is not None, (name, [one.alert_names for one in world.webhooks.messages])


def test_recorded_series_and_alerts_go_there_too(world):
    """Recording rules and ALERTS are the engine's series like any other."""
    assert (
        eventually(lambda: world.number("max_over_time(model:requests:rate20s[2m])"), what="the record") > 1
    )
    firing = 'max_over_time(ALERTS{alertname="Busy",alertstate="firing"}[2m])'
    assert eventually(lambda: world.number(firing), what="the ALERTS series") == 1


def test_the_sla_is_computed_there(world):
    """Most requests took longer than a millisecond, and every one was answered."""
    (contract,) = sla.load(world.folder / "slas.yaml")
    report = sla.evaluate(world.engine, contract, now_ms())
    by_name = {one.name: one for one in report.objectives}
    assert by_name["fast"].compliance.value < 0.8
    assert by_name["answered"].compliance.value == pytest.approx(1.0)
    assert by_name["answered"].total > 50


def test_the_queue_is_empty_and_seen(world):
    """The sender's own series are in the engine: nothing waits, nothing failed, and `targets` says up."""
    pending = 'ninesight_collector_remote_write_pending_samples{target="engine"}'
    assert eventually(lambda: world.number(pending) is not None, what="the sender's series")
    assert world.number('sum(ninesight_collector_remote_write_sent_samples_total{target="engine"})') > 100
    assert not world.number("sum(ninesight_collector_remote_write_failed_samples_total)")
    targets = world.suite.client.get(f"{world.suite.api_url}/api/v1/targets").json()["data"]["activeTargets"]
    (view,) = [one for one in targets if one["kind"] == "remote_write"]
    assert (view["health"], view["lastError"]) == ("up", "")


def test_pages_show_it(world, real):
    """In Chromium the model page has a p95 and lines in its charts, and Overview names the model."""
    from playwright.sync_api import sync_playwright

    chromium = real("chromium")
    lines = (
        "id => (document.querySelector(`#${id} .js-plotly-plot`)?.data ?? []).filter(t => t.y?.length).length"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        page = browser.new_page()
        page.goto(f"{world.suite.pages_url}/model/{MODEL}?from=now-5m&to=now")
        tile = page.locator("#tile-model-p95-value")
        tile.filter(has_text=re.compile(r"\d (µs|ms|s)$")).wait_for(timeout=60_000)
        for chart in ("model-latency", "model-outcomes", "model-stages"):
            eventually(
                lambda chart=chart: page.evaluate(lines, chart), timeout_s=30, what=f"lines in {chart}"
            )
        page.goto(f"{world.suite.pages_url}/?from=now-5m&to=now")
        page.get_by_text(MODEL).first.wait_for(timeout=60_000)
        for chart in ("traffic", "latency", "gpu-utilization"):
            eventually(
                lambda chart=chart: page.evaluate(lines, chart), timeout_s=30, what=f"lines in {chart}"
            )
        browser.close()
