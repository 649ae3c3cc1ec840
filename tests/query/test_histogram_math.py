"""The algebra of histograms: sums, schemas, zero buckets, custom bounds."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query.histogram import Histogram, is_stale
from ninesight_query.histogram_bounds import upper_bounds
from ninesight_query.histogram_columns import from_columns, to_columns
from ninesight_query.histogram_layout import compact, to_schema, widen_zero
from ninesight_query.histogram_math import (
    IncompatibleSchemasError,
    add,
    divide,
    equal,
    negate,
    scale,
    subtract,
    total,
)
from ninesight_query.histogram_observe import observe
from ninesight_store.contract import STALE_NAN, ResetHint

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


def counted(histogram):
    """All observations in the buckets of a histogram."""
    return histogram.zero_count + histogram.positive.sum() + histogram.negative.sum()


def without_sum(histogram):
    """The histogram with its sum rounded: sums of floats depend on their order."""
    return dataclasses.replace(histogram, sum=round(histogram.sum, 3))


@quick
@given(st.lists(histograms(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_total_does_not_depend_on_the_order(points, random):
    """Merging is order-free: any permutation gives the same buckets."""
    shuffled = list(points)
    random.shuffle(shuffled)
    one, other = total(points).histogram, total(shuffled).histogram
    assert equal(without_sum(one), without_sum(other))
    assert counted(one) == sum(counted(point) for point in points)


@quick
@given(st.lists(histograms(), min_size=2, max_size=5))
def test_a_total_is_the_same_as_adding_one_by_one(points):
    """The one-pass sum equals repeated addition, up to the zero bucket's width and the schema."""
    folded = points[0]
    for point in points[1:]:
        folded = add(folded, point).histogram
    whole = total(points).histogram
    threshold = max(folded.zero_threshold, whole.zero_threshold)
    assert counted(folded) == counted(whole)
    assert widen_zero(folded, threshold).zero_threshold >= whole.zero_threshold


@quick
@given(observations, observations, schemas, st.integers(min_value=-4, max_value=8))
def test_coarsening_commutes_with_addition(left, right, schema, target):
    """Down-scaling a sum and summing down-scaled histograms give the same."""
    target = min(schema, target)
    a, b = observe(left, schema), observe(right, schema)
    late = to_schema(add(a, b).histogram, target)
    early = add(to_schema(a, target), to_schema(b, target)).histogram
    assert equal(late, early)


@quick
@given(observations, schemas, st.integers(min_value=-4, max_value=8))
def test_coarsening_is_observing_at_the_coarser_schema(values, schema, target):
    """A coarsened histogram is the histogram one would have recorded."""
    target = min(schema, target)
    assert equal(to_schema(observe(values, schema), target), observe(values, target))


@quick
@given(histograms(), st.floats(min_value=0.0, max_value=1e7))
def test_widening_the_zero_bucket_keeps_every_observation(histogram, threshold):
    """Counts move into the zero bucket; none is lost, and no filled bucket reaches into it."""
    wide = widen_zero(histogram, threshold)
    assert counted(wide) == counted(histogram)
    assert wide.zero_threshold >= max(threshold, histogram.zero_threshold)
    if wide.zero_threshold == histogram.zero_threshold:
        return
    for start, run in ((wide.positive_start, wide.positive), (wide.negative_start, wide.negative)):
        edges = upper_bounds(wide.schema, start - 1, len(run) + 1)
        assert not run[edges[:-1] < wide.zero_threshold].any()


@quick
@given(histograms(), histograms())
def test_subtracting_undoes_adding(a, b):
    """(a + b) - b has the counts of a."""
    back = subtract(add(a, b).histogram, b).histogram
    assert counted(back) == counted(a)
    assert back.count == a.count


@quick
@given(histograms())
def test_columns_and_back_is_the_identity(histogram):
    """to_columns and from_columns keep everything but empty buckets."""
    hinted = dataclasses.replace(histogram, hint=ResetHint.NOT_RESET)
    columns = to_columns([hinted, Histogram(), hinted], [1, 2, 3], [0, 0, 0])
    first, empty, again = from_columns(columns)
    assert equal(first, histogram)
    assert equal(again, histogram)
    assert first.hint is ResetHint.NOT_RESET
    assert len(empty.positive) == 0


def test_custom_bounds_travel_through_columns():
    """Bounds of schema -53 come back in full, a stale marker bit for bit."""
    custom = Histogram(schema=-53, count=3, sum=4, positive=np.array([1.0, 2.0]), bounds=(1.0, 5.0))
    stale = Histogram(sum=STALE_NAN)
    back, marker = from_columns(to_columns([custom, stale], [1, 2], [0, 0]))
    assert back.bounds == (1.0, 5.0)
    assert back.positive.tolist() == [1.0, 2.0]
    assert is_stale(marker)
    assert not is_stale(back)
    assert not is_stale(Histogram(sum=float("nan")))


