"""Bucket indexes are exact, at the edges above all."""

import math
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight.buckets import (
    SCHEMA_MAX,
    SCHEMA_MIN,
    bucket_index,
    bucket_of,
    octave,
    relative_error,
    upper_bound,
)

SCHEMAS = st.integers(SCHEMA_MIN, SCHEMA_MAX)
POSITIVE = st.floats(min_value=2.0**-128, max_value=sys.float_info.max)  # Below it is the zero bucket.


@given(POSITIVE, SCHEMAS)
def test_a_value_lies_above_the_bucket_before_and_within_its_own(value, schema):
    """Bucket i covers (bound(i - 1), bound(i)]."""
    index = bucket_index(value, schema)
    assert upper_bound(index - 1, schema) < value <= upper_bound(index, schema)
    assert bucket_of(value, schema) == (index, upper_bound(index, schema))


@given(st.integers(-128, 1023), SCHEMAS)
def test_a_power_of_two_closes_its_bucket(exponent, schema):
    """2^e is the upper bound of bucket e * 2^schema where that is a bucket, and never beyond its own."""
    index = bucket_index(math.ldexp(1.0, exponent), schema)
    assert index == (exponent << schema if schema >= 0 else -(-exponent >> -schema))


@given(st.integers(-60_000, 60_000), st.integers(0, SCHEMA_MAX))
def test_a_bound_lies_in_the_bucket_it_closes_and_the_next_double_does_not(index, schema):
    """Edges are inclusive above, exclusive below, to the last bit."""
    index %= 1000 << schema
    bound = upper_bound(index, schema)
    assert bucket_index(bound, schema) == index
    assert bucket_index(math.nextafter(bound, math.inf), schema) == index + 1


@pytest.mark.parametrize("schema", range(SCHEMA_MAX + 1))
def test_bounds_are_the_doubles_nearest_to_the_powers(schema):
    """2^(step / steps) / 2 lies between the middles to the two neighbours: checked in integers, unrounded."""
    steps = 1 << schema
    for step, bound in enumerate(octave(schema)):
        for neighbour in (math.nextafter(bound, 0.0), math.nextafter(bound, 1.0)):
            middle = (Fraction(bound) + Fraction(neighbour)) / 2
            power = Fraction(1 << step, 1 << steps)
            assert (middle**steps < power) == (neighbour < bound), (schema, step)


@given(POSITIVE, st.integers(SCHEMA_MIN + 1, SCHEMA_MAX))
def test_lowering_the_schema_merges_pairs(value, schema):
    """Buckets 2j - 1 and 2j become j, wherever the value lies."""
    assert bucket_index(value, schema - 1) == (bucket_index(value, schema) + 1) >> 1


def test_the_stated_error_is_the_width_of_a_bucket():
    """1.09 % at schema 6 from edge to edge, 0.54 % from the geometric middle."""
    assert relative_error(6) == pytest.approx(0.010889, abs=1e-6)
    assert relative_error(6) <= 0.011
    assert math.sqrt(1 + relative_error(6)) - 1 == pytest.approx(0.00543, abs=1e-5)


def test_the_top_bucket_ends_at_the_largest_double():
    """No bound overflows."""
    index = bucket_index(sys.float_info.max, 6)
    assert upper_bound(index, 6) == sys.float_info.max
