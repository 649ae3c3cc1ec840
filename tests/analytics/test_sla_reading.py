"""SLA documents: what is read, what is refused and in which words."""

from datetime import UTC, datetime
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
from ninesight_analytics import sla
from ninesight_analytics.errors import SlaError
from ninesight_analytics.sla.agreement import requests_for
from ninesight_analytics.sla.events import Fallback, LatencyEvents, OutcomeEvents, QueryEvents
from ninesight_analytics.sla.period import Period, openslo_duration_ms

DAY_MS = 86_400_000
SHORT = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: ranker}
spec:
  service: ranking
  timeWindow: [{duration: 30d}]
  budgetingMethod: Occurrences
  ninesight: {model: ranker, customer: Acme, minimum_requests: 50}
  objectives:
    - {displayName: answered, target: 0.999, ninesight: {kind: availability}}
    - {targetPercent: 99, ninesight: {kind: latency, threshold: 250ms}}
"""
OPENSLO = """
apiVersion: openslo/v1
kind: Service
metadata: {name: shop}
spec: {description: A shop}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: shop-ok}
spec:
  ratioMetric:
    counter: true
    bad: {metricSource: {metricSourceRef: tsdb, spec: {query: 'http_requests_total{code=~"5.."}'}}}
    total: {metricSource: {type: Prometheus, spec: {query: 'sum(rate(http_requests_total[{{.window}}]))'}}}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: shop-availability
  annotations:
    other/thing: "kept by others"
    ninesight/customer: "42"
    ninesight/model: shop
    ninesight/burn_windows: '[{long: 1m, short: 10s, factor: 2, severity: page, for: 5s}]'
spec:
  service: shop
  indicatorRef: shop-ok
  timeWindow: [{duration: 1M, isRolling: false, calendar: {startTime: 2026-01-01 00:00:00, timeZone: America/New_York}}]
  budgetingMethod: Occurrences
  objectives: [{displayName: contract, targetPercent: 99.5}]
  alertPolicies: [{alertPolicyRef: any}]
---
- apiVersion: openslo/v1
  kind: SLO
  metadata: {name: shop-latency}
  spec:
    service: shop
    indicator:
      metadata: {name: shop-latency}
      spec:
        thresholdMetric: {metricSource: {spec: {query: 'http_duration_seconds_bucket{job="shop",path!="/x"}'}}}
    timeWindow: [{duration: 4w, isRolling: true}]
    budgetingMethod: Occurrences
    objectives: [{op: lte, value: 0.25, target: 0.95}]
"""


def test_the_shorthand_gives_objectives_on_our_series():
    """One document, two objectives, the contract's extension."""
    (found,) = sla.load(SHORT)
    assert (found.name, found.service, found.customer, found.model) == ("ranker", "ranking", "Acme", "ranker")
    answered, fast = found.objectives
    assert (answered.name, answered.target, answered.minimum_requests) == ("answered", 0.999, 50)
    assert answered.events == OutcomeEvents({"model": "ranker"}, ("cancelled",), Fallback.GOOD)
    assert (fast.name, fast.target) == ("latency", 0.99)
    assert fast.events == LatencyEvents(0.25, {"model": "ranker"})
    assert found.period == Period("30d", 30 * DAY_MS)
    assert [(w.long, w.short, w.factor, w.severity) for w in found.burn_windows] == [
        ("1h", "5m", 14.4, "page"),
        ("6h", "30m", 6.0, "page"),
        ("3d", "6h", 1.0, "ticket"),
    ]


def test_openslo_documents_are_read_with_annotations_instead_of_unknown_keys():
    """Indicators by reference and inline, lists of documents, other kinds beside them."""
    ratio, latency = sla.load(OPENSLO)
    assert ratio.customer == "42"
    assert ratio.period.zone == "America/New_York"
    assert ratio.objectives[0].target == 0.995
    assert ratio.objectives[0].minimum_requests == 200
    assert ratio.objectives[0].events == QueryEvents(
        total_query="sum(rate(http_requests_total[{{.window}}]))",
        bad_query='http_requests_total{code=~"5.."}',
    )
    (window,) = ratio.burn_windows
    assert (window.long, window.short, window.factor, window.hold) == ("1m", "10s", 2.0, "5s")
    assert latency.objectives[0].events == LatencyEvents(
        0.25, metric="http_duration_seconds", matchers=('job="shop"', 'path!="/x"')
    )
    assert latency.objectives[0].name == "latency"


