"""What must hold for every query and every data: a step does not depend on the other steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query import LocalEngine
from ninesight_query.contract import Matrix
from ninesight_store.contract import STALE_NAN, Batch, SeriesTable, labels_of
from ninesight_store.memory import MemoryStore

QUERIES = [
    "m",
    "m offset 1m",
    "m @ 300",
    "timestamp(m)",
    "rate(m[4m])",
    "increase(m[1h])",
    "delta(m[5m] offset 2m)",
    "irate(m[3m])",
    "changes(m[10m]) + resets(m[10m])",
    "sum_over_time(m[7m])",
    "avg_over_time(m[30m])",
    "min_over_time(m[9m]) - max_over_time(m[9m])",
    "stddev_over_time(m[10m])",
    "quantile_over_time(0.7, m[15m])",
    "mad_over_time(m[10m])",
    "deriv(m[20m])",
    "predict_linear(m[20m], 60)",
    "last_over_time(m[2m])",
    "absent_over_time(m[2m])",
    "sum by (g) (m)",
    "avg without (k) (m)",
    "stdvar by (g) (m)",
    "quantile(0.3, m)",
    "topk by (g) (1, m)",
    "count_values('v', m > 0)",
    "m / on (k, g) m",
    "m and m > 2",
    "m unless m > 2",
    "m > 2 or -m",
    "absent(m > 5)",
    "max_over_time(rate(m[3m])[10m:1m])",
    "sum_over_time(m[8m:2m])",
    "clamp(m, 1, 3)",
    "label_replace(m, 'x', '$1', 'k', '(.*)')",
    "vector(time())",
    "scalar(sum(m))",
]

values = st.one_of(
    st.integers(-3, 9).map(float), st.sampled_from([np.nan, np.inf, -np.inf, STALE_NAN, 1e100, -1e100, 0.1])
)
points = st.lists(st.tuples(st.integers(0, 80), values), min_size=1, max_size=40)


@st.composite
def stores(draw):
    """A few series, some on a common grid of 30 s, some ragged, with gaps, NaN, Inf and stale markers."""
    store = MemoryStore()
    table = SeriesTable(
        tuple(labels_of("m", {"k": str(k), "g": str(k % 2)}) for k in range(draw(st.integers(1, 4))))
    )
    index, times, numbers = [], [], []
    for row in range(len(table)):
        shift = draw(st.sampled_from([0, 0, 0, 7_001]))
        for step, value in {step: value for step, value in draw(points)}.items():  # noqa: C416 - the last one wins
            index.append(row)
            times.append(step * 30_000 + shift)
            numbers.append(value)
    store.write(
        Batch(table, np.array(index, np.int32), np.array(times, np.int64), np.array(numbers, np.float64))
    )
    return store


def cells(matrix: Matrix) -> dict:
    """Every point by series and time."""
    return {
        (labels, int(time)): matrix.values[row, column]
        for row, labels in enumerate(matrix.labels)
        for column, time in enumerate(matrix.timestamps)
        if matrix.present[row, column]
    }


def assert_same(left: dict, right: dict) -> None:
    """Equal points; NaN equals NaN; the last digits may differ."""
    assert left.keys() == right.keys()
    for key, value in left.items():
        np.testing.assert_allclose(value, right[key], rtol=1e-9, atol=1e-9, equal_nan=True, err_msg=str(key))


@pytest.mark.parametrize("query", QUERIES)
@settings(max_examples=12, deadline=None)
@given(store=stores())
def test_a_range_is_its_two_halves(query, store):
    """Evaluated whole or in halves, a range gives the same points; `@` and subqueries included."""
    engine = LocalEngine(store)
    whole = engine.range(query, 0, 2_400_000, 100_000).value
    first = engine.range(query, 0, 1_100_000, 100_000).value
    second = engine.range(query, 1_200_000, 2_400_000, 100_000).value
    assert_same(cells(whole), cells(first) | cells(second))


@pytest.mark.parametrize("query", QUERIES)
@settings(max_examples=8, deadline=None)
@given(store=stores(), step=st.integers(0, 24))
def test_an_instant_is_a_column_of_the_range(query, store, step):
    """The instant query at t gives what the range query has at t."""
    engine = LocalEngine(store)
    at_ms = step * 100_000
    matrix = engine.range(query, 0, 2_400_000, 100_000).value
    answer = engine.instant(query, at_ms).value
    if hasattr(answer, "value"):
        found = {((), at_ms): answer.value}
    else:
        found = {(labels, at_ms): answer.values[row] for row, labels in enumerate(answer.labels)}
    assert_same(found, {key: value for key, value in cells(matrix).items() if key[1] == at_ms})


FUNCTIONS_OF_A_VECTOR = [
    "abs(m)", "clamp_min(m, 1)", "day_of_week(m)", "histogram_avg(m)", "histogram_fraction(0, 1, m)", "info(m)",
    "histogram_quantile(0.5, m)", "histogram_quantiles(m, 'q', 0.5)", "label_join(m, 'a', ',', 'b')", "m == bool 1",
    "m * on(k) group_left m", "m + fill(0) m", "round(m)", "sort(m)", "sort_by_label(m, 'k')", "timestamp(abs(m))",
    "limitk(1, m)", "limit_ratio(0.5, m)", "bottomk(1, m)", "m </ 1", "ts_of_max_over_time(m[5m])",
    "double_exponential_smoothing(m[5m], 0.5, 0.5)", "mad_over_time(m[5m])", "scalar(m) + 1", "1 - m",
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES + FUNCTIONS_OF_A_VECTOR)
def test_nothing_gives_nothing(query):
    """Over an empty store every expression answers, most with no series."""
    engine = LocalEngine(MemoryStore())
    matrix = engine.range(query, 0, 600_000, 60_000).value
    assert matrix.values.shape[1] == 11
    assert len(matrix.labels) <= 1
    engine.instant(query, 0)


@pytest.mark.parametrize("query", FUNCTIONS_OF_A_VECTOR)
@settings(max_examples=6, deadline=None)
@given(store=stores())
def test_the_other_functions_hold_it_too(query, store):
    """Halves and whole agree for the functions of vectors as well."""
    engine = LocalEngine(store)
    whole = engine.range(query, 0, 1_200_000, 100_000).value
    first = engine.range(query, 0, 500_000, 100_000).value
    second = engine.range(query, 600_000, 1_200_000, 100_000).value
    assert_same(cells(whole), cells(first) | cells(second))
