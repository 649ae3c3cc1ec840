"""Percentiles through the real engine, against the exact log."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_analytics import latency
from ninesight_analytics.contract import Basis, Scope, Window
from ninesight_analytics.latency import QUANTILES, relative_error
from ninesight_analytics.testing import ModelTraffic, nearest_rank

START = 1_700_000_000_000
MINUTE = 60_000
WINDOW = Window(START, START + 5 * MINUTE)
TIMES = range(START + 1_000, START + 5 * MINUTE + 1, 14_000)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

shapes = {
    "lognormal": lambda rng, n: rng.lognormal(-3, 1.0, n),
    "bimodal": lambda rng, n: np.where(
        rng.random(n) < 0.8, rng.normal(0.02, 0.002, n), rng.normal(0.9, 0.1, n)
    ),
    "heavy-tailed": lambda rng, n: 0.004 * (1 + rng.pareto(1.1, n)),
}


def traffic(durations, **keys):
    """Requests spread over the window, all between the first and the last scrape."""
    made = ModelTraffic("ranker", **keys)
    for index, part in enumerate(np.array_split(np.asarray(durations), 8)):
        if len(part):
            made.observe(START + 10_000 + index * 30_000, part.tolist())
    return made


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from(sorted(shapes)),
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 800),
    native=st.booleans(),
)
def test_the_exact_percentile_of_the_log_lies_in_the_stated_bounds(new_world, shape, seed, size, native):
    """Counters, scrapes, increase and extrapolation included, for native and classic histograms."""
    durations = np.abs(shapes[shape](np.random.default_rng(seed), size)).tolist()
    world = new_world()
    world.serve(traffic(durations), times=TIMES, native=native, bounds=() if native else BOUNDS)
    found = latency.percentiles(world.engine, WINDOW)[("ranker",)]
    for quantile in QUANTILES:
        estimate, exact = found[quantile], nearest_rank(durations, quantile)
        assert estimate.lower <= exact <= estimate.upper
        assert estimate.lower <= estimate.value <= estimate.upper
        assert estimate.basis is (Basis.NATIVE if native else Basis.CLASSIC)
        if native:
            assert relative_error(estimate) <= 0.0109


def test_the_value_is_that_of_histogram_quantile(world):
    """The same interpolation as PromQL, for native and for classic histograms."""
    durations = shapes["lognormal"](
        np.random.default_rng(3), 499
    ).tolist()  # No rank is whole: ties may fall either way.
    world.serve(traffic(durations, version="n"), times=TIMES)
    world.serve(traffic(durations, version="c"), times=TIMES, native=False, bounds=BOUNDS)
    found = latency.percentiles(world.engine, WINDOW, by=("version",))
    for quantile in QUANTILES:
        ours = found["n",][quantile].value
        query = f"histogram_quantile({quantile}, sum(increase(model_request_duration_seconds[5m])))"
        assert ours == pytest.approx(world.engine.instant(query, WINDOW.end_ms).value.values[0], rel=1e-9)
        ours = found["c",][quantile].value
        query = f"histogram_quantile({quantile}, sum by (le) (increase(model_request_duration_seconds_bucket[5m])))"
        assert ours == pytest.approx(world.engine.instant(query, WINDOW.end_ms).value.values[0], rel=1e-9)


def test_instances_are_merged_and_groups_kept_apart(world):
    """The percentile of two instances is that of their requests together, never a mean of percentiles."""
    fast, slow = [0.01] * 90, [1.0] * 10
    world.serve(traffic(fast, instance="a:1"), traffic(slow, instance="b:1"), times=TIMES)
    together = latency.percentiles(world.engine, WINDOW)[("ranker",)]
    assert together[0.9].upper < 0.011
    assert together[0.95].lower > 0.98
    apart = latency.percentiles(world.engine, WINDOW, by=("model", "instance"))
    assert apart["ranker", "a:1"][0.99].upper < 0.011
    assert apart["ranker", "b:1"][0.5].lower > 0.98
    scoped = latency.percentiles(world.engine, WINDOW, (0.5,), scope=Scope(instance="b:1"))
    assert scoped[("ranker",)][0.5].lower > 0.98


def test_native_wins_where_both_are_there_and_classic_still_serves_the_rest(world):
    """One model with both, one with classic buckets only."""
    both, old = traffic([0.03] * 20), traffic([0.03] * 20)
    old.model = "old"
    world.serve(both, times=TIMES, bounds=BOUNDS)
    world.serve(old, times=TIMES, native=False, bounds=BOUNDS)
    found = latency.percentiles(world.engine, WINDOW, (0.5,))
    assert found[("ranker",)][0.5].basis is Basis.NATIVE
    assert found[("old",)][0.5].basis is Basis.CLASSIC
    assert (found[("old",)][0.5].lower, found[("old",)][0.5].upper) == (0.025, 0.05)


def test_above_the_last_bound_nothing_is_invented(world):
    """The value is the last bound and the interval is open."""
    world.serve(traffic([7.0] * 10), times=TIMES, native=False, bounds=BOUNDS)
    found = latency.percentiles(world.engine, WINDOW, (0.5,))[("ranker",)][0.5]
    assert (found.value, found.lower, found.upper) == (1.0, 1.0, math.inf)


def test_instances_with_different_buckets_meet_at_the_bounds_they_share(world):
    """A bound that one instance lacks would count its requests as slower than they were."""
    world.serve(traffic([0.03] * 50, instance="a:1"), times=TIMES, native=False, bounds=(0.025, 0.05, 0.5))
    world.serve(traffic([0.3] * 50, instance="b:1"), times=TIMES, native=False, bounds=(0.1, 0.5))
    found = latency.percentiles(world.engine, WINDOW, (0.25, 0.9))[("ranker",)]
    for quantile, exact in ((0.25, 0.03), (0.9, 0.3)):
        assert found[quantile].lower <= exact <= found[quantile].upper
        assert found[quantile].upper == 0.5


def test_only_the_window_counts(world):
    """What was before its start is not in it."""
    made = ModelTraffic("ranker")
    made.observe(START - 10 * MINUTE, [5.0] * 1000)
    made.observe(START + 2 * MINUTE, [0.1] * 10)
    world.serve(made, times=range(START - 12 * MINUTE, WINDOW.end_ms + 1, 15_000))
    found = latency.percentiles(world.engine, WINDOW)[("ranker",)]
    assert found[0.99].upper < 0.102
    assert found[0.99].count == pytest.approx(10, rel=0.1)


def test_a_restarted_server_is_counted_on(world):
    """A counter reset inside the window loses nothing that was scraped."""
    before, after = ModelTraffic("ranker"), ModelTraffic("ranker")
    before.observe(START + 20_000, [0.05] * 30)
    after.observe(START + 160_000, [0.4] * 20)
    world.serve(before, times=range(START + 1_000, START + 120_000, 15_000))
    world.serve(after, times=range(START + 136_000, WINDOW.end_ms + 1, 15_000))
    found = latency.percentiles(world.engine, WINDOW)[("ranker",)]
    assert found[0.5].upper < 0.051
    assert found[0.9].lower > 0.39


def test_other_histograms_are_read_the_same_way(world):
    """The metric is an argument: stages, batch sizes, time to first token."""
    world.serve(traffic([0.03] * 20), times=TIMES)
    assert latency.percentiles(world.engine, WINDOW, metric="model_stage_duration_seconds") == {}
