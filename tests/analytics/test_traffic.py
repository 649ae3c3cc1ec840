"""Traffic per model through the real engine."""

import pytest
from ninesight_analytics import traffic
from ninesight_analytics.contract import NO_DATA, Basis, Scope, Window
from ninesight_analytics.errors import WindowError
from ninesight_analytics.testing import ModelTraffic
from ninesight_query.contract import labels_of
from ninesight_store.testing import Point

START = 1_700_000_000_000
WINDOW = Window(START, START + 300_000)
# A sample at either end of the window (its start is exclusive): increase needs no extrapolation but 1 ms.
TIMES = (START + 1, *range(START + 15_000, START + 300_001, 15_000))
AT = START + 100_000


def served(model="ranker", **keys):
    made = ModelTraffic(model, **keys)
    made.observe(AT, [0.01] * 80, predictions=160)
    made.observe(AT, [0.5] * 10, outcome="error", predictions=0)
    made.observe(AT, [2.0] * 4, outcome="timeout", predictions=0)
    made.observe(AT, [0.001] * 5, outcome="shed", predictions=0)
    made.observe(AT, [0.001] * 1, outcome="cancelled", predictions=0)
    return made


def gauges(**values):
    return {
        labels_of(metric, {"model": "ranker", "instance": "node-1:8000"}): [(at, value) for at in TIMES]
        for metric, value in values.items()
    }


def test_a_row_says_how_much_how_well_and_how_fast(world):
    """Every figure of one model, checked against what was served."""
    world.serve(served(), times=TIMES)
    world.add(gauges(model_requests_in_flight=3.0, model_queue_depth=7.0))
    (row,) = traffic.models(world.engine, WINDOW)
    assert row.key == ("ranker",)
    assert row.labels == {"model": "ranker"}
    assert row.request_rate.value == pytest.approx(100 / 300, rel=1e-5)
    assert row.request_rate.basis is Basis.COUNTER
    assert row.prediction_rate.value == pytest.approx(160 / 300, rel=1e-5)
    assert {name: rate.count for name, rate in row.outcomes.items()} == pytest.approx(
        {"ok": 80, "error": 10, "timeout": 4, "shed": 5, "cancelled": 1}, rel=1e-5
    )
    assert row.error_ratio.value == pytest.approx(0.14, rel=1e-5), "shed and cancelled are no errors"
    # R: prop.test(14, 100, correct = FALSE)
    assert (row.error_ratio.lower, row.error_ratio.upper) == pytest.approx((0.08529, 0.22137), abs=1e-4)
    assert row.latency[0.5].lower < 0.01 <= row.latency[0.5].upper
    assert row.latency[0.99].lower < 2.0 <= row.latency[0.99].upper
    assert row.latency_mean.value == pytest.approx((0.8 + 5 + 8 + 0.006) / 100)
    assert (row.in_flight.value, row.queue_depth.value) == (3.0, 7.0)
    assert row.in_flight.basis is Basis.GAUGE
    assert not row.simulated


def test_rows_follow_the_asked_labels_and_scope(world):
    """By version and instance, sorted; a scope narrows."""
    world.serve(
        served(version="2"),
        served(version="1"),
        served(version="1", instance="node-2:8000"),
        served("other"),
        times=TIMES,
    )
    by = ("model", "version", "instance")
    assert [row.key for row in traffic.models(world.engine, WINDOW, by=by)] == [
        ("other", "1", "node-1:8000"),
        ("ranker", "1", "node-1:8000"),
        ("ranker", "1", "node-2:8000"),
        ("ranker", "2", "node-1:8000"),
    ]
    (row,) = traffic.models(world.engine, WINDOW, scope=Scope(model="ranker", version="1"))
    assert row.request_rate.count == pytest.approx(200, rel=1e-5)


def test_the_number_of_queries_does_not_grow_with_the_models(world):
    """Six for native histograms, eight where some model has only classic buckets."""
    world.serve(*(served(f"model-{n}") for n in range(12)), times=TIMES)
    assert len(traffic.models(world.engine, WINDOW)) == 12
    assert len(world.engine.queries) == 6
    world.serve(served("old"), times=TIMES, native=False, bounds=(0.1, 1.0))
    world.engine.queries.clear()
    rows = traffic.models(world.engine, WINDOW)
    assert len(world.engine.queries) == 8
    assert {row.key[0]: row.latency[0.5].basis for row in rows}["old"] is Basis.CLASSIC
    assert {row.key[0]: row.latency_mean.value for row in rows}["old"] == pytest.approx(0.13806)


def test_anything_simulated_marks_the_row(world):
    """One simulated instance is enough, and its requests still count."""
    world.serve(served(), served(instance="sim:1", labels={"simulated": "true"}), served("real"), times=TIMES)
    rows = {row.key[0]: row for row in traffic.models(world.engine, WINDOW)}
    assert rows["ranker"].simulated
    assert rows["ranker"].request_rate.count == pytest.approx(200, rel=1e-5)
    assert not rows["real"].simulated


def test_no_traffic_is_no_data_and_never_a_perfect_score(world):
    """A model that is there but idle has a rate of 0 and no error ratio; an unknown one has no row."""
    assert traffic.models(world.engine, WINDOW) == ()
    idle = ModelTraffic("idle")
    idle.observe(START - 1_000_000, [0.1] * 3)
    world.serve(idle, times=TIMES)
    (row,) = traffic.models(world.engine, WINDOW)
    assert row.request_rate.value == 0.0
    assert row.error_ratio == NO_DATA
    assert row.latency[0.5] == NO_DATA
    assert row.latency_mean == NO_DATA
    assert row.in_flight == NO_DATA


def test_a_model_seen_once_is_shown_without_figures_it_cannot_have(world):
    """One sample has no increase, but the gauge is known."""
    world.add({labels_of("model_queue_depth", {"model": "new"}): [(START + 299_000, 2.0)]})
    world.serve(ModelTraffic("new"), times=(START + 299_000,))
    (row,) = traffic.models(world.engine, WINDOW)
    assert row.queue_depth.value == 2.0
    assert row.request_rate == NO_DATA
    assert row.prediction_rate == NO_DATA


def test_odd_names_are_quoted(world):
    """A model's name may hold quotes, backslashes and braces."""
    name = 'a"b\\c{d}\n'
    world.serve(served(name), times=TIMES)
    (row,) = traffic.models(world.engine, WINDOW, scope=Scope(model=name))
    assert row.key == (name,)


def test_a_window_must_end_after_it_starts():
    """The message holds both ends."""
    with pytest.raises(WindowError, match="must end after it starts, got start_ms=5 and end_ms=5"):
        Window(5, 5)


def test_the_builder_makes_what_it_says():
    """Counters never fall, and a point's buckets hold every request."""
    samples = served().samples(TIMES, point=Point)
    for labels, pairs in samples.items():
        values = [value.count if isinstance(value, Point) else value for _, value in pairs]
        assert values == sorted(values), labels
        if isinstance(pairs[-1][1], Point):
            assert sum(pairs[-1][1].positive.values()) == 100