def test_custom_bounds_meet_at_those_that_both_have():
    """Mismatched custom bounds are reconciled to the common ones, the rest counts as +Inf."""
    a = Histogram(schema=-53, count=6, positive=np.array([1.0, 2.0, 3.0]), bounds=(1.0, 2.0))
    b = Histogram(schema=-53, count=15, positive=np.array([4.0, 5.0, 6.0]), bounds=(2.0, 8.0))
    result = add(a, b)
    assert result.bounds_reconciled
    assert result.histogram.bounds == (2.0,)
    assert compact(result.histogram).positive.tolist() == [7.0, 14.0]
    assert total([a, b]).histogram.positive.tolist() == [7.0, 14.0]


def test_custom_bounds_without_common_ones_leave_one_bucket():
    """Nothing in common: all observations lie below +Inf, and that is all that is known."""
    a = Histogram(schema=-53, count=6, positive=np.array([1.0, 2.0, 3.0]), bounds=(1.0, 2.0))
    b = Histogram(schema=-53, count=15, positive=np.array([4.0, 5.0, 6.0]), bounds=(7.0, 8.0))
    result = add(a, b).histogram
    assert result.bounds == ()
    assert result.positive.tolist() == [21.0]


def test_custom_and_exponential_never_add_up():
    """The error says what must hold, what was given and the way out."""
    with pytest.raises(IncompatibleSchemasError, match="schemas -53 and 0; select one kind"):
        add(Histogram(schema=-53), Histogram())
    with pytest.raises(IncompatibleSchemasError):
        total([Histogram(), Histogram(), Histogram(schema=-53)])


def test_a_schema_only_falls():
    """Resolution cannot be won back."""
    with pytest.raises(ValueError, match="from 2 to 3 is impossible; ask for a lower one"):
        to_schema(Histogram(schema=2), 3)


@pytest.mark.parametrize(
    ("a", "b", "hint", "collided"),
    [
        (ResetHint.GAUGE, ResetHint.RESET, ResetHint.GAUGE, False),
        (ResetHint.UNKNOWN, ResetHint.RESET, ResetHint.UNKNOWN, False),
        (ResetHint.NOT_RESET, ResetHint.NOT_RESET, ResetHint.NOT_RESET, False),
        (ResetHint.NOT_RESET, ResetHint.RESET, ResetHint.UNKNOWN, True),
    ],
)
def test_hints_merge_as_upstream(a, b, hint, collided):
    """A gauge makes a gauge, the unknown spreads, and a contradiction is told."""
    for left, right in ((a, b), (b, a)):
        result = add(Histogram(hint=left), Histogram(hint=right))
        assert (result.histogram.hint, result.hints_collided) == (hint, collided)


def test_scaling_and_dividing():
    """Every count and the sum are multiplied; a negative factor makes a gauge; zero leaves no bucket."""
    one = Histogram(count=4, sum=5, zero_count=1, positive_start=1, positive=np.array([1.0, 2.0]))
    twice = scale(one, 2)
    assert (twice.count, twice.sum, twice.zero_count) == (8, 10, 2)
    assert twice.positive.tolist() == [2, 4]
    assert negate(one).hint is ResetHint.GAUGE
    nothing = divide(one, 0)
    assert np.isposinf(nothing.count)
    assert len(nothing.positive) == 0
    assert divide(one, 2).positive.tolist() == [0.5, 1.0]


def test_equality_ignores_empty_buckets_and_knows_nan():
    """Zeros at the ends of a run do not matter; NaN sums are equal; layouts must be."""
    a = Histogram(sum=float("nan"), positive_start=1, positive=np.array([0.0, 2.0, 0.0]))
    b = Histogram(sum=float("nan"), positive_start=2, positive=np.array([2.0]))
    assert equal(a, b)
    assert not equal(a, dataclasses.replace(b, zero_threshold=1.0))
    assert not equal(a, dataclasses.replace(b, positive=np.array([3.0])))


def test_bounds_are_exact_powers():
    """Schema 0 ends at powers of two, schema -1 at powers of four; the top is the largest float."""
    assert upper_bounds(0, -1, 4).tolist() == [0.5, 1.0, 2.0, 4.0]
    assert upper_bounds(-1, -1, 3).tolist() == [0.25, 1.0, 4.0]
    assert upper_bounds(1, 0, 3).tolist() == pytest.approx([1.0, 2**0.5, 2.0])
    assert upper_bounds(0, 1024, 2).tolist() == [np.finfo(float).max, np.inf]
    assert upper_bounds(-4, 64, 2).tolist() == [np.finfo(float).max, np.inf]
