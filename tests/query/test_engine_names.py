"""When metric names go: at each function, as Prometheus does by default, or at the end of the query."""

import pytest
from ninesight_query import EngineConfig, EngineSettings, labels_of
from ninesight_query.errors import ExecutionError
from ninesight_query.testing import engine_over

LOAD = """
load 1m
  a_total{job="x"} 0+60x10
  b_total{job="x"} 0+120x10
  b_total{job="y"} 0+180x10
  early{job="z"} 1 2 3 _ _ _ _ _ _ _ _
  late{job="z"} _ _ _ _ _ _ _ _ 7 8 9
"""
BOTH = '{__name__=~"a_total|b_total"}'
SAME = "vector cannot contain metrics with the same labelset"


@pytest.fixture(params=[False, True], ids=["at each function", "at the end"])
def engine(request):
    """An engine in each mode."""
    return engine_over(LOAD, EngineSettings(delayed_name_removal=request.param))


@pytest.fixture
def late():
    """An engine that removes names at the end."""
    return engine_over(LOAD, EngineSettings(delayed_name_removal=True))


def rows(engine, query, at_ms=600_000):
    """Labels and values of an instant query."""
    found = engine.instant(query, at_ms).value
    return dict(zip(found.labels, found.values.tolist(), strict=True))


def test_the_suite_removes_names_at_the_end():
    """What a person configures is on; the engine alone does as Prometheus by default."""
    assert EngineConfig().settings().delayed_name_removal
    assert not EngineSettings().delayed_name_removal
    assert not EngineConfig(delayed_name_removal=False).settings().delayed_name_removal


@pytest.mark.parametrize(
    "query",
    [
        f"rate({BOTH}[5m])",
        f"-{BOTH}",
        f"{BOTH} * 2",
        f"abs({BOTH})",
        f"timestamp({BOTH})",
        f"{BOTH} > bool 1",
        f"sum_over_time(({BOTH} * 1)[5m:1m])",
        f"clamp({BOTH}, 0, 1)",
        f"round({BOTH})",
    ],
)
def test_equal_labels_are_an_error_in_both_modes(engine, query):
    """Two metrics with one set of labels cannot both be in an answer without their names."""
    for ask in (
        lambda: engine.instant(query, 600_000),
        lambda: engine.range(query, 300_000, 600_000, 60_000),
    ):
        with pytest.raises(ExecutionError, match=SAME):
            ask()


def test_names_at_the_end_keep_metrics_apart(late):
    """Grouping by name, or moving it into another label, works on what has lost it only for the answer."""
    query = f"sum by (__name__) (rate({BOTH}[5m]))"
    assert sorted(rows(late, f'label_replace({query}, "m", "$1", "__name__", "(.*)")').values()) == [1.0, 5.0]
    moved = rows(late, f'label_replace(rate({BOTH}[5m]), "m", "$1", "__name__", "(.)_.*")')
    assert moved == {
        labels_of("", {"job": "x", "m": "a"}): 1.0,
        labels_of("", {"job": "x", "m": "b"}): 2.0,
        labels_of("", {"job": "y", "m": "b"}): 3.0,
    }
    eager = engine_over(LOAD)
    with pytest.raises(ExecutionError, match=SAME):
        eager.instant(query, 600_000)


def test_a_marked_name_does_not_come_back(late):
    """A name set by label_replace stays; one that is marked goes even through sort and topk."""
    assert rows(late, 'label_replace(rate(a_total[5m]), "__name__", "made", "", "")') == {
        labels_of("made", {"job": "x"}): 1.0
    }
    assert rows(late, "topk(1, rate(a_total[5m]))") == {labels_of("", {"job": "x"}): 1.0}
    assert rows(late, "sort_desc(-b_total)").keys() == {
        labels_of("", {"job": "x"}),
        labels_of("", {"job": "y"}),
    }
    assert rows(late, "last_over_time(a_total[5m])").keys() == {labels_of("a_total", {"job": "x"})}


def test_series_at_different_steps_become_one(engine):
    """Equal labels at different times are no collision: the range has one row."""
    found = engine.range('{__name__=~"early|late"} + 0', 0, 600_000, 60_000).value
    assert found.labels == (labels_of("", {"job": "z"}),)
    assert found.values[0][found.present[0]].tolist() == [1, 2, 3, 3, 3, 3, 3, 7, 8, 9]
    with pytest.raises(ExecutionError, match=SAME):
        engine.range(f"{BOTH} + 0", 0, 600_000, 60_000)
