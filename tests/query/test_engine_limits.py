"""What an engine refuses, and how it says so."""

import itertools
import threading
import tracemalloc

import numpy as np
import pytest
from ninesight_query import EngineConfig, EngineSettings, LocalEngine, cancelling
from ninesight_query.errors import (
    BusyError,
    DeadlineError,
    ExecutionError,
    LimitError,
    ParseError,
    QueryCancelledError,
    QueryError,
    UnavailableError,
)
from ninesight_query.testing import engine_over, store_over
from ninesight_store.errors import StoreError
from pydantic import ValidationError

LOAD = """
load 1m
  up{job="a", instance="1"} 1x60
  up{job="a", instance="2"} 0x60
  requests_total{job="a"} 0+60x60
"""


def test_steps_are_limited():
    """The message names the smallest step that fits."""
    engine = engine_over(LOAD, EngineSettings(points_per_series_max=10))
    assert engine.range("up", 0, 600_000, 60_000).value.values.shape == (2, 11)
    with pytest.raises(LimitError, match="at most 10 steps, got 11; take a step of at least 66000 ms"):
        engine.range("up", 0, 660_000, 60_000)
    assert engine.range("up", 0, 660_000, 66_000).value.values.shape[1] == 11


def test_loaded_samples_are_limited():
    """A query that loads more than samples_max is stopped."""
    engine = engine_over(LOAD, EngineSettings(samples_max=50))
    with pytest.raises(LimitError, match="may load at most 50 samples, this one loads 120"):
        engine.instant("sum(rate(up[1h]))", 3_600_000)
    assert engine.instant("sum(up)", 60_000).value.values.tolist() == [1.0]


def test_cells_of_a_result_are_limited():
    """A small load that is blown up by many steps is stopped too."""
    engine = engine_over(LOAD, EngineSettings(samples_max=500))
    with pytest.raises(LimitError, match="2 series x 1000 steps"):
        engine.range("up", 0, 999_000, 1_000)


def test_points_of_an_answer_are_limited():
    """What is loaded may be more than what is handed out: vector, matrix and raw samples."""
    engine = engine_over(LOAD, EngineSettings(result_points_max=30))
    assert engine.range("sum(up)", 0, 1_740_000, 60_000).value.values.shape == (1, 30)
    for ask in (
        lambda: engine.range("sum(up)", 0, 1_800_000, 60_000),
        lambda: engine.instant("up[16m]", 1_800_000),
    ):
        with pytest.raises(LimitError, match=r"an answer may have at most 30 points, this one has 3[12]"):
            ask()
    with pytest.raises(LimitError, match="at most 1 points, this one has 2"):
        engine_over(LOAD, EngineSettings(result_points_max=1)).instant("up", 60_000)


def test_running_queries_share_a_budget():
    """What others hold is not there; what a query held is given back, also when it fails."""
    reading, go_on, outcomes = threading.Semaphore(0), threading.Event(), []

    class Waiting:
        def __init__(self, inner):
            self.inner, self.held = inner, False

        def select(self, matchers, start_ms, end_ms):
            found = self.inner.select(matchers, start_ms, end_ms)
            if any(matcher.value == "held" for matcher in matchers):
                reading.release()
                assert go_on.wait(30)
            return found

    load = LOAD + "  held 1x60\n"
    engine = LocalEngine(Waiting(store_over(load)), EngineSettings(samples_max=200, samples_shared_max=250))
    query = "max_over_time(up[1h]) + on() group_left max_over_time(held[1h])"
    first = threading.Thread(target=lambda: outcomes.append(engine.instant(query, 3_600_000).value))
    first.start()
    assert reading.acquire(timeout=30)
    with pytest.raises(
        BusyError, match="at most 250 samples together, 244 are held and this query needs 62 more"
    ):
        engine.range("up", 0, 3_600_000, 120_000)
    go_on.set()
    first.join(30)
    assert len(outcomes) == 1
    for _ in range(5):
        with pytest.raises(LimitError):
            engine.range("up", 0, 3_600_000, 1_000)
        assert len(engine.instant("rate(up[1h])", 3_600_000).value.labels) == 2


