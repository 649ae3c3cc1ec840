"""Durations in Prometheus' notation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_alerts.durations import duration_ms, duration_text


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", 500),
        ("15s", 15_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
    ],
)
def test_a_duration_is_read_in_milliseconds(text, milliseconds):
    """Every unit counts, alone and combined from large to small."""
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "5 m", "-5m", "1m1h", "1.5h", "1h1h", "ten", "9" * 12 + "y"])
def test_what_is_no_duration_is_refused(text):
    """The error says what was given."""
    with pytest.raises(ValueError, match="a duration") as caught:
        duration_ms(text)
    assert repr(text) in str(caught.value)


@settings(deadline=None)
@given(st.integers(0, 50 * 365 * 86_400_000))
def test_writing_and_reading_is_the_identity(milliseconds):
    """A duration survives being written."""
    assert duration_ms(duration_text(milliseconds)) == milliseconds
