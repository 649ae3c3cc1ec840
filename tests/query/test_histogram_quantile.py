"""Quantiles, fractions and spread of histograms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_bounds import edges_of
from ninesight_query.histogram_observe import observe
from ninesight_query.histogram_quantile import Note, fraction, fractions, quantile, quantiles
from ninesight_query.histogram_stack import stack_of
from ninesight_query.histogram_stats import average, stdvar

observations = st.lists(
    st.floats(min_value=-1e6, max_value=1e6).filter(lambda v: v == 0 or abs(v) > 1e-6),
    min_size=1,
    max_size=40,
)

quick = settings(deadline=None, max_examples=50)
schemas = st.integers(min_value=-4, max_value=8)


@st.composite
def histograms(draw):
    """A histogram of random observations at a random schema and zero threshold."""
    threshold = draw(st.sampled_from([0.0, 1e-3, 0.5, 2.0]))
    return observe(draw(observations), draw(schemas), threshold)


positive_observations = st.lists(st.floats(min_value=1e-4, max_value=1e5), min_size=1, max_size=60)

ratios = st.floats(min_value=0.0, max_value=1.0)


@quick
@given(positive_observations, ratios)
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(values, q):
    """The exact quantile (nearest rank, from either side) and the estimate share a bucket."""
    histogram = observe(values, schema=6)
    estimate, notes = quantile(q, histogram)
    ordered = np.sort(values)
    rank = q * len(values)
    near = ordered[[max(int(np.ceil(rank)) - 1, 0), min(int(rank), len(values) - 1)]]
    width = 2 ** (1 / 64)
    assert not notes
    assert near[0] / width * (1 - 1e-9) <= estimate <= near[1] * width * (1 + 1e-9)


@quick
@given(st.lists(histograms(), min_size=1, max_size=8), ratios)
def test_many_quantiles_equal_each_alone(points, q):
    """Stacks of mixed layouts answer like one histogram at a time."""
    together, _ = quantiles(q, points)
    alone = [quantile(q, point)[0] for point in points]
    assert together.tolist() == pytest.approx(alone, nan_ok=True)


@quick
@given(positive_observations, st.floats(min_value=0.01, max_value=0.99))
def test_fraction_is_the_inverse_of_quantile(values, q):
    """The share below the q-quantile is q, up to empty stretches between buckets."""
    histogram = observe(values)
    value, _ = quantile(q, histogram)
    share, _ = fraction(-np.inf, value, histogram)
    assert share == pytest.approx(q, abs=1e-6)


@quick
@given(st.lists(histograms(), min_size=1, max_size=6), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_many_fractions_equal_each_alone(points, low, high):
    """Stacks of mixed layouts answer like one histogram at a time, and shares lie in 0..1."""
    together, _ = fractions(low, high, points)
    assert together.tolist() == pytest.approx([fraction(low, high, point)[0] for point in points])
    assert (together >= -1e-12).all()
    assert (together <= 1 + 1e-12).all()


@quick
@given(histograms())
def test_edges_are_ordered_and_count_everything(histogram):
    """Buckets from the lowest to the highest do not overlap; stack and value agree on them."""
    lower, upper, counts = edges_of(histogram)
    assert (lower <= upper).all()
    assert (upper[:-1] <= lower[1:]).all()
    assert counts.sum() == histogram.count
    assert stack_of([histogram]).counts().sum() == histogram.count


def test_quantiles_outside_their_range():
    """Below 0 is -Inf, above 1 +Inf; NaN and empty histograms give NaN."""
    full = observe([1.0, 2.0])
    assert quantile(-0.1, full)[0] == -np.inf
    assert quantile(1.1, full)[0] == np.inf
    assert np.isnan(quantile(np.nan, full)[0])
    assert np.isnan(quantile(0.5, Histogram())[0])
    assert np.isnan(fraction(0, 1, Histogram())[0])


def test_exponential_interpolation_is_logarithmic():
    """Half of one bucket (1, 2] is the square root of two, mirrored below zero."""
    assert quantile(0.5, Histogram(count=2, positive_start=1, positive=np.array([2.0])))[0] == pytest.approx(
        2**0.5
    )
    assert quantile(0.5, Histogram(count=2, negative_start=1, negative=np.array([2.0])))[0] == pytest.approx(
        -(2**0.5)
    )


def test_the_zero_bucket_ends_at_zero_where_one_side_is_empty():
    """With positive buckets only, the zero bucket counts from 0; with both, it is symmetric."""
    one_sided = Histogram(
        count=4, zero_threshold=0.5, zero_count=2, positive_start=1, positive=np.array([2.0])
    )
    assert quantile(0.25, one_sided)[0] == pytest.approx(0.25)
    alone = Histogram(count=2, zero_threshold=0.5, zero_count=2)
    assert quantile(0.5, alone)[0] == pytest.approx(0.0)
    assert fraction(-0.5, 0.5, alone)[0] == 1.0


def test_custom_buckets_interpolate_linearly():
    """The first bucket begins at 0, the last answers with its lower bound."""
    custom = Histogram(schema=-53, count=4, positive=np.array([2.0, 1.0, 1.0]), bounds=(10.0, 20.0))
    assert quantile(0.25, custom)[0] == pytest.approx(5.0)
    assert quantile(0.625, custom)[0] == pytest.approx(15.0)
    assert quantile(0.99, custom)[0] == 20.0
    assert fraction(-np.inf, 15.0, custom)[0] == pytest.approx(0.625)


def test_nan_observations_are_told():
    """They rank above all buckets: the result is NaN or skewed, and lies in no fraction."""
    nan = Histogram(count=15, sum=np.nan, positive=np.array([12.0]))
    assert quantile(0.9, nan)[1] == {Note.NAN_RESULT}
    assert quantile(0.5, nan)[1] == {Note.NAN_SKEW}
    share, notes = fraction(-np.inf, np.inf, nan)
    assert share == pytest.approx(0.8)
    assert notes == {Note.NAN_EXCLUDED}


def test_average_and_spread():
    """The mean is exact, the variance that of the bucket middles."""
    assert average(observe([1.0, 2.0, 6.0])) == 3.0
    values = [0.5, 1.0, 2.0, 4.0, 8.0]
    assert stdvar(observe(values, schema=8)) == pytest.approx(np.var(values), rel=0.01)