@pytest.mark.parametrize(
    "call",
    ["quantile_over_time(0.5, {})", "mad_over_time({})", "stddev_over_time({})", "deriv({})", "sum_over_time({})",
     "avg_over_time({})", "ts_of_max_over_time({})", "double_exponential_smoothing({}, 0.5, 0.5)",
     "predict_linear({}, time())"],
)  # fmt: skip
def test_long_windows_look_at_the_clock(call):
    """One series with many samples in a window is worked on for long: the deadline holds there too."""
    query = call.format("sin(vector(time()))[20m:20ms]")
    looks = itertools.count()
    with cancelling(lambda: next(looks) > 15), pytest.raises(QueryCancelledError):
        engine_over(LOAD).range(query, 0, 3_600_000, 1_000)


def test_a_median_of_many_values_is_gathered_in_parts():
    """Steps are split too: all windows of one series at once would take gigabytes."""
    query = "mad_over_time((sin(vector(time())) > -2)[20m:100ms])"
    engine = engine_over(LOAD)
    whole = engine.range(query, 0, 3_600_000, 36_000).value.values[0]
    tracemalloc.start()
    try:
        engine.range(query, 0, 3_600_000, 6_000)
        assert tracemalloc.get_traced_memory()[1] < 300_000_000
    finally:
        tracemalloc.stop()
    one = engine.instant(query, 1_800_000).value.values[0]
    assert np.isclose(whole[50], one)


def test_series_are_limited():
    """One selector may match only so many series."""
    engine = engine_over(LOAD, EngineSettings(series_max=1))
    with pytest.raises(LimitError, match="may match at most 1 series, this one matches 2"):
        engine.instant("up", 60_000)


def test_query_length_is_limited():
    """The engine's own bound lies below the parser's."""
    engine = engine_over(LOAD, EngineSettings(query_length_max=10))
    with pytest.raises(LimitError, match="at most 10 characters, got 11"):
        engine.instant("up + up + 1", 0)


def test_a_query_ends_at_its_deadline():
    """The clock is asked between nodes and tiles."""
    ticks = itertools.count(0.0, 1.0)
    engine = LocalEngine(store_over(LOAD), EngineSettings(deadline_s=5.0), clock_s=lambda: next(ticks))
    assert engine.instant("1", 0).value.value == 1.0
    with pytest.raises(DeadlineError, match="may run at most 5 s"):
        engine.instant("+".join(["sum(rate(up[5m]))"] * 5), 300_000)


def test_kinds_follow_the_http_api():
    """Each error carries Prometheus' errorType."""
    assert [error("x").kind for error in (ParseError, LimitError, DeadlineError, UnavailableError)] == [
        "bad_data",
        "execution",
        "timeout",
        "unavailable",
    ]


@pytest.mark.parametrize(
    ("start", "end", "step", "says"),
    [
        (0, 10, 0, "step must be positive"),
        (10, 0, 1, "end must not be before start"),
        (0, 1 << 60, 1 << 55, "end must lie within"),
    ],
)
def test_impossible_grids_are_refused(start, end, step, says):
    """A range must run forwards in positive steps, within what milliseconds can hold."""
    with pytest.raises(ParseError, match=says):
        engine_over(LOAD).range("up", start, end, step)


def test_a_range_vector_alone_is_no_range_query():
    """The message says what is missing."""
    with pytest.raises(ParseError, match=r"put a function such as rate\(\)"):
        engine_over(LOAD).range("up[5m]", 0, 60_000, 60_000)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("up * on(job) up", "found duplicate series for the match group"),
        ("requests_total * on(job) up", "many-to-many matching not allowed"),
        ("up * on(job) requests_total", "many-to-one matching must be explicit"),
        ('label_replace(up, "instance", "x", "", "")', "same labelset"),
        ("topk(NaN, up)", "Parameter value is NaN"),
        ('label_replace(up, "a", "b", "job", "(")', "invalid regular expression"),
        ("double_exponential_smoothing(up[5m], 2, 0.5)", "invalid smoothing factor"),
    ],
)
def test_what_the_data_does_not_allow(query, says):
    """These are errors of execution, not of syntax."""
    with pytest.raises(ExecutionError, match=says):
        engine_over(LOAD).instant(query, 600_000)


