"""The simulated past: labelled throughout, replayable, and consistent with itself."""

import pytest
from ninesight_query.engine import LocalEngine
from ninesight_store.testing import MemoryStore
from ninesight_suite.demo.history import HistorySettings, write_history

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def engine():
    store = MemoryStore()
    written = write_history(store, HistorySettings(START_MS, START_MS + HOUR_MS))
    assert written > 240 * 20
    return LocalEngine(store)


def vector(engine, query):
    return engine.instant(query, START_MS + HOUR_MS - 15_000).value


def test_every_series_says_that_it_is_simulated(engine):
    """There is no series without simulated="true"."""
    assert vector(engine, 'count({__name__=~".+", simulated="true"})').values[0] > 20
    assert len(vector(engine, '{__name__=~".+", simulated!="true"}').labels) == 0


def test_counters_and_histograms_tell_the_same_story(engine):
    """As many observations as requests; a request takes about as long as its stages."""
    requests = vector(engine, "sum by (model) (increase(model_requests_total[30m]))")
    counts = vector(engine, "histogram_count(sum by (model) (increase(model_request_duration_seconds[30m])))")
    assert requests.values == pytest.approx(counts.values)
    whole = vector(engine, "histogram_avg(sum by (model) (rate(model_request_duration_seconds[10m])))")
    parts = vector(
        engine,
        "sum by (model) (histogram_avg(sum by (model, stage) (rate(model_stage_duration_seconds[10m]))))",
    )
    assert whole.values == pytest.approx(parts.values, rel=0.1)


def test_the_incident_is_there(engine):
    """Two thirds into the past durations treble for ten minutes."""
    query = 'histogram_quantile(0.5, sum(rate(model_request_duration_seconds{model="ranker-heavy"}[4m])))'
    quiet = engine.instant(query, START_MS + HOUR_MS // 3).value.values[0]
    broken = engine.instant(query, START_MS + HOUR_MS * 2 // 3 + 420_000).value.values[0]
    assert broken / quiet == pytest.approx(3.0, rel=0.1)


def test_the_same_seed_writes_the_same_past():
    """A history can be written again, batch for batch."""

    class Digest:
        def __init__(self):
            self.seen = []

        def write(self, batch):
            self.seen.append((batch.values.tobytes(), batch.histograms.positive_count.tobytes()))

    first, second = Digest(), Digest()
    for sink in (first, second):
        write_history(sink, HistorySettings(START_MS, START_MS + 900_000))
    assert first.seen == second.seen
