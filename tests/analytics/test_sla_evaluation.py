"""How an SLA stands, through the real engine."""

import pytest
from ninesight_analytics import sla
from ninesight_analytics.contract import NO_DATA, Basis, SlaState
from ninesight_analytics.testing import ModelTraffic
from ninesight_query.contract import labels_of

NOW = 1_700_000_000_000
MINUTE = 60_000
TEXT = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: ranker}
spec:
  service: ranking
  timeWindow: [{duration: 60m}]
  budgetingMethod: Occurrences
  ninesight:
    model: ranker
    customer: Acme
    minimum_requests: MINIMUM
    burn_windows: [{long: 10m, short: 1m, factor: 5, severity: page}]
  objectives:
    - {displayName: answered, targetPercent: 99, ninesight: {kind: availability}}
    - {displayName: fast, targetPercent: 90, ninesight: {kind: latency, threshold: 250ms}}
"""
# A sample at either end of every look-back: nothing is extrapolated but a millisecond.
TIMES = tuple(sorted({
    *range(NOW - 60 * MINUTE, NOW + 1, MINUTE // 4),
    NOW - 60 * MINUTE + 1, NOW - 10 * MINUTE + 1, NOW - MINUTE + 1,
}))  # fmt: skip


def loaded(minimum="0"):
    (found,) = sla.load(TEXT.replace("MINIMUM", minimum))
    return found


def by_name(report):
    return {objective.name: objective for objective in report.objectives}


def served(*calls, **keys):
    """Requests as (minutes ago, durations, outcome)."""
    made = ModelTraffic("ranker", **keys)
    for minutes_ago, durations, outcome in calls:
        made.observe(NOW - round(minutes_ago * MINUTE), durations, outcome=outcome)
    return made


def test_compliance_budget_and_burn_are_those_of_the_requests(world):
    """990 good, 4 bad, 6 cancelled; 50 slow: every figure by hand."""
    world.serve(
        served(
            (30, [0.05] * 940, "ok"),
            (30, [0.8] * 50, "ok"),
            (30, [0.05] * 2, "error"),
            (30, [0.05], "timeout"),
            (30, [0.05], "shed"),
            (30, [0.05] * 6, "cancelled"),
        ),
        times=TIMES,
    )
    report = sla.evaluate(world.engine, loaded(), NOW)
    assert (report.name, report.service, report.customer, report.model) == (
        "ranker",
        "ranking",
        "Acme",
        "ranker",
    )
    assert (report.window.start_ms, report.window.end_ms) == (NOW - 60 * MINUTE, NOW)
    answered, fast = report.objectives
    assert answered.compliance.value == pytest.approx(990 / 994)
    assert answered.compliance.lower == answered.compliance.upper == answered.compliance.value
    assert (answered.good, answered.total) == pytest.approx((990, 994), rel=1e-6)
    assert answered.budget_left.value == pytest.approx(1 - (4 / 994) / 0.01)
    assert answered.compliance.basis is Basis.COUNTER
    assert answered.threshold_s is None
    assert fast.kind == "latency"
    assert fast.threshold_s == 0.25
    assert fast.compliance.value == pytest.approx(0.95)
    assert fast.compliance.basis is Basis.NATIVE
    assert fast.budget_left.value == pytest.approx(0.5)
    assert fast.burn_rates == {"1m": NO_DATA, "10m": NO_DATA}, "no requests then"
    assert (answered.state, fast.state, report.state) == (SlaState.OK, SlaState.OK, SlaState.OK)
    assert not report.simulated
    assert report.notes == ()


def test_a_spent_budget_is_a_breach(world):
    """2 % failed where 1 % may."""
    world.serve(served((30, [0.05] * 98, "ok"), (30, [0.05] * 2, "error")), times=TIMES)
    answered = by_name(sla.evaluate(world.engine, loaded(), NOW))["answered"]
    assert answered.state is SlaState.BREACHED
    assert answered.budget_left.value == pytest.approx(-1.0)


def test_exactly_the_target_is_met(world):
    """99 of 100 at 99 %: the budget is used up, not overdrawn."""
    world.serve(served((30, [0.05] * 99, "ok"), (30, [0.05], "error")), times=TIMES)
    answered = by_name(sla.evaluate(world.engine, loaded(), NOW))["answered"]
    assert answered.budget_left.value == pytest.approx(0.0, abs=1e-9)
    assert answered.state is not SlaState.BREACHED


def test_a_budget_that_burns_is_at_risk_while_it_does(world):
    """The period is met; the last minutes are not. One failure is no fire, and a fire that is out neither."""
    calm = (30, [0.05] * 10_000, "ok")
    world.serve(served(calm, (0.5, [0.05] * 90, "ok"), (0.5, [0.05] * 10, "error")), times=TIMES)
    report = sla.evaluate(world.engine, loaded(), NOW)
    answered = by_name(report)["answered"]
    assert answered.burn_rates["1m"].value == pytest.approx(10.0, rel=1e-4)
    assert answered.burn_rates["10m"].count == pytest.approx(100, rel=1e-5)
    assert answered.state is SlaState.AT_RISK
    assert report.state is SlaState.AT_RISK
    for calls in (
        [calm, (0.5, [0.05] * 9, "ok"), (0.5, [0.05], "error")],
        [calm, (5, [0.05] * 90, "ok"), (5, [0.05] * 10, "error"), (0.5, [0.05] * 90, "ok")],
    ):
        world.store.clear()
        world.serve(served(*calls), times=TIMES)
        assert by_name(sla.evaluate(world.engine, loaded(), NOW))["answered"].state is SlaState.OK


def test_no_requests_are_no_data_never_100_percent(world):
    """Unknown model, idle model: no compliance, no budget, and it is said."""
    for fill in (lambda: None, lambda: world.serve(served((600, [0.05] * 9, "ok")), times=TIMES)):
        fill()
        report = sla.evaluate(world.engine, loaded(), NOW)
        assert report.state is SlaState.NO_DATA
        for objective in report.objectives:
            assert objective.state is SlaState.NO_DATA
            assert objective.compliance.value is None
            assert objective.budget_left == NO_DATA
            assert objective.total == 0
        assert report.notes[0] == "answered: no requests in the period, so nothing is known"


def test_a_threshold_inside_a_classic_bucket_is_undecidable_or_not(world):
    """Undecidable only if the target lies inside the interval; the interval is shown."""

    def standing(*calls):
        world.store.clear()
        world.serve(served(*calls), times=TIMES, native=False, bounds=(0.1, 0.5, 1.0))
        return by_name(sla.evaluate(world.engine, loaded(), NOW))["fast"]

    hidden = standing((30, [0.05] * 80, "ok"), (30, [0.3] * 15, "ok"), (30, [0.8] * 5, "ok"))
    assert hidden.state is SlaState.UNDECIDABLE
    assert (hidden.compliance.lower, hidden.compliance.upper) == pytest.approx((0.80, 0.95))
    assert hidden.compliance.basis is Basis.CLASSIC
    assert (hidden.budget_left.lower, hidden.budget_left.upper) == pytest.approx((-1.0, 0.5))
    assert standing((30, [0.05] * 95, "ok"), (30, [0.3] * 5, "ok")).state is SlaState.OK
    assert (
        standing((30, [0.05] * 50, "ok"), (30, [0.3] * 30, "ok"), (30, [2.0] * 20, "ok")).state
        is SlaState.BREACHED
    )


def test_undecidable_says_what_would_decide_it(world):
    """The note names the bound to add."""
    world.serve(
        served((30, [0.05] * 80, "ok"), (30, [0.3] * 20, "ok")), times=TIMES, native=False, bounds=(0.1, 0.5)
    )
    report = sla.evaluate(world.engine, loaded(), NOW)
    assert report.state is SlaState.UNDECIDABLE
    assert report.notes == (
        "fast: undecidable between 80.0000% and 100.0000%; a bucket bound at 0.25 s would decide it",
    )


def test_low_traffic_shows_its_interval_and_condemns_nobody(world):
    """One failure of twenty is a miss on paper, and not significant; nine of ten is."""
    world.serve(served((30, [0.05] * 19, "ok"), (30, [0.05], "error")), times=TIMES)
    report = sla.evaluate(world.engine, loaded("100"), NOW)
    answered = by_name(report)["answered"]
    assert answered.state is SlaState.UNDECIDABLE
    # R: prop.test(19, 20, correct = FALSE)
    assert (answered.compliance.lower, answered.compliance.upper) == pytest.approx((0.7639, 0.9911), abs=1e-3)
    assert report.notes[0].startswith("answered: only 20 requests, fewer than 100; 95 % interval 76.38")
    assert by_name(sla.evaluate(world.engine, loaded("0"), NOW))["answered"].state is SlaState.BREACHED
    assert by_name(sla.evaluate(world.engine, loaded("100"), NOW))["fast"].state is SlaState.OK, "met so far"
    world.store.clear()
    world.serve(served((30, [0.05], "ok"), (30, [0.05] * 9, "error")), times=TIMES)
    assert by_name(sla.evaluate(world.engine, loaded("100"), NOW))["answered"].state is SlaState.BREACHED


def test_simulated_requests_mark_the_report(world):
    """By either objective."""
    world.serve(served((30, [0.05] * 9, "ok"), labels={"simulated": "true"}), times=TIMES)
    assert sla.evaluate(world.engine, loaded(), NOW).simulated


def test_a_gap_in_the_data_is_told(world):
    """Missing samples are not good service: the report says how much of the period was seen."""
    first = [at for at in TIMES if at <= NOW - 45 * MINUTE]
    world.serve(served((50, [0.05] * 90, "ok")), times=first)
    report = sla.evaluate(world.engine, loaded(), NOW)
    # The look-back of five minutes still sees the last sample.
    assert any(note.startswith("samples cover 33% of the period") for note in report.notes)


def test_openslo_queries_are_counted_over_any_look_back(world):
    """good or bad, plain selectors or {{.window}} with rate: the same figures."""
    template = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: shop}
spec:
  service: shop
  indicator:
    spec:
      ratioMetric:
        counter: true
        PART: {metricSource: {spec: {query: 'QUERY'}}}
        total: {metricSource: {spec: {query: 'TOTAL'}}}
  timeWindow: [{duration: 60m}]
  budgetingMethod: Occurrences
  ninesight: {burn_windows: [{long: 10m, short: 1m, factor: 5}]}
  objectives: [{target: 0.9}]
"""
    for code, total in (("200", 950.0), ("500", 50.0)):
        series = labels_of("http_requests_total", {"code": code, "job": "shop"})
        world.add({series: [(at, 0.0 if at < NOW - 30 * MINUTE else total) for at in TIMES]})
    for part, query, total in (
        ("bad", 'http_requests_total{code="500"}', "http_requests_total"),
        ("good", 'http_requests_total{code!="500"}', "http_requests_total"),
        (
            "bad",
            'sum(rate(http_requests_total{code="500"}[{{.window}}]))',
            "sum(rate(http_requests_total[{{.window}}]))",
        ),
        ("good", 'increase(http_requests_total{code="200"}[{{ .window }}])', "http_requests_total"),
        ("bad", 'http_requests_total{code="404"}', "http_requests_total"),
    ):
        text = template.replace("PART", part).replace("QUERY", query).replace("TOTAL", total)
        (objective,) = sla.evaluate(world.engine, sla.load(text)[0], NOW).objectives
        assert objective.total == pytest.approx(1000, rel=1e-5), query
        assert objective.compliance.value == pytest.approx(1.0 if "404" in query else 0.95), query


def test_openslo_thresholds_read_any_histogram(world):
    """A thresholdMetric's selector is scoped by its own matchers."""
    text = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: shop}
spec:
  service: shop
  indicator:
    spec: {thresholdMetric: {metricSource: {spec: {query: 'model_request_duration_seconds{version="2"}'}}}}
  timeWindow: [{duration: 60m}]
  budgetingMethod: Occurrences
  ninesight: {burn_windows: [{long: 10m, short: 1m, factor: 5}]}
  objectives: [{op: lte, value: 0.25, target: 0.9}]
"""
    world.serve(
        served((30, [0.05] * 3, "ok"), (30, [0.9], "ok"), version="2"),
        served((30, [9.0] * 50, "ok"), version="1"),
        times=TIMES,
    )
    (objective,) = sla.evaluate(world.engine, sla.load(text)[0], NOW).objectives
    assert objective.compliance.value == pytest.approx(0.75)
    assert objective.threshold_s == 0.25
