"""Whole answers: tiles of many series, stores of both kinds, value types, the fakes for others."""

import numpy as np
import pytest
from ninesight_query import EngineSettings, LocalEngine, Scalar, String, Vector, labels_of
from ninesight_query.contract import Engine, Ragged
from ninesight_query.errors import ExecutionError, UnavailableError
from ninesight_query.histogram_columns import to_columns
from ninesight_query.histogram_observe import observe
from ninesight_query.parse import parse_selector
from ninesight_query.testing import Asked, ScriptedEngine, engine_over, matrix_of, store_over, vector_of
from ninesight_store.contract import STALE_NAN, Batch, SeriesTable
from ninesight_store.local import LocalStore
from ninesight_store.memory import MemoryStore

RANGE_QUERIES = [
    "m",
    "rate(m[5m])",
    "max_over_time(m[7m])",
    "sum_over_time(m[6m])",
    "deriv(m[6m])",
    "quantile_over_time(0.9, m[6m])",
    "stddev_over_time(m[6m])",
    "changes(m[6m])",
    "predict_linear(m[6m], 30)",
]


def many_series(store, targets=5, per_target=30):
    """Write counters with resets, gaps and stale markers; the series of a target share their timestamps."""
    rng = np.random.default_rng(7)
    for target in range(targets):
        table = SeriesTable(
            tuple(labels_of("m", {"k": str(k), "target": str(target)}) for k in range(per_target))
        )
        times = np.arange(120) * 15_000 + int(rng.integers(0, 15_000))
        numbers = np.cumsum(rng.integers(0, 9, (per_target, 120)), axis=1).astype(float)
        numbers[:, 60:] -= numbers[:, 59:60] * (rng.random((per_target, 1)) < 0.5)
        numbers[3, 40] = STALE_NAN
        numbers[4, 50] = np.nan
        keep = np.ones((per_target, 120), bool)
        keep[5, 30:90] = False
        keep[6, 100:] = False
        rows, columns = np.nonzero(keep)
        store.write(Batch(table, rows.astype(np.int32), times[columns], numbers[rows, columns]))
    return store


@pytest.mark.parametrize("query", RANGE_QUERIES)
def test_series_do_not_depend_on_their_neighbours(query, monkeypatch):
    """A series gives the same whether it shares a tile with others, is cut into one, or is asked for alone."""
    engine = LocalEngine(many_series(MemoryStore()))
    matrix = engine.range(query, 300_000, 1_800_000, 60_000).value
    assert len(matrix.labels) == 150
    monkeypatch.setattr("ninesight_query.samples.CELLS_MAX", 500)
    again = engine.range(query, 300_000, 1_800_000, 60_000).value
    np.testing.assert_allclose(again.values, matrix.values, rtol=1e-9, atol=1e-12, equal_nan=True)
    for row in (0, 33, 34, 35, 36, 149):
        own = dict(matrix.labels[row])
        selector = f'm{{k="{own["k"]}",target="{own["target"]}"}}'
        alone = engine.range(
            query.replace("m[", f"{selector}[") if "[" in query else selector, 300_000, 1_800_000, 60_000
        )
        assert (alone.value.present[0] == matrix.present[row]).all()
        here = matrix.present[row]
        np.testing.assert_allclose(
            alone.value.values[0][here], matrix.values[row][here], rtol=1e-9, atol=1e-12, equal_nan=True
        )


def test_both_stores_give_the_same(tmp_path):
    """Over the durable store every query answers as over the one in memory, histograms included.

    Sums may round otherwise: which series lie in one tile depends on the store.
    """
    durable = LocalStore(f"sqlite:///{tmp_path}/store.db")
    try:
        stores = [many_series(MemoryStore(), 2, 8), many_series(durable, 2, 8)]
        points = [observe(np.linspace(0.01, 1.0, 10 * (k + 1)), schema=3) for k in range(20)]
        columns = to_columns(points, [k * 30_000 for k in range(20)], [0] * 20)
        for store in stores:
            store.write(Batch(SeriesTable((labels_of("h", {"job": "a"}),)), histograms=columns))
        engines = [LocalEngine(store) for store in stores]
        for query in [
            *RANGE_QUERIES,
            "histogram_quantile(0.9, rate(h[5m]))",
            "sum by (target) (rate(m[5m]))",
        ]:
            first, second = (engine.range(query, 0, 1_500_000, 60_000).value for engine in engines)
            assert first.labels == second.labels
            assert len(first.labels) > 0
            assert (first.present == second.present).all()
            np.testing.assert_allclose(
                first.values[first.present], second.values[second.present], rtol=1e-10, atol=1e-12
            )
        names = [engine.label_names((), 0, 1_500_000) for engine in engines]
        assert names[0] == names[1] == ("__name__", "job", "k", "target")
    finally:
        durable.close()


LOAD = """
load 1m
  up{job="a"} 1 2 3 stale 5 _ _ NaN
  up{job="b"} 4x7
"""


