"""Promises in plain text, run against the real engine; and the reader of the notation itself."""

from pathlib import Path

import pytest
from ninesight_alerts import RuleError
from ninesight_alerts.testing import ScenarioError, parse_scenario, run_scenario
from ninesight_query import LocalEngine
from ninesight_store.testing import MemoryStore, batch_of

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.scn"))

RULES = "rules\n  groups: [{name: g, rules: [{alert: A, expr: x > 1, for: 1m}]}]\n"


def engine_of(series):
    """The real engine over a store in memory."""
    store = MemoryStore()
    store.write(batch_of(series))
    return LocalEngine(store)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path):
    """Every promise in the file holds."""
    assert run_scenario(path, engine_of) == []


def test_a_promise_that_does_not_hold_is_told():
    """Missing alerts, wrong states, values, notices and annotations each give a line."""
    text = RULES + (
        "load 1m\n  x 5x3\n"
        "at 0s\n  expect none\n"
        "at 1m\n  expect firing A 7\n  expect no notice\n  expect annotation s hello\n  expect resolved A\n"
        "at 2m\n  expect notice resolved A\n  expect firing A 5\n"
    )
    assert run_scenario(text, engine_of) == [
        "at 0s: expected none, got ['pending A']",
        "line 10: expected annotation s 'hello', got ['']",
        "line 11: A is not resolved",
        "at 1m: expected ['firing A 7 (value 5.0)'], got ['firing A']",
        "at 1m: expected the notices none, got ['firing A']",
        "at 2m: expected the notices ['resolved A'], got none",
    ]


def test_a_rule_that_cannot_be_evaluated_is_told():
    """An unhealthy rule is a broken promise."""
    text = "rules\n  groups: [{name: g, rules: [{alert: A, expr: 'x[1m]'}]}]\nload 1m\n  x 1\nat 0s\n  expect none\n"
    (problem,) = run_scenario(text, engine_of)
    assert problem.startswith("at 0s: A: a rule's expr must give a vector or a scalar")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a scenario needs rules, load"),
        ("  x 1\n", "line 1: the first line must not be indented"),
        ("play 1m\n", "line 1: a line begins with rules, load, every or at, got 'play'"),
        ("load often\n", "line 1: a duration is written like"),
        ("load 0\n", "line 1: the interval must be above 0"),
        ("load 1m\n  x 1 two\n", "line 2: a value is a number, _ or stale, got 'two'"),
        ("load 1m\n  x{a=b} 1\n", 'line 2: labels are written label="value"'),
        ("load 1m\n  = 1\n", "line 2: a series is written name{"),
        ("load 1m\n  x 1x9999999\n", "at most 1000000 samples"),
        (RULES + "load 1m\n  x 1\nat 30s\n  expect none\n", "at 30s: must be a multiple of 1m"),
        (RULES + "load 100ms\n  x 1\nat 1d\n  expect none\n", "at most 100000 evaluations"),
    ],
)
def test_a_scenario_that_is_written_wrongly_is_refused(text, says):
    """With its line."""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    assert says in str(caught.value)


def test_rules_in_a_scenario_are_checked_as_in_a_file():
    """The same words."""
    with pytest.raises(RuleError, match="unknown key 'grups'"):
        parse_scenario("rules\n  grups: []\n")


def test_an_unknown_expectation_is_refused():
    """A misspelt promise must not pass."""
    with pytest.raises(ScenarioError, match="unknown expectation 'expect frying A'"):
        run_scenario(RULES + "load 1m\n  x 1\nat 0s\n  expect frying A\n", engine_of)


def test_runs_gaps_and_markers_are_loaded():
    """`20x4` is four samples, `_x2` a gap of two, labels may hold escapes."""
    scenario = parse_scenario(
        RULES + 'load 1m\n  x{a="q\\"}"} 1x2 _x2 -3\nevery 30s\nat 30s\n  expect none\n'
    )
    ((labels, samples),) = scenario.series.items()
    assert labels == (("__name__", "x"), ("a", 'q"}'))
    assert samples == [(0, 1.0), (60_000, 1.0), (240_000, -3.0)]
    assert scenario.every_ms == 30_000
