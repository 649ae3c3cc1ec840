"""The fingerprint that Alertmanager knows an alert by."""

import pytest
from ninesight_alerts import fingerprint


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((), 14695981039346656037),
        ((("fear", "love is not enough"), ("name", "garland, briggs")), 5799056148416392346),
    ],
)
def test_it_equals_the_published_vectors(labels, expected):
    """The two vectors of Prometheus' own tests come out."""
    assert fingerprint(labels) == f"{expected:016x}"


def test_name_and_value_do_not_run_together():
    """A character that moves from name to value changes the number."""
    assert fingerprint((("ab", "c"),)) != fingerprint((("a", "bc"),))
