"""The figures are true: percentiles against the load generator's own log, money against price x time."""

import asyncio
import math
import re

import httpx2
import pytest
import yaml
from ninesight_analytics import cost, latency, pricebook, traffic
from ninesight_analytics.contract import Window
from ninesight_query.engine import LocalEngine
from ninesight_server.load.record import read_log
from ninesight_server.load.run import LoadSettings, run_load
from ninesight_store import LocalStore
from ninesight_suite.demo.files import _PRICES
from ninesight_suite.testing import BROWSER_ARGUMENTS, eventually, now_ms, running_server, running_suite

MODELS = ("digits-light", "ranker-heavy")
QUANTILES = (0.5, 0.9, 0.95, 0.99)


def counted(suite, model):
    """Requests of a model as the store knows them."""
    return suite.value(f'sum(model_requests_total{{model="{model}",outcome="ok"}})') or 0.0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A suite, a server and ten seconds of logged load; then everything the store was told of it."""
    folder = tmp_path_factory.mktemp("truth")
    log = folder / "load.jsonl"
    gpu = {"mode": "simulated", "interval": "1s", "scenario": {"utilization": 0.5}}
    with running_suite(folder, {"collector": {"gpu": gpu}}) as suite:
        with running_server(folder, otlp_url=suite.api_url) as server:
            with httpx2.Client(timeout=60) as client:
                for model in MODELS:
                    face = client.get(f"{server.url}/v2/models/{model}").json()["inputs"][0]
                    row = {**face, "shape": [1, face["shape"][1]], "data": [0.0] * face["shape"][1]}
                    client.post(
                        f"{server.url}/v2/models/{model}/infer", json={"inputs": [row]}
                    ).raise_for_status()
            eventually(lambda: all(counted(suite, model) == 1 for model in MODELS), what="the warm-up")
            start_ms = now_ms()
            # A push of the warm-up alone must lie inside the window: increase counts from its first sample.
            pushes = 'count_over_time(model_requests_total{model="digits-light",outcome="ok"}[1m])'
            before = suite.value(pushes)
            eventually(lambda: suite.value(pushes) >= before + 2, what="two more pushes")
            load = LoadSettings(url=server.url, rate_per_s=60, duration_s=10, seed=5)
            assert asyncio.run(run_load(load, log=log, quiet=True)) == 0
            records = read_log(log)
            sent = {model: sum(1 for one in records if one.model == model) for model in MODELS}
            eventually(
                lambda: all(counted(suite, m) == 1 + sent[m] for m in MODELS), what="all requests counted"
            )
            end_ms = now_ms()
        store = LocalStore(f"sqlite:///{folder / 'data' / 'ninesight.db'}", read_only=True)
        try:
            yield LocalEngine(store), Window(start_ms, end_ms), records, sent, suite
        finally:
            store.close()


def nearest_rank(values, quantile):
    """The exact percentile of a log: the smallest value that at least `quantile` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(quantile * len(ordered))) - 1]


@pytest.mark.parametrize("model", MODELS)
def test_percentiles_equal_those_of_the_log_within_the_stated_bound(run, model):
    """Every percentile's exact value from the log lies in [lower, upper], and the bound is at most 1.1 %."""
    engine, window, records, sent, _ = run
    found = latency.percentiles(engine, window, quantiles=QUANTILES, by=("model",))[(model,)]
    exact = [one.server_s for one in records if one.model == model]
    assert len(exact) == sent[model]
    for quantile in QUANTILES:
        estimate, truth = found[quantile], nearest_rank(exact, quantile)
        assert estimate.lower <= truth <= estimate.upper, (quantile, estimate, truth)
        assert estimate.upper / estimate.lower - 1 <= 0.011
        assert abs(estimate.value - truth) / truth <= 0.011


def test_the_request_counts_equal_those_of_the_log(run):
    """The rate x window of the page is the number of requests the client sent (increase extrapolates: 15 %)."""
    engine, window, _, sent, _ = run
    for row in traffic.models(engine, window, by=("model",)):
        total = row.request_rate.value * window.duration_s
        assert total == pytest.approx(sent[row.labels["model"]], rel=0.15)


def test_attributed_and_idle_cost_equal_price_times_time(run, tmp_path):
    """sum(lines) + idle == price x time, to 1e-9 relative; both models caused a part of it."""
    engine, window, *_ = run
    path = tmp_path / "prices.yaml"
    path.write_text(yaml.safe_dump(_PRICES))
    report = cost.report(engine, window, pricebook.load(path))
    (unit,) = report.units
    assert report.bill == pytest.approx(unit[1] * 3.60, rel=1e-9)
    assert sum(line.amount for line in report.lines) + report.idle == pytest.approx(report.bill, rel=1e-9)
    assert {line.model for line in report.lines} == set(MODELS)
    assert all(line.amount > 0 for line in report.lines)
    assert 0 < unit[1] * 3600 <= window.duration_s + 1
    assert report.simulated


def test_the_page_shows_the_logs_percentiles(run, real):
    """In Chromium the model page's p50, p95 and p99 are those of the log, within the bound and its three digits."""
    from playwright.sync_api import sync_playwright

    chromium = real("chromium")
    _, window, records, _, suite = run
    exact = [one.server_s for one in records if one.model == "digits-light"]
    shown = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        page = browser.new_page()
        page.goto(f"{suite.pages_url}/model/digits-light?from={window.start_ms}&to={window.end_ms}")
        for name in ("p50", "p95", "p99"):
            tile = page.locator(f"#tile-model-{name}-value")
            tile.filter(has_text=re.compile(r"\d (µs|ms|s)$")).wait_for(timeout=60_000)
            shown[name] = seconds(tile.inner_text())
        browser.close()
    for name, quantile in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        truth = nearest_rank(exact, quantile)
        # 1.1 % of the histogram, and half a unit of the third digit shown.
        assert shown[name] == pytest.approx(truth, rel=0.011 + 0.005), (name, shown, truth)


def seconds(text):
    """Read "2.23 ms" as seconds."""
    number, unit = text.split()
    return float(number) * {"µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
