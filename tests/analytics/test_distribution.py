"""Buckets to percentiles and shares, against the exact log."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_analytics.contract import NO_DATA, Basis
from ninesight_analytics.distribution import (
    distribution_of_classic,
    distribution_of_native,
    fraction_at_most,
    percentile,
    relative_error_of_schema,
)
from ninesight_analytics.latency import relative_error
from ninesight_analytics.testing import bucket_index, nearest_rank
from ninesight_query.histogram import Histogram

QUANTILES = (0.0, 0.07, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def native(values, schema=6, factor=1.0):
    """The histogram of a log, every bucket scaled as `increase` would."""
    index = [bucket_index(value, schema) for value in values]
    low, high = min(index), max(index)
    counts = np.zeros(high - low + 1)
    for one in index:
        counts[one - low] += 1
    return Histogram(
        schema=schema,
        count=len(values) * factor,
        sum=math.fsum(values) * factor,
        positive_start=low,
        positive=counts * factor,
    )


def classic(values, factor=1.0, bounds=BOUNDS):
    """Cumulative classic buckets of a log."""
    return {bound: factor * sum(v <= bound for v in values) for bound in (*bounds, math.inf)}


def lognormal(seed, size):
    return np.random.default_rng(seed).lognormal(-3, 1.2, size).tolist()


def bimodal(seed, size):
    rng = np.random.default_rng(seed)
    fast, slow = rng.normal(0.01, 0.001, size), rng.normal(0.8, 0.05, size)
    return np.abs(np.where(rng.random(size) < 0.5, fast, slow)).tolist()


def heavy_tailed(seed, size):
    return (0.003 * (1 + np.random.default_rng(seed).pareto(0.9, size))).tolist()


logs = st.one_of(
    st.builds(
        lambda shape, seed, size: shape(seed, size),
        st.sampled_from([lognormal, bimodal, heavy_tailed]),
        st.integers(0, 2**32 - 1),
        st.integers(1, 400),
    ),
    st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=60),
    # Values on bucket edges: the bound belongs to the bucket below it.
    st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0, 0.005, 0.1]), min_size=1, max_size=60),
)
factors = st.sampled_from([1.0, 1.0713, 0.9991, 1 / 3, 59.999 / 55])


@settings(max_examples=300, deadline=None)
@given(values=logs, factor=factors, schema=st.sampled_from([6, 8, 3, 0, -2]), q=st.sampled_from(QUANTILES))
def test_the_exact_percentile_lies_within_the_bounds_of_a_native_histogram(values, factor, schema, q):
    """Whatever the log, its schema and the extrapolation: lower < exact <= upper, and value between."""
    found = percentile(distribution_of_native(native(values, schema, factor)), q)
    exact = nearest_rank(values, q)
    assert found.lower < exact <= found.upper
    assert found.lower <= found.value <= found.upper
    assert found.upper / found.lower - 1 <= relative_error_of_schema(schema) * (1 + 1e-9)
    assert abs(found.value - exact) / exact <= relative_error_of_schema(schema) * (1 + 1e-9)
    assert found.basis is Basis.NATIVE
    assert found.count == pytest.approx(len(values) * factor)


@settings(max_examples=200, deadline=None)
@given(values=logs, factor=factors, q=st.sampled_from(QUANTILES))
def test_the_exact_percentile_lies_within_the_bounds_of_classic_buckets(values, factor, q):
    """The interval is the bucket's edges; above the last bound it is open."""
    found = percentile(distribution_of_classic(classic(values, factor)), q)
    exact = nearest_rank(values, q)
    assert found.lower <= exact <= found.upper
    assert found.lower <= found.value <= found.upper
    if exact > BOUNDS[-1]:
        assert math.isinf(found.upper)
        assert found.value == BOUNDS[-1], "no value is invented above the last bound"


@settings(max_examples=200, deadline=None)
@given(values=logs, factor=factors, threshold=st.sampled_from([0.004, 0.01, 0.033, 0.25, 0.7, 1.0, 40.0]))
def test_the_exact_share_below_a_threshold_lies_within_its_bounds(values, factor, threshold):
    """The share of requests at or under a threshold is an interval around the truth."""
    exact = sum(value <= threshold for value in values) / len(values)
    for known in (
        distribution_of_native(native(values, factor=factor)),
        distribution_of_classic(classic(values, factor)),
    ):
        found = fraction_at_most(known, threshold)
        assert found.lower - 1e-9 <= exact <= found.upper + 1e-9
        assert found.lower - 1e-12 <= found.value <= found.upper + 1e-12