def test_the_example_that_ships_is_valid():
    """It is the first thing a person copies."""
    text = (resources.files("ninesight_analytics") / "data" / "example-sla.yaml").read_text()
    (found,) = sla.load(text)
    assert found.period.zone == "Europe/Berlin"
    assert [objective.name for objective in found.objectives] == ["answered", "fast"]


def changed(old, new):
    assert old in SHORT or old in OPENSLO
    return (SHORT if old in SHORT else OPENSLO).replace(old, new)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (changed("target: 0.999,", "target: 1.5,"), "document 1: spec.objectives.0.target: input should be less than 1, got 1.5"),
        (changed("target: 0.999,", "target: 0,"), "spec.objectives.0: a target must be above 0"),
        (changed("target: 0.999,", ""), "spec.objectives.0: must hold exactly one of target (0.999) and targetPercent"),
        (changed("service: ranking", "srvice: ranking"), "spec.srvice: there is no such key; did you mean service?"),
        (changed("  service: ranking\n", ""), "spec.service: must be given"),
        (changed("duration: 30d", "duration: 30x"), "spec.timeWindow.0.duration: must be a whole number and one of m (minutes), h, d, w, M"),
        (changed("[{duration: 30d}]", "[]"), "spec.timeWindow.0: must be given"),
        (changed("Occurrences", "Timeslices"), "spec.budgetingMethod: input should be 'Occurrences', got 'Timeslices'"),
        (changed("openslo/v1", "openslo/v2"), "apiVersion: input should be 'openslo/v1', got 'openslo/v2'"),
        (changed("kind: SLO", "kind: Slo"), "document 1: kind must be one of DataSource, SLO, SLI"),
        (changed("name: ranker}", "name: Ranker One}"), "metadata.name: string should match pattern"),
        (changed(", threshold: 250ms", ""), "ninesight: threshold must be given for kind latency"),
        (changed("250ms", "fast"), "ninesight.threshold: a duration must be whole numbers with units"),
        (changed("250ms", "0"), "ninesight.threshold: must be above 0, got 0"),
        (changed("kind: availability", "kind: availability, threshold: 1s"), "threshold is for kind latency only"),
        (changed("kind: availability", "kind: uptime"), "input should be 'availability' or 'latency', got 'uptime'"),
        (changed(", ninesight: {kind: availability}", ""), "must give ninesight: {kind: availability} or"),
        (changed("displayName: answered", "displayName: latency"), "need different displayNames, got latency, latency"),
        (changed("model: ranker, ", ""), "spec.ninesight.model must be given, because the SLO has no indicator"),
        (changed("minimum_requests: 50", "minimum_requests: -1"), "spec.ninesight.minimum_requests"),
        (changed("minimum_requests: 50", "time_zone: Europe/Berlin"), "time_zone is for calendar months"),
        (changed("duration: 30d", "duration: 1M, isRolling: false"), "must give calendar.timeZone for a calendar month"),
        (changed("duration: 30d", "duration: 2M, isRolling: false"), "a calendar window must have duration 1M, got '2M'"),
        (changed("duration: 30d", "duration: 12h"), "spec.ninesight.burn_windows must be given for a period under 1d, got 12h"),
        (changed("America/New_York", "Mars/Olympus"), "must be an IANA time zone, got 'Mars/Olympus'"),
        (changed("2026-01-01", "2026-01-15"), "calendar.startTime must be the first of a month"),
        (changed("indicatorRef: shop-ok", "indicatorRef: shop"), "spec.indicatorRef must name an SLI in the same file, got 'shop'; known: shop-ok"),
        (changed("op: lte, value: 0.25, ", ""), "a thresholdMetric needs op: lte and a value in seconds"),
        (changed("op: lte", "op: gt"), "a thresholdMetric needs op: lte"),
        (changed("targetPercent: 99.5", "targetPercent: 99.5, op: lt"), "op and value are forbidden with a ratioMetric"),
        (changed('http_requests_total{code=~"5.."}', "sum(rate(x[5m]))"), "ratioMetric.bad: spec.query must be a counter selector, or PromQL with {{.window}}"),
        (changed("counter: true", "counter: false"), "must have counter: true"),
        (changed("factor: 2", "factor: 500"), "burn_windows.0.factor must be below 200, the most that objective 'contract' can burn, got 500"),
        (changed("short: 10s", "short: 5m"), "long must be longer than short, got 1m and 5m"),
        (changed("ninesight/model", "ninesight/mdoel"), "metadata.annotations (ninesight/): mdoel: there is no such key; did you mean model?"),
        (changed("'[{long", "'[[{long"), "metadata.annotations.ninesight/burn_windows must be YAML"),
        (changed("metadata: {name: ranker}", "metadata: {name: ranker, annotations: {ninesight/customer: X}}"), "customer is in spec.ninesight and in the annotations"),
        (SHORT + "---" + SHORT, "metadata.name must be unique, got 'ranker' twice"),
        ("kind: Service\napiVersion: openslo/v1\n", "must hold at least one document of kind SLO"),
        ("just text\nmore\n", "document 1: kind must be one of"),
    ],
)  # fmt: skip
def test_bad_documents_are_refused_in_words(text, words):
    """The document, the key path, what must hold, what was given."""
    with pytest.raises(SlaError) as caught:
        sla.load(text)
    assert words in str(caught.value)


