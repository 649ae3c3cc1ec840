"""The trim operators: only the observations below or above a value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_math import add, equal
from ninesight_query.histogram_observe import observe
from ninesight_query.histogram_quantile import fraction
from ninesight_query.histogram_trim import trim

values = st.lists(st.floats(-100, 100).filter(lambda v: abs(v) > 1e-3), min_size=1, max_size=40)
quick = settings(deadline=None, max_examples=60)


@quick
@given(values, st.floats(-120, 120), st.sampled_from([0.0, 0.5]))
def test_both_sides_make_the_whole(numbers, at, threshold):
    """What lies below and what lies above add up to every bucket."""
    histogram = observe(numbers, 3, threshold)
    low, high = trim(histogram, at, upper=True), trim(histogram, at, upper=False)
    both = add(low, high).histogram
    assert both.count == pytest.approx(histogram.count)
    assert both.positive.sum() == pytest.approx(histogram.positive.sum())
    assert both.negative.sum() == pytest.approx(histogram.negative.sum())


@quick
@given(values, st.floats(-120, 120))
def test_a_trim_keeps_the_fraction_below(numbers, at):
    """The share that is kept is histogram_fraction's."""
    histogram = observe(numbers, 3)
    share, _ = fraction(-np.inf, at, histogram)
    assert trim(histogram, at, upper=True).count == pytest.approx(share * histogram.count, abs=1e-9)


def test_nothing_cut_is_nothing_changed():
    """Beyond all buckets the same histogram comes back, sum and all."""
    histogram = observe([1.0, 2.0, -3.0])
    assert trim(histogram, np.inf, upper=True) is histogram
    assert trim(histogram, -np.inf, upper=False) is histogram
    assert equal(trim(histogram, np.inf, upper=False), Histogram(schema=3))


def test_custom_buckets_split_linearly_and_endless_ones_do_not():
    """A bucket without an end goes or stays as a whole."""
    custom = Histogram(schema=-53, count=15, positive=np.array([1.0, 6, 4, 3, 1]), bounds=(5.0, 10, 15, 20))
    below = trim(custom, 13, upper=True)
    assert below.positive.tolist() == pytest.approx([1, 6, 2.4])
    assert below.sum == pytest.approx(2.5 + 45 + 2.4 * 11.5)
    assert trim(custom, 50, upper=True).count == 14
    assert trim(custom, 50, upper=False).positive.tolist() == [1]
    assert trim(custom, 2.5, upper=True).count == pytest.approx(0.5)
