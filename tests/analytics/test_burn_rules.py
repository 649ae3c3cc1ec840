"""Burn-rate rules: valid for Prometheus, and firing when they should."""

import subprocess

import pytest
import yaml
from ninesight_analytics import sla
from ninesight_analytics.sla.agreement import BurnWindow
from ninesight_analytics.testing import ModelTraffic

START = 1_700_000_000_000
TEXT = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: ranker, displayName: "Ranker {{ gold }}"}
spec:
  service: ranking
  timeWindow: [{duration: 30d}]
  budgetingMethod: Occurrences
  ninesight: {model: "ran/ker", version: "1", customer: Acme, fallback: FALLBACK}
  objectives:
    - {displayName: answered, targetPercent: 99, ninesight: {kind: availability}}
    - {displayName: fast, targetPercent: 90, ninesight: {kind: latency, threshold: 250ms}}
"""
DEMO = (BurnWindow("30s", "10s", 2.0, "page", "5s"),)


def loaded(fallback="good"):
    (found,) = sla.load(TEXT.replace("FALLBACK", fallback))
    return found


def test_a_group_holds_a_rule_for_each_objective_and_pair_that_can_fire():
    """At 90 % the fastest pair is out of reach: 14.4 x 10 % is more than everything."""
    group = sla.burn_rules(loaded())
    assert group["name"] == "sla/ranker"
    assert "interval" not in group
    labels = [
        (r["labels"]["objective"], r["labels"]["burn_window"], r["labels"]["severity"])
        for r in group["rules"]
    ]
    assert labels == [
        ("answered", "1h", "page"),
        ("answered", "6h", "page"),
        ("answered", "3d", "ticket"),
        ("fast", "6h", "page"),
        ("fast", "3d", "ticket"),
    ]
    rule = group["rules"][0]
    assert rule["labels"] == {
        "severity": "page",
        "sla": "ranker",
        "objective": "answered",
        "model": "ran/ker",
        "version": "1",
        "customer": "Acme",
        "burn_window": "1h",
    }
    assert "> 0.144\n" in rule["expr"]
    assert rule["expr"].endswith(">= 14"), "two failures: 2 / (14.4 x 1 %)"
    assert rule["annotations"]["dashboard"] == "/model/ran%2Fker"
    assert rule["annotations"]["summary"].startswith(
        'Ranker {{ "{{" }} gold }}: the error budget of answered burns at 14.4x'
    )
    assert (
        "{{ $value | humanizePercentage }} of requests failed over the last 1h, 1 % is allowed"
        in rule["annotations"]["description"]
    )
    assert "took longer than 0.25 s" in group["rules"][3]["annotations"]["description"]


def test_a_demo_sets_its_own_windows_labels_and_pace():
    """Seconds instead of hours; the group is evaluated often enough to see them."""
    group = sla.burn_rules(loaded(), windows=DEMO, failures_min=5, labels={"team": "ml"})
    assert group["interval"] == "2s"
    assert [rule["for"] for rule in group["rules"]] == ["5s", "5s"]
    assert group["rules"][0]["labels"]["team"] == "ml"
    assert group["rules"][0]["expr"].endswith(">= 250")
    assert sla.burn_rules(loaded(), windows=DEMO, interval="7s")["interval"] == "7s"


@pytest.mark.parametrize("fallback", ["good", "bad", "excluded"])
def test_prometheus_takes_the_rules(real, tmp_path, fallback):
    """promtool reads them without a complaint, those of real OpenSLO queries included."""
    promtool = real("promtool")
    openslo = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: shop}
spec:
  service: shop
  indicator:
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {spec: {query: 'sum(rate(http_requests_total{code!~"5.."}[{{.window}}]))'}}}
        total: {metricSource: {spec: {query: 'http_requests_total'}}}
  timeWindow: [{duration: 28d}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
"""
    groups = [sla.burn_rules(one) for one in (loaded(fallback), *sla.load(openslo))]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups}))
    done = subprocess.run(
        [promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 rules found" in done.stdout


def firing(world, group, at_ms):
    """Names of the objectives whose rule gives an element, with its value."""
    found = {}
    for rule in group["rules"]:
        for value in world.engine.instant(rule["expr"], at_ms).value.values.tolist():
            found[rule["labels"]["objective"]] = value
    return found


def ticking(calls, **keys):
    """A model that is scraped each second; `calls` is (second, durations, outcome)."""
    made = ModelTraffic("ran/ker", **keys)
    for second, durations, outcome in calls:
        made.observe(START + second * 1000, durations, outcome=outcome)
    return made


def steady(seconds, duration=0.05, outcome="ok", count=10):
    return [(second, [duration] * count, outcome) for second in seconds]


@pytest.mark.parametrize("native", [True, False])
def test_a_latency_fault_fires_and_resolves(world, native):
    """While requests are slow, and not before; over when the short look-back is clean."""
    calls = steady(range(1, 60)) + steady(range(60, 80), duration=0.6) + steady(range(80, 150))
    bounds = () if native else (0.1, 0.25, 1.0)
    world.serve(ticking(calls), times=range(START, START + 150_000, 1000), native=native, bounds=bounds)
    group = sla.burn_rules(loaded(), windows=DEMO)
    assert firing(world, group, START + 59_000) == {}
    during = firing(world, group, START + 79_000)
    assert during == {"fast": pytest.approx(20 / 30, rel=0.05)}, (
        "the value is the share over the long look-back"
    )
    assert firing(world, group, START + 95_000) == {}, "the long look-back still burns, the short one no more"


def test_errors_fire_and_one_failure_alone_does_not(world):
    """The guard for low traffic: a single failure of ten requests is a burn of ten, and wakes nobody."""
    quiet = [*steady([10], count=9), (10, [0.05], "error")]
    world.serve(ticking(quiet), times=range(START, START + 40_000, 1000))
    group = sla.burn_rules(loaded(), windows=DEMO)
    assert firing(world, group, START + 15_000) == {}
    busy = steady(range(1, 40)) + [(s, [0.05] * 2, "error") for s in range(20, 30)]
    world.serve(ticking(busy, instance="b:1"), times=range(START, START + 40_000, 1000))
    assert firing(world, group, START + 29_000)["answered"] == pytest.approx(0.06, rel=0.2)


@pytest.mark.parametrize(("fallback", "fires"), [("good", False), ("bad", True), ("excluded", False)])
def test_fallback_answers_count_as_the_contract_says(world, fallback, fires):
    """Half of the answers come from a fallback, all in time."""
    made = ticking(steady(range(1, 40)))
    for second in range(1, 40):
        made.observe(START + second * 1000, [0.01] * 10, served_by="fallback")
    world.serve(made, times=range(START, START + 40_000, 1000))
    group = sla.burn_rules(loaded(fallback), windows=DEMO)
    assert ("answered" in firing(world, group, START + 39_000)) is fires


def test_no_traffic_fires_nothing(world):
    """No element, no alert: absence has its own alerts."""
    world.serve(ticking(steady([1])), times=range(START, START + 5_000, 1000))
    assert firing(world, sla.burn_rules(loaded(), windows=DEMO), START + 200_000) == {}
