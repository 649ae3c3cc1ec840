"""One engine over a real store, asked again and again while samples come in: it never answers from the past.

The store keeps what it read, and the engine what it made of that. Writes in order and late, overwritten samples,
new series, sealing and merging come in between; every answer is that of the slow evaluator over all samples so far.
"""

import math
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ninesight_query import LocalEngine, labels_of
from ninesight_query.testing import SlowEngine
from ninesight_store import LocalStore
from ninesight_store.contract import STALE_NAN
from ninesight_store.testing import batch_of

HOUR_MS = 3_600_000
BASE_MS = 400_000 * HOUR_MS
QUERIES = [
    "m",
    "sum by (g) (m)",
    "rate(m[4m])",
    "sum(increase(m[30m]))",
    "max_over_time(m[10m] offset 5m)",
    "m + on (k) m{g='0'}",
    "count_over_time(m[2h])",
    "max_over_time(sum(m)[20m:1m])",
    "absent_over_time(m{k='1'}[10m])",
    "m{k=~'1|2'} unless m{g='1'}",
    "{__name__=~'m|n'}",
]

steps = st.one_of(
    st.tuples(
        st.just("write"), st.lists(st.tuples(st.integers(0, 5), st.integers(-90, 1)), min_size=1, max_size=8)
    ),
    st.tuples(
        st.just("write"), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=6)
    ),
    st.tuples(st.just("seal"), st.just([])),
    st.tuples(st.just("merge"), st.just([])),
    st.tuples(st.just("ask"), st.lists(st.sampled_from(QUERIES), min_size=1, max_size=3)),
    st.tuples(st.just("ask"), st.lists(st.sampled_from(QUERIES), min_size=1, max_size=3)),
)
values = st.sampled_from([0.0, 1.0, 2.0, 5.0, 5.0, 8.0, 13.0, math.nan, math.inf, STALE_NAN])


def series(number):
    """Five series of m in two groups, and one of n."""
    return labels_of("m" if number < 5 else "n", {"k": str(number), "g": str(number % 2)})


def assert_agree(engine, data, query, now_ms):
    """A range up to now, and now."""
    slow = SlowEngine({labels: sorted(points.items()) for labels, points in data.items()})
    grid = (now_ms - 40 * 60_000, now_ms, 300_000)
    matrix = engine.range(query, *grid).value
    found = {
        (labels, int(time)): float(matrix.values[row, column])
        for row, labels in enumerate(matrix.labels)
        for column, time in enumerate(matrix.timestamps)
        if matrix.present[row, column]
    }
    wanted = slow.range(query, *grid)
    assert found.keys() == wanted.keys(), query
    assert found == {key: pytest.approx(value, nan_ok=True) for key, value in wanted.items()}, query
    vector = engine.instant(query, now_ms).value
    now = dict(zip(vector.labels, vector.values.tolist(), strict=True))
    assert now == {
        key: pytest.approx(value, nan_ok=True) for key, value in slow.instant(query, now_ms).items()
    }
    assert_same_at_once(engine, query, now_ms, vector)


def assert_same_at_once(engine, query, now_ms, vector):
    """Nothing was written since the answer: where it is given at once too, it is the same."""
    prompt = engine.instant_at_once(query, now_ms)
    if ":1m]" in query:
        assert prompt is None
    elif prompt is not None:
        assert prompt.value.labels == vector.labels
        assert prompt.value.values.tobytes() == vector.values.tobytes()


@settings(
    max_examples=int(os.environ.get("NINESIGHT_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(script=st.lists(steps, min_size=3, max_size=14), data=st.data())
def test_answers_follow_the_samples(script, data, tmp_path_factory):
    """Whatever happened in between, an answer is made of all samples written before it."""
    now_ms = BASE_MS + 50 * 60_000
    kept = {}
    folder = tmp_path_factory.mktemp("interleaved")
    with LocalStore(f"sqlite:///{folder}/one.db", now_ms=lambda: now_ms) as store:
        engine = LocalEngine(store, now_ms=lambda: now_ms, busy_s=lambda: 0.0)
        for what, details in script:
            if what == "write":
                now_ms += 60_000
                batch = {}
                for number, minutes in details:
                    value = data.draw(values)
                    batch.setdefault(series(number), {})[now_ms + minutes * 60_000] = value
                for labels, points in batch.items():
                    kept.setdefault(labels, {}).update(points)
                store.write(batch_of({labels: sorted(points.items()) for labels, points in batch.items()}))
            elif what == "ask":
                for query in details:
                    assert_agree(engine, kept, query, now_ms)
            else:
                now_ms += 20 * 60_000
                getattr(store, what)(now_ms)
        for query in QUERIES:
            assert_agree(engine, kept, query, now_ms)
        store.write(batch_of({series(0): [(now_ms, 1.0)]}))
        assert [query for query in QUERIES if engine.instant_at_once(query, now_ms)] == []
