"""Histograms: exact counts, bounded error, bounded memory, merging free of order."""

import math
import sys
from bisect import bisect_right

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ninesight.buckets import bucket_index
from ninesight.histogram import SPAN_MAX, Histogram

FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
DURATIONS = st.lists(st.floats(min_value=1e-7, max_value=1e4), min_size=1, max_size=300)
BOUNDS = (0.001, 0.01, 0.1, 1.0, 10.0)


def of(values, **options):
    histogram = Histogram(**options)
    histogram.add(values)
    return histogram


@given(st.lists(FINITE, max_size=200))
@example([0.0, -0.0, 5e-324, -5e-324, 2.0**-128, -(2.0**-128)])
def test_every_value_is_counted_once(values):
    """Positive, negative and zero buckets hold all values; count, sum, least and greatest are exact."""
    value = of(values).value()
    counted = value.zero_count + sum(count for _, count in (*value.positive, *value.negative))
    assert counted == value.count == len(values)
    assert value.sum == pytest.approx(math.fsum(values), rel=1e-9, abs=1e285)
    if values:
        assert (value.low, value.high) == (min(values), max(values))


@given(DURATIONS)
def test_each_bucket_counts_what_lies_between_its_edges(values):
    """Batch counting by sorting equals counting one by one."""
    histogram = of(values, buckets_max=100_000)
    one_by_one = {}
    for value in values:
        index = bucket_index(value, histogram.schema)
        one_by_one[index] = one_by_one.get(index, 0) + 1
    assert histogram.positive == one_by_one


AROUND = [math.nextafter(bound, way) for bound in (0.25, 0.5, 1.0, 2.0) for way in (0.0, bound, 3.0)]


@given(st.lists(st.sampled_from([*AROUND, 0.3, 0.3001, 0.999, sys.float_info.max]), max_size=300))
@example([sys.float_info.max] * 3)
@example([0.999, 0.9991, 0.9992, 1.0, 1.0])
def test_many_values_of_one_bucket_are_counted_as_they_would_be_alone(values):
    """At the ends of octaves too, and up to the greatest number."""
    histogram = of(values, buckets_max=100_000)
    one_by_one = {}
    for value in values:
        index = bucket_index(value, histogram.schema)
        one_by_one[index] = one_by_one.get(index, 0) + 1
    assert histogram.positive == one_by_one


def test_a_smaller_budget_holds_from_the_next_value_on():
    """Also where that value has a bucket already."""
    histogram = of([1.011**step for step in range(300)], buckets_max=1024)
    histogram.buckets_max = 160
    histogram.add([1.0])
    assert len(histogram.positive) <= 160
    assert histogram.count == 301


@given(DURATIONS, st.floats(0.0, 1.0))
def test_a_quantile_lies_within_the_stated_bound(values, q):
    """The exact quantile lies in the bucket given, and that is at most 1.1 % wide at schema 6."""
    value = of(values, buckets_max=100_000).value()
    lower, upper = value.quantile_bounds(q)
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    assert lower < exact <= upper
    assert value.schema == 6
    assert upper / lower - 1 <= value.relative_error * (1 + 1e-12) <= 0.011


@given(
    st.lists(FINITE.filter(lambda value: abs(value) > 1e-30), min_size=1, max_size=60), st.floats(0.0, 1.0)
)
def test_quantiles_of_negative_values_hold_too(values, q):
    """Negative buckets mirror the positive ones."""
    lower, upper = of(values).value().quantile_bounds(q)
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    assert lower <= exact <= upper


@given(st.lists(DURATIONS, min_size=2, max_size=6), st.randoms(), st.sampled_from([160, 320]))
@settings(max_examples=50)
def test_merging_is_free_of_order(parts, random, budget):
    """Any order of merging gives the same buckets and schema as counting all at once."""

    def merged(order):
        total = Histogram(buckets_max=budget, bounds=BOUNDS)
        for part in order:
            total.merge(of(part, buckets_max=budget, bounds=BOUNDS))
        return total

    shuffled = parts[:]
    random.shuffle(shuffled)
    together = of([value for part in parts for value in part], buckets_max=budget, bounds=BOUNDS)
    for one in (merged(parts), merged(shuffled)):
        assert (one.schema, one.positive, one.classic, one.count) == (
            together.schema,
            together.positive,
            together.classic,
            together.count,
        )


@given(st.lists(DURATIONS, min_size=1, max_size=5))
def test_classic_buckets_are_exact(parts):
    """A `le` counts exactly the values at or below it, in small batches and large."""
    histogram = Histogram(bounds=BOUNDS)
    for part in parts:
        histogram.add(part)
    values = sorted(value for part in parts for value in part)
    assert list(histogram.value().cumulative) == [
        *(bisect_right(values, bound) for bound in BOUNDS),
        len(values),
    ]


def test_a_bound_itself_counts_as_at_or_below():
    """le is inclusive."""
    assert of([0.01, math.nextafter(0.01, 1.0)], bounds=BOUNDS).value().cumulative == (0, 1, 2, 2, 2, 2)


def test_beyond_its_budget_the_schema_is_lowered_and_the_bound_says_so():
    """More occupied buckets than the budget halve the resolution until they fit; nothing is lost."""
    histogram = of([1.011**step for step in range(2000)], buckets_max=320)
    value = histogram.value()
    assert len(value.positive) <= 320
    assert value.schema < 6
    assert value.relative_error == pytest.approx(2 ** (2**-value.schema) - 1)
    assert sum(count for _, count in value.positive) == 2000


def test_a_wide_span_is_coarsened_too():
    """OTLP sends buckets densely: two values far apart must not cost a hundred thousand zeros."""
    value = of([1e-30, 1e30]).value()
    assert value.positive[-1][0] - value.positive[0][0] < SPAN_MAX
    assert value.count == 2


def test_what_is_not_finite_is_refused_and_counted():
    """NaN and infinity leave the histogram as it was, beside the finite values of the same batch."""
    histogram = Histogram(bounds=BOUNDS)
    assert histogram.add([0.5, math.nan, math.inf, -math.inf, 0.25]) == 3
    assert (histogram.count, histogram.sum, histogram.low, histogram.high) == (2, 0.75, 0.25, 0.5)


def test_an_empty_histogram_says_nothing():
    """No value: counts of zero, and no quantile."""
    value = Histogram(bounds=BOUNDS).value()
    assert (value.count, value.sum, value.positive, value.cumulative) == (0, 0.0, (), (0,) * 6)
    with pytest.raises(AssertionError, match="an empty histogram has no quantile"):
        value.quantile_bounds(0.5)
