"""Ratios: the narrow call takes its rows from the wide one, and nobody can tell."""

import itertools

import pytest
from ninesight_query import EngineSettings, LocalEngine, prepared
from ninesight_query.encode import encode_answer
from ninesight_query.errors import QueryError
from ninesight_query.narrow import narrow_calls
from ninesight_query.parse import parse
from ninesight_query.range_functions import RANGE_FUNCTIONS
from ninesight_query.testing import store_over

MINUTE = 60_000
END = 20 * MINUTE
SERIES = """load 30s
    hits_total{a="1", code="200"} 0+3x40
    hits_total{a="1", code="500"} 5 6 7 _ _ 1 2 3x20
    hits_total{a="2", code="200"} 0+1.5x20 _x10 3 4 stale
    hits_total{a="2"} 1 NaN 3 Inf 2+0.5x30
    hits_total{a="3", code="503"} {{schema:1 count:4 sum:6 buckets:[1 2 1]}}+{{schema:1 count:2 sum:3 buckets:[1 1]}}x40
    hits_total{a="4", code="500"} 1+1x10 {{schema:1 count:4 sum:6 buckets:[1 2 1]}}x10
    requests_total{a="1", code="500"} 0+1x40
    requests_total{a="2", code="200"} 0+4x40
    temperature{a="1", code="500"} 20 21 19 18x30
    temperature{a="2"} 1-0.1x40
"""
ARGUMENTS = {
    "double_exponential_smoothing": "{}, 0.3, 0.6",
    "predict_linear": "{}, 600",
    "quantile_over_time": "0.7, {}",
}
NARROWER = ['a="1"', 'code!=""', 'code=~"5.."', 'a!="1", code!~"2.*"', 'code=""', 'a="none"', ""]


def calls(expr):
    """Which texts of the calls follow from another one."""
    narrow = narrow_calls(parse(expr))
    return sorted(each.key for each in narrow.values() if each.further)


def answer(engine, query, *, steps=True):
    """The reply to a query, or what is wrong with it."""
    try:
        found = engine.range(query, 0, END, 2 * MINUTE) if steps else engine.instant(query, END)
    except QueryError as error:
        return type(error), str(error)
    return encode_answer(found)


@pytest.fixture(scope="module")
def source():
    return store_over(SERIES)


@pytest.fixture
def apart(monkeypatch):
    """Let every call be worked out by itself."""

    def ask(function):
        with monkeypatch.context() as patched:
            patched.setattr(prepared, "narrow_calls", lambda _: {})
            prepared.prepared.cache_clear()
            found = function()
        prepared.prepared.cache_clear()
        return found

    return ask


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("name", sorted(RANGE_FUNCTIONS))
def test_the_answer_is_that_of_both_calls_apart(name, delayed, source, apart):
    """Every function, with histograms, mixed series, stale markers and gaps: the same bytes, warnings included."""
    arguments = ARGUMENTS.get(name, "{}")
    queries = []
    for metric, further in itertools.product(("hits_total", "temperature"), NARROWER):
        narrow = f"{name}({arguments.format(f'{metric}{{{further}}}[5m]')})"
        wide = f"{name}({arguments.format(f'{metric}[5m]')})"
        queries += [f"{narrow} and {wide}", f"{wide} unless {narrow}", f"count({narrow}) / count({wide})"]
    engine = LocalEngine(source, EngineSettings(delayed_name_removal=delayed))

    def ask():
        return [answer(engine, query, steps=steps) for query in queries for steps in (True, False)]

    assert ask() == apart(ask)


class Reading:
    """A source that notes what is read of it."""

    def __init__(self, source):
        self.source, self.read = source, []

    def select(self, matchers, start_ms, end_ms):
        self.read.append((start_ms, end_ms))
        return self.source.select(matchers, start_ms, end_ms)


@pytest.mark.parametrize(
    ("query", "reads"),
    [
        ('sum(rate(requests_total{code=~"5.."}[5m])) / sum(rate(requests_total[5m]))', 1),
        (
            'sum(rate(requests_total[5m])) - sum(rate(requests_total{a="1"}[5m])) - sum(rate(requests_total{a="2"}[5m]))',
            1,
        ),
        ('rate(requests_total{a="1"}[5m] @ 300) / rate(requests_total[5m] @ 300)', 1),
        ('rate(requests_total{a="1"}[5m]) / rate(requests_total[5m] offset 5m)', 2),
        ('rate(requests_total{a="1"}[5m]) / increase(requests_total[5m])', 2),
        ('rate(requests_total{a="1"}[5m]) / rate(requests_total[10m])', 2),
        ('rate(requests_total{a="1"}[5m]) / rate(requests_total{a="2"}[5m])', 2),
    ],
)
def test_what_is_asked_twice_is_read_once(query, reads, source):
    """Only calls that ask the same of a part of the series share their work."""
    reading = Reading(source)
    assert answer(LocalEngine(reading), query) == answer(LocalEngine(source), query)
    assert len(reading.read) == reads


def test_a_call_takes_its_rows_from_the_widest():
    """Three calls, each within the next: all rows come from one of them."""
    found = narrow_calls(
        parse(
            'rate(x{a="1", b="2"}[5m]) + rate(x{a="1"}[5m]) + rate(x[5m]) + rate(y[5m]) + rate(y{c="3"}[1m])'
        )
    )
    assert len(found) == 3
    assert {id(each.wide) for each in found.values()} == {
        key for key, each in found.items() if not each.further
    }


@pytest.mark.parametrize(
    "query",
    [
        # The wide one is worked out at other times.
        'rate(x{a="1"}[5m]) / avg_over_time(sum(rate(x[5m]))[1d:])',
        # What the condition is about is gone from the result.
        'rate({job="j", __name__="x"}[5m]) / rate({job="j"}[5m])',
        'rate(x{__type__="counter"}[5m]) / rate(x[5m])',
        # Of all series together.
        'absent_over_time(x{a="1"}[5m]) or absent_over_time(x[5m])',
        # The result depends on what lies outside of the window.
        'rate(x{a="1"}[5m] anchored) / rate(x[5m] anchored)',
        'x{a="1"} / x',
    ],
)
def test_other_calls_are_worked_out_apart(query):
    """Nothing is shared where the rows would not be the same, or not be needed."""
    assert calls(query) == []


@pytest.mark.parametrize("pattern", ["(.?.?[a-z]?){900}0", "((a{100}){100}){100}"])
def test_patterns_that_cost_too_much_are_told_as_ever(pattern, apart):
    """A matcher that cannot be evaluated, or not compiled, is the same error wherever it is."""
    engine = LocalEngine(store_over(f'load 30s\n    x{{a="{"a" * 4096}"}} 0+1x40'))
    query = f'rate(x{{a=~"{pattern}"}}[5m]) / rate(x[5m])'
    kind, said = answer(engine, query, steps=False)
    assert (kind, said) == apart(lambda: answer(engine, query, steps=False))
    assert issubclass(kind, QueryError)
