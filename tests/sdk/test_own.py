"""Metrics of the user's own: exact sums, stated errors, budgets, and mistakes that cost no request."""

import math
import threading

import ninesight
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight.contract import OTHER
from ninesight.scrape import render
from ninesight.testing import histogram, isolated, number, total


def test_counter_gauge_and_histogram_reach_every_way_out(sdk):
    """Totals, last values, exact classic buckets; in the text too."""
    hits = ninesight.counter("test_hits_total", "Features found.", unit="{hit}", labels=("store",))
    age = ninesight.gauge("test_age_seconds", "Age of the oldest feature.", unit="s")
    drift = ninesight.histogram("test_drift", "Distance to the reference.", buckets=(0.1, 1.0))
    hits.add(store="redis")
    hits.add(2.5, store="redis")
    hits.add(store="disk")
    age.set(3)
    age.set(1.5)
    for value in (-0.5, 0.05, 0.5, 5.0):
        drift.record(value)
    snapshot = sdk()
    assert number(snapshot, "test_hits_total", store="redis") == 3.5
    assert number(snapshot, "test_hits_total", store="disk") == 1
    assert number(snapshot, "test_age_seconds") == 1.5
    value = histogram(snapshot, "test_drift")
    assert (value.count, value.sum, value.cumulative) == (4, 5.05, (2, 3, 4))
    text = render(sdk, "")[1].decode()
    assert '# TYPE test_hits_total counter\ntest_hits_total{store="redis"}' not in text
    assert 'test_hits_total{store="redis"} 3.5' in text
    assert 'test_drift_bucket{le="0.1"} 2.0' in text


def test_the_same_metric_may_be_asked_for_again_but_not_another_of_its_name(sdk):
    """Modules that are imported twice share it."""
    one = ninesight.counter("asked_total", "Asked.", labels=("a",))
    assert ninesight.counter("asked_total", "Asked.", labels=("a",)) is one
    for make in (
        lambda: ninesight.counter("asked_total", "Asked.", labels=("b",)),
        lambda: ninesight.gauge("asked_total", "Asked.", labels=("a",)),
    ):
        with pytest.raises(ninesight.ConfigError, match="asked_total must stay a counter of"):
            make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ninesight.counter("hits", "Hits."), "must end in _total, got 'hits'; call it hits_total"),
        (lambda: ninesight.counter("model_requests_total", "x"), "none of the SDK's own"),
        (lambda: ninesight.gauge("ninesight_x", "x"), "none of the SDK's own, got 'ninesight_x'"),
        (lambda: ninesight.gauge("bad-name", "x"), "must be of letters, digits, _ and :"),
        (lambda: ninesight.gauge("fine", "x", labels=("le",)), "labels of fine must be at most 16 names"),
        (lambda: ninesight.gauge("fine", "x", across="mean"), "across must be one of sum, max, min"),
        (lambda: ninesight.histogram("fine", "x", buckets=(2, 1)), "in ascending order"),
    ],
)
def test_a_wrong_definition_is_told_at_once(sdk, make, message):
    """It is set-up code."""
    with pytest.raises(ninesight.ConfigError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda metric: metric.add(-1, store="a"),
        lambda metric: metric.add(math.nan, store="a"),
        lambda metric: metric.add("much", store="a"),
        lambda metric: metric.add(1),
        lambda metric: metric.add(1, shop="a"),
        lambda metric: metric.add(1, store="a", more="b"),
    ],
)
def test_a_wrong_value_is_refused_and_counted(sdk, mistake):
    """It may come from a request: nothing is raised."""
    metric = ninesight.counter("mistakes_total", "x", labels=("store",))
    mistake(metric)
    assert total(sdk(), "mistakes_total") == 0
    assert ninesight.stats().invalid == 1


def test_labels_of_own_metrics_share_the_budgets():
    """Values beyond it become `__other__`; so do whole sets beyond theirs."""
    with isolated(label_values_max=5, label_sets_max=3) as snapshot:
        metric = ninesight.counter("budgeted_total", "x", labels=("shop", "item"))
        for step in range(10):
            metric.add(shop=step % 2, item=step)
        assert total(snapshot(), "budgeted_total") == 10
        assert total(snapshot(), "budgeted_total", shop=OTHER) == 7
        assert ninesight.stats().over_budget >= 7


def test_threads_add_up_and_the_latest_gauge_wins(sdk):
    """Whichever thread said it."""
    added = ninesight.counter("threads_total", "x")
    shown = ninesight.gauge("threads_shown", "x")
    shown.set(1)
    threads = [threading.Thread(target=lambda: [added.add() for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = threading.Thread(target=lambda: shown.set(2))
    last.start()
    last.join()
    assert number(sdk(), "threads_total") == 4000
    assert number(sdk(), "threads_shown") == 2


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=300), st.floats(0, 1))
def test_a_quantile_of_ones_own_histogram_is_within_its_stated_error(values, q):
    """The bound that the model's own durations have."""
    with isolated() as snapshot:
        metric = ninesight.histogram("bounded_value", "x")
        for value in values:
            metric.record(value)
        found = histogram(snapshot(), "bounded_value")
        exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
        low, high = found.quantile_bounds(q)
        assert low < exact <= high
        assert high / low - 1 <= 0.011