def test_a_threshold_on_a_bucket_bound_is_exact():
    """No interval is left where a bound is at the threshold."""
    values = [0.05, 0.2, 0.25, 0.26, 3.0]
    found = fraction_at_most(distribution_of_classic(classic(values)), 0.25)
    assert (found.value, found.lower, found.upper) == (0.6, 0.6, 0.6)


def test_a_threshold_inside_a_bucket_is_an_interval():
    """Between 0.1 and 0.25 nothing is known but the count."""
    found = fraction_at_most(distribution_of_classic(classic([0.05, 0.11, 0.24, 1.0])), 0.175)
    assert (found.lower, found.upper) == (0.25, 0.75)
    assert found.value == pytest.approx(0.5)


def test_a_tie_of_the_rank_takes_the_lower_bucket_despite_rounding():
    """50 of 100 requests are fast, so the median is fast, also when increase scaled the counts."""
    values = [0.01] * 50 + [1.0] * 50
    for factor in (1.0, 59.999 / 55, 1 / 3, 7 / 11):
        assert percentile(distribution_of_native(native(values, factor=factor)), 0.5).upper < 0.0102


def test_zeros_and_negative_values_keep_their_places():
    """The zero bucket lies between; without negative buckets nothing lies below 0."""
    only_zero = Histogram(schema=0, count=3, sum=0, zero_threshold=1e-6, zero_count=3)
    found = percentile(distribution_of_native(only_zero), 0.5)
    assert (found.lower, found.upper) == (0.0, 1e-6)
    both = Histogram(
        schema=0,
        count=4,
        sum=0,
        zero_threshold=0.5,
        zero_count=2,
        positive_start=1,
        positive=np.array([1.0]),
        negative_start=3,
        negative=np.array([1.0]),
    )
    known = distribution_of_native(both)
    assert known.lowers.tolist() == [-8.0, -0.5, 1.0]
    assert known.uppers.tolist() == [-4.0, 0.5, 2.0]
    low = percentile(known, 0.1)
    assert (low.lower, low.upper) == (-8.0, -4.0)
    assert low.lower < low.value < low.upper
    assert fraction_at_most(known, -6.0).lower == 0.0
    assert fraction_at_most(known, -6.0).upper == 0.25


def test_custom_bounds_are_read_like_classic_buckets():
    """Schema -53: the last bucket is open, the first of positive bounds starts at 0."""
    histogram = Histogram(schema=-53, count=4, sum=9, positive=np.array([1.0, 2.0, 1.0]), bounds=(0.1, 1.0))
    known = distribution_of_native(histogram)
    assert known.lowers.tolist() == [0.0, 0.1, 1.0]
    top = percentile(known, 1.0)
    assert (top.value, top.lower, top.upper) == (1.0, 1.0, math.inf)
    assert fraction_at_most(known, 5.0).upper == 1.0
    assert fraction_at_most(known, 5.0).lower == 0.75


def test_nothing_observed_is_no_data():
    """No count, no figure; no +Inf bucket, no distribution."""
    empty = distribution_of_native(Histogram())
    assert percentile(empty, 0.5) == NO_DATA
    assert fraction_at_most(empty, 1.0) == NO_DATA
    assert empty.mean == NO_DATA
    assert distribution_of_classic({0.1: 3.0}) is None
    assert distribution_of_classic({0.1: 0.0, math.inf: 0.0}).count == 0


def test_a_quantile_outside_0_to_1_is_refused():
    """The message says what must hold and what was given."""
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        percentile(distribution_of_classic(classic([0.1])), 1.5)


def test_schema_6_keeps_the_promise_of_one_point_one_percent():
    """2^(1/64) - 1."""
    assert relative_error_of_schema(6) == pytest.approx(0.010889, abs=1e-6)
    found = percentile(distribution_of_native(native([0.123])), 0.5)
    assert 0 < relative_error(found) <= relative_error_of_schema(6)
    assert relative_error(NO_DATA) is None
    assert relative_error(percentile(distribution_of_classic(classic([99.0])), 0.5)) == math.inf


def test_a_bucket_index_is_the_one_whose_bounds_hold_the_value():
    """Powers of two lie on the upper, inclusive bound."""
    assert [bucket_index(v, 0) for v in (0.5, 1.0, 1.0001, 2.0)] == [-1, 0, 1, 1]
    assert bucket_index(1.0, 6) == 0
