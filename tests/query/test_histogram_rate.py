"""Resets and rates of histograms."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_layout import to_schema
from ninesight_query.histogram_math import equal, scale, total
from ninesight_query.histogram_observe import observe
from ninesight_query.histogram_rate import RateNote, increase_between, rate
from ninesight_query.histogram_reset import detect_reset
from ninesight_store.contract import ResetHint

quick = settings(deadline=None, max_examples=50)

positive_observations = st.lists(st.floats(min_value=1e-4, max_value=1e5), min_size=1, max_size=60)

GAUGE = ResetHint.GAUGE


def growing(batches, schema=3):
    """A counter histogram after each batch of observations."""
    seen, out = [], []
    for batch in batches:
        seen = seen + list(batch)
        out.append(observe(seen, schema))
    return out


@quick
@given(st.lists(positive_observations, min_size=2, max_size=6))
def test_an_increase_is_what_was_observed_after_the_first_point(batches):
    """last - first counts exactly the later observations."""
    grown, notes = increase_between(growing(batches), is_counter=True)
    later = [value for batch in batches[1:] for value in batch]
    assert not notes
    expected = observe(later)
    assert grown.positive_start == expected.positive_start
    assert grown.positive.tolist() == expected.positive.tolist()


@quick
@given(
    st.lists(positive_observations, min_size=2, max_size=4),
    st.lists(positive_observations, min_size=1, max_size=4),
)
def test_a_reset_loses_nothing(before, after):
    """A counter that begins anew still gives all observations after the first point."""
    points = growing(before)
    restarted = [
        dataclasses.replace(h, hint=ResetHint.RESET if k == 0 else h.hint)
        for k, h in enumerate(growing(after))
    ]
    grown, _ = increase_between(points + restarted, is_counter=True)
    later = [value for batch in before[1:] + after for value in batch]
    assert grown.count == len(later)
    assert grown.positive.sum() == len(later)


@quick
@given(positive_observations, positive_observations)
def test_growth_is_no_reset_and_shrinking_is(first, more):
    """Only a fall of some count is a reset; coarsening on the way is none."""
    small, large = growing([first, more])
    assert not detect_reset(large, small)
    assert detect_reset(small, large)
    assert not detect_reset(to_schema(large, 1), small)
    assert detect_reset(large, to_schema(small, 1))


def test_hints_of_resets_win():
    """What the sender knows is not compared again."""
    small, large = growing([[1.0], [2.0]])
    assert detect_reset(dataclasses.replace(large, hint=ResetHint.RESET), small)
    assert not detect_reset(dataclasses.replace(small, hint=ResetHint.NOT_RESET), large)


def test_rate_extrapolates_to_the_window():
    """Points 15 s apart from the edges of a minute: the increase is stretched to the whole minute."""
    points = growing([[1.0], [2.0], [4.0]])
    times = [15_000, 30_000, 45_000]
    result, notes = rate(points, times, 0, 60_000, is_counter=True, is_rate=True)
    assert not notes
    assert result.hint is GAUGE
    assert result.count == pytest.approx(2 * (30 + 15 + 15) / 30 / 60)
    grown, _ = rate(points, times, 0, 60_000, is_counter=True, is_rate=False)
    assert equal(scale(grown, 1 / 60), result)


def test_fewer_than_two_points_have_no_rate():
    """One point says nothing about change."""
    assert rate([Histogram()], [0], 0, 1000, is_counter=True, is_rate=True) == (None, frozenset())


def test_notes_of_a_rate():
    """Gauges in a rate, counters in a delta and mixed kinds are told."""
    counter = growing([[1.0], [2.0]])
    gauges = [dataclasses.replace(h, hint=GAUGE) for h in counter]
    custom = Histogram(schema=-53, count=9, positive=np.array([9.0]), bounds=(1.0,))
    assert increase_between(gauges, is_counter=True)[1] == {RateNote.NOT_COUNTER}
    assert increase_between(counter, is_counter=False)[1] == {RateNote.NOT_GAUGE}
    assert increase_between(gauges, is_counter=False)[1] == frozenset()
    assert increase_between([*gauges, custom], is_counter=False) == (None, {RateNote.MIXED_SCHEMAS})


def test_total_keeps_small_numbers_beside_large_ones():
    """The sum is compensated: 1e16 + 1 - 1e16 is 1."""
    parts = [Histogram(sum=value) for value in (1e16, 1.0, -1e16)]
    assert total(parts).histogram.sum == 1.0