def test_the_value_types():
    """Numbers, strings, vectors and raw samples each come as their own class."""
    engine = engine_over(LOAD)
    assert engine.instant("1 + 1", 5).value == Scalar(5, 2.0)
    assert engine.instant('"x"', 5).value == String(5, "x")
    vector = engine.instant("up", 120_000).value
    assert isinstance(vector, Vector)
    assert vector.labels == (labels_of("up", {"job": "a"}), labels_of("up", {"job": "b"}))
    assert vector.values.tolist() == [3.0, 4.0]
    raw = engine.instant("up[5m]", 420_000).value
    assert isinstance(raw, Ragged)
    assert [times.tolist() for times in raw.timestamps] == [
        [240_000, 420_000],
        [180_000, 240_000, 300_000, 360_000, 420_000],
    ]
    assert raw.values[0][0] == 5.0
    assert np.isnan(raw.values[0][1])


def test_staleness_and_lookback():
    """A stale marker ends a series at once; a sample exactly 5 minutes old is gone."""
    engine = engine_over(LOAD)
    assert engine.instant('up{job="a"}', 180_000).value.labels == ()
    assert engine.instant('up{job="a"}', 239_999).value.labels == ()
    assert engine.instant('up{job="b"}', 719_999).value.values.tolist() == [4.0]
    assert engine.instant('up{job="b"}', 720_000).value.labels == ()
    long = engine_over(LOAD, EngineSettings(lookback_ms=600_000))
    assert long.instant('up{job="b"}', 720_000).value.values.tolist() == [4.0]


def test_an_instant_query_without_a_time_is_now():
    """The clock is an argument."""
    engine = LocalEngine(store_over(LOAD), now_ms=lambda: 60_000)
    assert engine.instant("time()").value.value == 60.0


def test_order_of_results():
    """By labels, unless the query orders by value."""
    engine = engine_over(LOAD)
    assert [dict(labels)["job"] for labels in engine.instant("sort_desc(up)", 60_000).value.labels] == [
        "b",
        "a",
    ]
    assert [dict(labels)["job"] for labels in engine.instant("topk(2, up)", 60_000).value.labels] == [
        "b",
        "a",
    ]
    assert [dict(labels)["job"] for labels in engine.instant("bottomk(2, up) * 1", 60_000).value.labels]
    assert [
        dict(labels)["job"] for labels in engine.range("topk(2, up)", 0, 60_000, 60_000).value.labels
    ] == ["a", "b"]


def test_delayed_name_removal_is_a_switch():
    """Early removal makes the names of two metrics clash; late removal lets label_replace save them."""
    load = "load 1m\n  a 1x5\n  b 2x5"
    query = 'label_replace(abs({__name__=~"a|b"}), "was", "$1", "__name__", "(.*)")'
    with pytest.raises(ExecutionError, match="same labelset"):
        engine_over(load).instant(query, 60_000)
    late = engine_over(load, EngineSettings(delayed_name_removal=True))
    assert late.instant(query, 60_000).value.labels == ((("was", "a"),), (("was", "b"),))
    assert late.capabilities.delayed_name_removal


def test_series_and_labels():
    """The catalogue answers from the source; several selectors are joined."""
    engine = engine_over(LOAD)
    a, b = parse_selector('up{job="a"}'), parse_selector('{job="b"}')
    assert engine.series([a, b, a], 0, 600_000) == (
        labels_of("up", {"job": "a"}),
        labels_of("up", {"job": "b"}),
    )
    assert engine.label_values("job", [b], 0, 600_000) == ("b",)
    assert engine.label_values("nothing", [], 0, 600_000) == ()
    assert engine.metadata() == ()


def test_each_selector_is_read_once():
    """Selectors of equal matchers over touching spans cost one select."""
    asked = []

    class Counting(MemoryStore):
        def select(self, matchers, start_ms, end_ms):
            asked.append((start_ms, end_ms))
            return super().select(matchers, start_ms, end_ms)

    engine = LocalEngine(store_over(LOAD, Counting()))
    engine.range(
        "rate(up[5m]) / rate(up[1m]) + up + max_over_time(up[2m] offset 2m)", 300_000, 600_000, 60_000
    )
    assert asked == [(1, 600_000)]
    asked.clear()
    engine.range("up - up offset 1d", 86_400_000, 86_460_000, 60_000)
    assert len(asked) == 2


def test_a_scripted_engine_answers_and_records():
    """Queries give what the script says; unknown ones are named; errors are raised."""
    engine: Engine = ScriptedEngine(
        {"up": vector_of(5, {labels_of("up"): 1.0}), "half": 0.5, "gone": UnavailableError("down")},
        series=[labels_of("up", {"job": "a"}), labels_of("down")],
    )
    assert engine.instant("up", 5).value.values.tolist() == [1.0]
    assert engine.instant("half", 5).value.values.tolist() == [0.5]
    assert engine.range("half", 0, 20, 10).value.values.tolist() == [[0.5, 0.5, 0.5]]
    with pytest.raises(UnavailableError, match="down"):
        engine.instant("gone", 0)
    with pytest.raises(ExecutionError, match="holds no answer for 'other'"):
        engine.instant("other", 0)
    assert engine.asked[0] == Asked("up", 5, 5, 0)
    assert engine.series([parse_selector("up")], 0, 1) == (labels_of("up", {"job": "a"}),)
    assert engine.label_names([], 0, 1) == ("__name__", "job")
    assert engine.label_values("job", [], 0, 1) == ("a",)
    matrix = matrix_of(0, 10, {(): [1.0, None]})
    assert matrix.present.tolist() == [[True, False]]
