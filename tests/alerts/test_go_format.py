"""Values printed as Go prints them."""

import math

import pytest
from ninesight_alerts.go_format import go_float, go_sprintf, go_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (2.0, "2"),
        (0.1, "0.1"),
        (1234.5678, "1234.5678"),
        (100000.0, "100000"),
        (1000000.0, "1e+06"),
        (123456789.0, "1.23456789e+08"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1e100, "1e+100"),
        (-1.5e-7, "-1.5e-07"),
        (0.30000000000000004, "0.30000000000000004"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_a_float_is_printed_with_its_shortest_digits(value, text):
    """%v of a float64, exponent form from 1e6 on."""
    assert go_float(value) == text


@pytest.mark.parametrize(
    ("layout", "values", "text"),
    [
        ("%s=%v", ("a", 1.5), "a=1.5"),
        ("%.2f", (3.14159,), "3.14"),
        ("%6.1f|%-6d|%06d", (3.14, 5, 42), "   3.1|5     |000042"),
        ("%q", ('say "x"',), '"say \\"x\\""'),
        ("%d", (3.0,), "%!d(float64=3)"),
        ("%d", ("x",), "%!d(string=x)"),
        ("%s", (), "%!s(MISSING)"),
        ("x", (1,), "x%!(EXTRA int=1)"),
        ("%x %X %o %b", (255, 255, 8, 5), "ff FF 10 101"),
        ("%e %g %.3g", (1500.0, 1500.0, 0.12345), "1.500000e+03 1500 0.123"),
        ("%t %%", (True,), "true %"),
        ("%+d %+.1f", (3, 2.0), "+3 +2.0"),
        ("%.4g", (math.inf,), "+Inf"),
    ],
)
def test_sprintf_fills_as_go_does(layout, values, text):
    """A wrong or missing value shows in the text and raises nothing."""
    assert go_sprintf(layout, *values) == text


def test_maps_and_lists_are_printed_sorted():
    """%v of a map has its keys in order."""
    assert go_text({"b": 1.0, "a": [True, "x", None]}) == "map[a:[true x <nil>] b:1]"
