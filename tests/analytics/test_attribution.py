"""Splitting a bill: what is attributed and what is idle is always the bill."""

import math

from hypothesis import given
from hypothesis import strategies as st
from ninesight_analytics.attribution import Pool, split

keys = st.tuples(st.sampled_from("abcde"), st.sampled_from("12"))
pools = st.builds(
    Pool,
    bill=st.floats(0, 1e9),
    capacity_s=st.floats(0, 1e12),
    used_s=st.dictionaries(keys, st.floats(0, 1e12), max_size=6),
)


@given(st.lists(pools, max_size=8))
def test_attributed_plus_idle_is_the_bill(given_pools):
    """To 1e-9 relative, for any prices, times and measurements, over-measured ones included."""
    found = split(given_pools)
    bill = math.fsum(pool.bill for pool in given_pools)
    total = math.fsum([*found.amounts.values(), found.idle])
    assert math.isclose(total, bill, rel_tol=1e-9, abs_tol=1e-12)
    assert found.idle >= 0
    assert all(amount >= 0 for amount in found.amounts.values())


def test_seconds_are_paid_in_proportion():
    """A quarter of the time costs a quarter of the bill."""
    found = split([Pool(8.0, 100.0, {("a", "1"): 25.0, ("b", "1"): 50.0})])
    assert found.amounts == {("a", "1"): 2.0, ("b", "1"): 4.0}
    assert found.idle == 2.0
    assert found.scaled == 0.75


def test_more_seconds_than_there_were_are_scaled_down():
    """Shares keep their proportion and idle is 0."""
    found = split([Pool(9.0, 100.0, {("a", "1"): 100.0, ("b", "1"): 200.0})])
    assert found.amounts == {("a", "1"): 3.0, ("b", "1"): 6.0}
    assert found.idle == 0.0
    assert found.scaled == 3.0


def test_each_pool_pays_its_own_users():
    """An expensive GPU's users pay its price."""
    found = split([Pool(10.0, 10.0, {("a", ""): 10.0}), Pool(1.0, 10.0, {("b", ""): 10.0})])
    assert found.amounts == {("a", ""): 10.0, ("b", ""): 1.0}
