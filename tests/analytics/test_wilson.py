"""Wilson's interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight_analytics.wilson import wilson


@pytest.mark.parametrize(
    ("hits", "count", "lower", "upper"),
    [
        # R: prop.test(x, n, correct = FALSE)$conf.int
        (1, 10, 0.01787621, 0.4041500),
        (0, 10, 0.0, 0.2775328),
        (50, 100, 0.4038315, 0.5961685),
        (10, 10, 0.7224672, 1.0),
    ],
)
def test_known_intervals(hits, count, lower, upper):
    """The published values."""
    assert wilson(hits, count) == pytest.approx((lower, upper), abs=1e-6)


@given(count=st.floats(1e-3, 1e12), share=st.floats(0, 1))
def test_the_ratio_lies_inside_and_the_interval_inside_0_to_1(count, share):
    """For any traffic, extrapolated counts included."""
    lower, upper = wilson(share * count, count)
    assert 0 <= lower <= share + 1e-12
    assert share - 1e-12 <= upper <= 1


def test_without_observations_nothing_is_known():
    """0 of 0 is anything."""
    assert wilson(0, 0) == (0.0, 1.0)