class Broken:
    """A source whose disk is gone, or whose code is wrong."""

    def __init__(self, error):
        self.error = error

    def select(self, matchers, start_ms, end_ms):
        raise self.error

    series = select

    def metadata(self):
        raise self.error


def test_only_query_errors_leave_the_engine():
    """A failing store is unavailable, a bug is an execution error; both keep the cause."""
    engine = LocalEngine(Broken(StoreError("disk I/O error")))
    for ask in (
        lambda: engine.instant("up", 0),
        lambda: engine.range("up", 0, 1, 1),
        lambda: engine.series([], 0, 1),
        lambda: engine.label_names([], 0, 1),
        lambda: engine.label_values("job", [], 0, 1),
        engine.metadata,
    ):
        with pytest.raises(UnavailableError, match="reading the store: disk I/O error"):
            ask()
    with pytest.raises(ExecutionError, match="ZeroDivisionError: oops"):
        LocalEngine(Broken(ZeroDivisionError("oops"))).instant("up", 0)


def test_one_engine_serves_eight_threads():
    """Concurrent queries give what they give alone."""
    engine = engine_over(LOAD)
    queries = ["sum(rate(requests_total[5m]))", "up * 2", "max_over_time(up[10m])", "count(up) by (job)"]
    alone = [engine.range(query, 0, 3_000_000, 60_000).value for query in queries]
    wrong: list[object] = []

    def work(offset):
        for k in range(24):
            number = (k + offset) % len(queries)
            try:
                found = engine.range(queries[number], 0, 3_000_000, 60_000).value
            except QueryError as error:
                wrong.append(error)
                continue
            same = np.array_equal(found.values[found.present], alone[number].values[alone[number].present])
            if not same or found.labels != alone[number].labels:
                wrong.append(queries[number])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_configuration_names_the_key():
    """Durations are text, unknown keys and senseless values are refused."""
    assert EngineConfig().settings() == EngineSettings(delayed_name_removal=True)
    assert EngineConfig(lookback="10m", deadline="500ms").settings().deadline_s == 0.5
    for wrong in ({"lookback": "0"}, {"lookback": "five"}, {"samples_max": 0}, {"lookbak": "5m"}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            EngineConfig(**wrong)


@pytest.mark.parametrize(
    "query", ["up[1y:1ms]", "sum_over_time(up[1y:1ms])", "max_over_time(vector(1)[90y:1ms])"]
)
def test_a_subquery_of_many_steps_is_refused_before_it_takes_memory(query):
    """The steps of a subquery are counted before any array of them is made."""
    engine = engine_over(LOAD)
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match="may hold at most 50000000 samples, this one needs"):
            engine.instant(query, 60_000)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "grow",
    [
        lambda inner: f'label_replace({inner}, "job", "{"$1" * 400}", "job", "(.*)")',
        lambda inner: f'label_join({inner}, "job", ""' + ', "job"' * 400 + ")",
    ],
)
def test_label_values_do_not_grow_without_end(grow):
    """Nested calls multiply a label's value; past the bound the query is refused."""
    engine = engine_over(LOAD)
    assert len(engine.instant(grow("up"), 60_000).value.labels) == 2
    with pytest.raises(ExecutionError, match="a label value must have at most 65536 characters, got 160000"):
        engine.instant(grow(grow("up")), 60_000)


def test_patterns_of_label_replace_take_bounded_time():
    """A pattern that backtracks for years elsewhere answers, and fills its groups."""
    engine = engine_over('load 1m\n  up{job="' + "a" * 3000 + '!"} 1x5\n')
    query = 'label_replace(up, "{}", "$1", "job", "{}")'
    found = engine.instant(query.format("kept", "(a+)+b"), 60_000).value.labels
    assert "kept" not in dict(found[0])
    found = engine.instant(query.format("kept", "(?:a|aa)*(a!)|(?:a+)+b"), 60_000).value.labels
    assert dict(found[0])["kept"] == "a!"