def test_a_file_is_named_in_its_errors(tmp_path):
    """A path or its text: the message starts with where it stands."""
    path = tmp_path / "gold.yaml"
    path.write_text(changed("0.999", "2"))
    with pytest.raises(SlaError, match=r"gold\.yaml: document 1: spec\.objectives\.0\.target"):
        sla.load(path)
    path.write_text(SHORT)
    assert sla.load(str(path)) == sla.load(SHORT)


def ms(text, zone="UTC"):
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def test_a_calendar_month_begins_where_the_contract_lives():
    """In Berlin March is an hour shorter than 31 days; the first instant belongs to the month before."""
    period = Period("1M", 30 * DAY_MS, "Europe/Berlin")
    window = period.window(ms("2026-03-31T12:00", "Europe/Berlin"))
    assert datetime.fromtimestamp(window.start_ms / 1000, UTC).isoformat() == "2026-02-28T23:00:00+00:00"
    assert window.end_ms == ms("2026-03-31T12:00", "Europe/Berlin")
    april = ms("2026-04-01T00:00", "Europe/Berlin")
    whole = period.window(april)
    assert (whole.end_ms - whole.start_ms) / 3_600_000 == 31 * 24 - 1
    assert period.window(april + 1).start_ms == april


def test_a_rolling_period_ends_now():
    """Its length is what is written."""
    window = Period("4w", 28 * DAY_MS).window(1_700_000_000_000)
    assert (window.end_ms, window.end_ms - window.start_ms) == (1_700_000_000_000, 28 * DAY_MS)


def test_openslo_units_are_minutes_and_months():
    """m is a minute, M a month of 30 days."""
    assert openslo_duration_ms("1m") == 60_000
    assert openslo_duration_ms("1M") == 30 * DAY_MS
    assert openslo_duration_ms("1Y") == 365 * DAY_MS


@pytest.mark.parametrize(("target", "expected"), [(0.99, 7), (0.995, 14), (0.999, 70), (0.9999, 695)])
def test_the_single_failure_guard_matches_the_known_table(target, expected):
    """Requests an hour below which one failure alone burns 14.4 times too fast."""
    assert requests_for(1, 14.4, 1 - target) == expected


def test_default_windows_follow_the_period():
    """28 days keep the look-backs with Sloth's factors; a week shrinks them; below a day they must be given."""
    four_weeks = sla.default_windows(28 * DAY_MS)
    assert [(w.long, w.factor) for w in four_weeks] == [("1h", 13.44), ("6h", 5.6), ("3d", 0.9333)]
    week = sla.default_windows(7 * DAY_MS)
    assert [(w.long, w.short) for w in week] == [("14m", "1m10s"), ("1h24m", "7m"), ("16h48m", "1h24m")]
    assert [w.factor for w in week] == [14.4, 6.0, 1.0]
    with pytest.raises(ValueError, match="must be given for a period under 1d, got 23h"):
        sla.default_windows(23 * 3_600_000)
