"""Numbers as people read them (rule 21 of the design notes), as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight_dashboards import numbers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.000412, "412 µs"),
        (0.0009999, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (0.95, "950 ms"),
        (0.9996, "1.00 s"),
        (1.02, "1.02 s"),
        (59.97, "1 m"),
        (72, "1 m 12 s"),
        (7500, "2 h 5 m"),
        (273_600, "3 d 4 h"),
        (-0.5, "-500 ms"),
    ],
)
def test_durations_change_their_unit(seconds, text):
    """A duration has three significant digits below a minute and two units above it."""
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (950, "950"),
        (999.6, "1.00k"),
        (1200, "1.20k"),
        (3_400_000, "3.40M"),
        (0.0123, "0.0123"),
        (42.25, "42.2"),
        (-1500, "-1.50k"),
        (0.00001, "0.00001"),
    ],
)
def test_amounts_have_si_suffixes(value, text):
    """A count or a rate keeps three significant digits."""
    assert numbers.amount(value) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.432, "43.2 %"),
        (0.5, "50 %"),
        (0.0123, "1.23 %"),
        (0.9995, "99.95 %"),
        (0.999, "99.9 %"),
        (0.99, "99 %"),
        (0.99895, "99.89 %"),
        (0.99999, "99.999 %"),
        (0.999999999, "99.99999 %"),
        (0.000012, "<0.01 %"),
        (-0.123, "-12.3 %"),
        (1.25, "125 %"),
    ],
)
def test_percentages_keep_their_nines(ratio, text):
    """Near 100 % there are as many nines as there are, cut and never rounded up."""
    assert numbers.percent(ratio) == text


@given(st.floats(0, 1, exclude_max=True))
def test_nothing_but_one_is_a_hundred_percent(ratio):
    """A promise that was missed by one request in a billion does not look kept."""
    assert numbers.percent(ratio) != "100 %"


@given(st.floats(1e-9, 1e15))
def test_amounts_are_true_to_three_digits(value):
    """Reading the text back gives the value within half a percent."""
    text = numbers.amount(value)
    factor = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(text[-1], 1.0)
    assert float(text.rstrip("kMGT")) * factor == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("value", "fine", "text"),
    [
        (12.345, False, "12.35 USD"),
        (12345.6, False, "12,345.60 USD"),
        (0.0123, True, "0.0123 USD"),
        (0.00001, True, "<0.0001 USD"),
        (0, False, "0.00 USD"),
    ],
)
def test_money_names_its_currency(value, fine, text):
    """Two decimals, four for the price of single requests, and never a bare zero for a small amount."""
    assert numbers.money(value, "USD", fine=fine) == text


def test_units_pick_their_form():
    """A panel's unit decides how its values are written."""
    assert numbers.unit_text(0.25, "s") == "250 ms"
    assert numbers.unit_text(0.25, "ratio") == "25 %"
    assert numbers.unit_text(1.5 * 2**30, "bytes") == "1.50 GiB"
    assert numbers.unit_text(1500, "req/s") == "1.50k"
    assert numbers.bytes_iec(512) == "512 B"


def test_milliseconds_stand_without_unit():
    """Table columns carry the unit in their header."""
    assert [numbers.milliseconds(value) for value in (0.000412, 0.0123, 0.4, 72.0)] == [
        "0.412",
        "12.3",
        "400",
        "72,000",
    ]
