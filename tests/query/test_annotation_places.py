"""Where in the query a warning or an info points to."""

import pytest
from ninesight_query.testing import engine_over

LOAD = """load 1m
  gauge{a="1"} 1 2 3 4 5
  mixed{a="1"} 1 2 {{count:3 sum:3 buckets:[3]}} 4 5
  h{a="1"} {{schema:0 count:3 sum:3 buckets:[3]}}x4
"""


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("rate(gauge[5m])", ["(1:6)"]),
        ("sum(\n  rate(gauge[5m]))", ["(2:8)"]),
        ("rate(gauge[5m]) + rate(gauge[3m])", ["(1:6)", "(1:24)"]),
        ("quantile(2, gauge)", ["(1:10)"]),
        ("quantile_over_time(2, gauge[5m])", ["(1:20)"]),
        ("histogram_quantile(2, h)", ["(1:20)"]),
        ('histogram_quantiles(h, "q", 0.5, 2, 3)', ["(1:34)", "(1:37)"]),
        ("rate(mixed[5m])", ["(1:6)"]),
        ("abs(limit_ratio(2, gauge))", ["(1:17)"]),
        ("1 * (gauge{a!='é'} + h)", ["(1:6)"]),
        ("max(h)", ["(1:5)"]),
        ("max_over_time(mixed[5m:1m])", ["(1:15)"]),
        ("deriv(mixed[5m])", ["(1:7)"]),
    ],
)
def test_a_note_ends_with_its_place(query, places):
    """The operand it is about, or the parameter; line and column from 1."""
    answer = engine_over(LOAD).instant(query, 240_000)
    notes = [*answer.warnings, *answer.infos]
    assert [*dict.fromkeys(note.rsplit(" ", 1)[1] for note in notes)] == places, notes
