"""Long windows are answered from bins, and the answers are those of the samples."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_query import EngineSettings, Histogram, LimitError, LocalEngine
from ninesight_query.bin_functions import BIN_FUNCTIONS
from ninesight_query.histogram_columns import from_columns, to_columns
from ninesight_query.histogram_observe import observe
from ninesight_query.histogram_reset import detect_reset
from ninesight_query.promqltest.compare import histograms_match
from ninesight_query.promqltest.worlds import Scattered
from ninesight_query.settings import Rollups
from ninesight_store import ROLLUP_MS, STALE_NAN, Batch, LocalStore, SeriesTable, labels_of
from ninesight_store.contract import ResetHint
from ninesight_store.histograms import take_histograms
from ninesight_store.memory import MemoryStore
from ninesight_store.testing import batch_of

HOUR_MS = 3_600_000
DAYS_MS = 3 * 24 * HOUR_MS
START_MS = 1_700_000_000_000 // DAYS_MS * DAYS_MS
GRID = (START_MS, START_MS + DAYS_MS, 4 * ROLLUP_MS)
NEVER, ALWAYS = EngineSettings(rollups=Rollups.NEVER), EngineSettings(rollups=Rollups.ALWAYS)


class Watched:
    """A store that counts how it is read; its rollups leave out the histogram points that a store need not keep."""

    def __init__(self, store):
        self.store, self.rolled, self.selected = store, 0, 0

    def select(self, matchers, start_ms, end_ms):
        self.selected += 1
        return self.store.select(matchers, start_ms, end_ms)

    def rollup(self, matchers, start_ms, end_ms, edges, columns):
        self.rolled += 1
        return thinned(self.store.rollup(matchers, start_ms, end_ms, edges, columns), edges)


def thinned(rollup, edges):
    """Keep of each bin the first and the last point, and both points around what may be a reset."""
    points, stale = rollup.histograms, rollup.weights == 0
    values = from_columns(points)
    kept, weights = [], []
    for low, high in zip(rollup.histogram_offsets[:-1], rollup.histogram_offsets[1:], strict=True):
        good = [k for k in range(low, high) if not stale[k]]
        times = points.timestamps[good]
        cells = list(
            zip((-(-times // ROLLUP_MS)).tolist(), np.searchsorted(edges, times).tolist(), strict=True)
        )
        wanted = {k for k in range(low, high) if stale[k]}
        for at, k in enumerate(good):
            first, last = (
                at == 0 or cells[at - 1] != cells[at],
                at + 1 == len(good) or cells[at + 1] != cells[at],
            )
            if first or last or values[k].hint is not ResetHint.UNKNOWN:
                wanted.add(k)
            if at and (
                detect_reset(values[k], values[good[at - 1]])
                or values[k].schema != values[good[at - 1]].schema
            ):
                wanted |= {k, good[at - 1]}
        before = -1
        for k in sorted(wanted):
            kept.append(k)
            weights.append(0 if stale[k] else sum(before < g <= k for g in good))
            before = before if stale[k] else k
    kept = np.array(kept, np.int64)
    return replace(
        rollup,
        histograms=take_histograms(points, kept),
        histogram_offsets=np.searchsorted(kept, rollup.histogram_offsets),
        weights=np.array(weights, np.int64),
    )


def cells(value):
    """Every point by (labels, time)."""
    out = {
        (name, int(time)): float(value.values[row, column])
        for row, name in enumerate(value.labels)
        for column, time in enumerate(value.timestamps)
        if value.present[row, column]
    }
    return out | {
        (value.labels[row], int(value.timestamps[step])): h for (row, step), h in value.histograms.items()
    }


def assert_equal_cells(full, binned, query):
    """Floats to nine digits, histograms with their hints."""
    assert full.keys() == binned.keys(), query
    for key, expected in full.items():
        if isinstance(expected, float):
            np.testing.assert_allclose(
                binned[key], expected, rtol=1e-9, atol=0, equal_nan=True, err_msg=f"{query} {key}"
            )
        else:
            assert histograms_match(expected, binned[key], with_hint=True), (query, key)


def both(store, query, grid=GRID, **switches):
    """Ask with and without bins, compare everything, and return how the source was read."""
    watched = Watched(store)
    full = LocalEngine(store, replace(NEVER, **switches)).range(query, *grid)
    binned = LocalEngine(watched, replace(ALWAYS, **switches)).range(query, *grid)
    assert_equal_cells(cells(full.value), cells(binned.value), query)
    assert (full.warnings, full.infos) == (binned.warnings, binned.infos), query
    return watched


# --- data --------------------------------------------------------------------------------------------------


def long_series(seed, kind, dense):
    """Three days of one series, minutes apart (`dense`: half of one): gaps of hours, resets, stale markers, samples on edges of bins."""
    chance = random.Random(seed)
    begin, end = sorted(chance.sample(range(0, DAYS_MS, ROLLUP_MS), 2))
    begin, end = (0, DAYS_MS) if chance.random() < 0.6 else (begin, end)
    step_ms, jitter_ms = chance.choice([60_000, 300_000, 420_000]), chance.choice([0, 0, 900])
    step_ms = 30_000 if dense else step_ms
    oddness = chance.choice([0.0, 0.0, 0.002, 0.05])
    time, level, out = START_MS + begin + chance.choice([0, 1, 4_321]), 0.0, []
    while time < START_MS + end:
        level = 0.0 if chance.random() < 0.01 else level + chance.choice([0, 1, 7, 0.1])
        value = level if kind == "counter" else kind * chance.random() + chance.choice([0, 0, 5])
        odd = chance.random() < oddness
        out.append(
            (
                time + chance.randint(0, jitter_ms),
                chance.choice([math.nan, math.inf, STALE_NAN]) if odd else value,
            )
        )
        time += step_ms * chance.choice([1] * 60 + [2, 9, 90])
    return out


def long_histograms(seed, dense):
    """Three days of a native histogram, 5 min apart (`dense`: 30 s): it grows, begins anew, goes stale; some points say what they are."""
    chance = random.Random(seed)
    time, seen, out = START_MS + chance.choice([0, 1]), [], []
    odd = chance.choice([0, 0, 1])
    while time < START_MS + DAYS_MS:
        event = chance.randrange(60)
        seen = [] if event == 0 else seen
        seen = [*seen, chance.uniform(0.01, 50)] if chance.random() < 0.5 else seen
        point = observe(seen, 1 if odd and event == 2 else 2) if seen else Histogram(schema=2)
        hints = [ResetHint.GAUGE, ResetHint.NOT_RESET, ResetHint.RESET]
        point = replace(point, hint=chance.choice(hints)) if event == 3 else point
        out.append((time, Histogram(sum=STALE_NAN) if event == 1 else point))
        time += (30_000 if dense else 300_000) * chance.choice([1] * 40 + [9, 60])
    return out


def store_of(seed, store=None, *, dense=False):
    """Counters, gauges of one sign and of both, classic buckets; native histograms with a mixed series."""
    store = store or MemoryStore()
    kinds = {"c_total": "counter", "g": 1.0, "wild": -1.0}
    floats = {
        labels_of(name, {"i": str(i), "le": str(i)}): long_series(seed + i + 7 * number, kind, dense)
        for number, (name, kind) in enumerate(kinds.items())
        for i in range(3)
    }
    store.write(batch_of(floats))
    times, points, rows = [], [], []
    table = [labels_of(name, {"i": str(i)}) for name in ("h", "g") for i in range(2)]
    for row in range(2 + seed % 2):
        for time, point in long_histograms(seed + row, dense):
            times.append(time)
            points.append(point)
            rows.append(row)
    store.write(Batch(SeriesTable(tuple(table)), histograms=to_columns(points, times, rows)))
    return store


FLOATS = [
    *(f"{name}(%s[{window}])" for name in sorted(BIN_FUNCTIONS) for window in ("1h", "15m", "40m", "1d")),
    "%s",
    "timestamp(%s)",
    "sum without (i) (%s)",
    "%s offset 2h",
    "increase(%s[6h] @ end())",
    "max_over_time(%s[1d] @ 1699920000 offset 7m)",
    "min_over_time(rate(%s[15m])[6h:15m])",
    "sum_over_time(%s[1h:15m])",
    "rate(%s[1h]) + quantile_over_time(0.3, %s[1h])",
]
HISTOGRAMS = [
    "h",
    "g",
    "rate(h[1h])",
    "increase(h[1d])",
    "delta(h[40m])",
    "rate(g[1h])",
    "last_over_time(h[3h])",
    "first_over_time(h[3h])",
    "count_over_time(h[1h])",
    "sum_over_time(h[1h])",
    "ts_of_first_over_time(h[1h])",
    "max_over_time(g[1h])",
    "present_over_time(h[1h])",
    "timestamp(h)",
    "histogram_count(h)",
    "histogram_count(increase(h[6h]))",
    "histogram_quantile(0.9, sum(rate(h[1h])))",
    "histogram_quantile(0.9, sum by (le) (rate(c_total[1h])))",
]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 32),
    query=st.sampled_from(FLOATS),
    name=st.sampled_from(["c_total", "g", "wild"]),
)
def test_bins_answer_as_samples_do(seed, query, name):
    """Every function that bins can answer, over resets, gaps, stale markers, NaN and infinities."""
    watched = both(store_of(seed), query.replace("%s", name))
    assert watched.rolled


@pytest.mark.parametrize("query", HISTOGRAMS)
@settings(max_examples=6)
@given(seed=st.integers(0, 1 << 32))
def test_histograms_of_a_rollup_answer_as_all_of_them(query, seed):
    """The points that a rollup keeps are enough for rates, quantiles and the newest; for the rest all are read."""
    both(store_of(seed), query)


@pytest.mark.parametrize("seed", range(6))
def test_what_a_store_keeps_of_bins_answers_as_its_samples(seed, tmp_path):
    """Merged, sealed, late and hot: as a file has them after days, by the store's own rollups."""
    chance = random.Random(seed)
    with LocalStore(f"sqlite:///{tmp_path}/one.db") as store:
        # Of few samples in a bin nothing is kept.
        store_of(seed, Scattered(store), dense=True)
        late = [(START_MS + chance.randrange(DAYS_MS), 3.5) for _ in range(20)]
        store.write(batch_of({labels_of("g", {"i": "1", "le": "1"}): late}))
        names = ("c_total", "g", "wild")
        queries = [query.replace("%s", name) for query in FLOATS for name in names] + HISTOGRAMS
        for query in chance.sample(queries, 25):
            for rollups in (Rollups.ALWAYS, Rollups.WORTHWHILE):
                full, binned = (
                    LocalEngine(store, EngineSettings(rollups=r)).range(query, *GRID)
                    for r in (Rollups.NEVER, rollups)
                )
                assert_equal_cells(cells(full.value), cells(binned.value), query)
                assert (full.warnings, full.infos) == (binned.warnings, binned.infos), query


@pytest.mark.parametrize("name", sorted(BIN_FUNCTIONS))
def test_each_function_is_answered_without_samples(name):
    """Clean data needs no sample at all: a counter from bins alone, in any function."""
    store = MemoryStore()
    store.write(
        batch_of({labels_of("c_total"): [(START_MS + k * 60_000, float(k % 700)) for k in range(4320)]})
    )
    watched = both(store, f"{name}(c_total[1h])")
    assert (watched.rolled, watched.selected) == (1, 0)


@pytest.mark.parametrize(
    "values",
    [
        [1e100, 1.0, -1e100, 3.0],
        [1.7e308, 1.7e308, -1.7e308, 1.0],
        [1e6, -1e6, 1e-4, 0.0],
        [math.inf, -math.inf, 1.0, 2.0],
        [math.inf, 1.0, -2.0, 3.0],
        [math.nan, 1.0, 2.0, -3.0],
    ],
)
@pytest.mark.parametrize("name", ["sum_over_time", "avg_over_time"])
def test_sums_that_cancel_are_not_taken_from_bins(values, name):
    """Digits that the sum of a bin has lost are read again from the samples."""
    store = MemoryStore()
    for shift in (60_000, 600_000):
        samples = [(START_MS + 1 + k * shift, value) for k, value in enumerate(values)]
        store.write(batch_of({labels_of("g", {"shift": str(shift)}): samples}))
    both(store, f"{name}(g[1h])")


# --- what is read ------------------------------------------------------------------------------------------


def asked(query, grid, **switches):
    """How a source is read with the default settings."""
    store = MemoryStore()
    store.write(batch_of({labels_of("c_total"): [(START_MS + k * 60_000, float(k)) for k in range(4320)]}))
    watched = Watched(store)
    engine = LocalEngine(watched, EngineSettings(**switches))
    if isinstance(grid, int):
        engine.instant(query, grid)
    else:
        engine.range(query, *grid)
    return watched.rolled, watched.selected


END_MS = START_MS + DAYS_MS


@pytest.mark.parametrize(
    ("query", "grid", "binned"),
    [
        ("rate(c_total[1h])", (START_MS, END_MS, ROLLUP_MS), True),
        ("c_total", (START_MS, END_MS, ROLLUP_MS), True),
        ("timestamp(c_total)", (START_MS, END_MS, 2 * ROLLUP_MS), True),
        ("rate(c_total[1h])", (START_MS + 1, END_MS + 1, ROLLUP_MS), False),
        ("rate(c_total[1h])", (START_MS, END_MS, ROLLUP_MS + 1_000), False),
        ("rate(c_total[5m])", (START_MS, END_MS, ROLLUP_MS), False),
        ("rate(c_total[1h])", (END_MS - 24 * HOUR_MS, END_MS, ROLLUP_MS), False),
        ("increase(c_total[3d])", END_MS + 17, True),
        ("increase(c_total[3d] @ 1700000000.123)", (START_MS, END_MS, 31_000), True),
        ("increase(c_total[1d])", END_MS, False),
        ("c_total", END_MS, False),
        ("changes(c_total[3d])", END_MS, False),
        ("increase(c_total[3d] anchored)", END_MS, False),
        ("sum_over_time(rate(c_total[15m])[3d:15m])", END_MS, True),
        ("sum_over_time(rate(c_total[5m])[3d:1m])", END_MS, False),
    ],
)
def test_bins_are_read_where_they_pay(query, grid, binned):
    """Over long spans, where few windows end between bins, of functions that bins can answer."""
    assert asked(query, grid) == ((1, 0) if binned else (0, 1))
    assert asked(query, grid, use_start_timestamps=True)[0] == 0
    assert asked(query, grid, rollups=Rollups.NEVER)[0] == 0


def test_a_query_reads_each_way_once():
    """Selectors of one metric share their bins, with the edges of all of them; what needs samples reads them."""
    both_ways = "increase(c_total[3d]) / increase(c_total[2d]) + changes(c_total[3d]) + resets(c_total[2d])"
    assert asked(both_ways, END_MS + 17) == (1, 1)


def test_statistics_count_bins():
    """A bin counts as one sample; the samples in it were not loaded."""
    store = MemoryStore()
    store.write(batch_of({labels_of("c_total"): [(START_MS + k * 60_000, float(k)) for k in range(4320)]}))
    grid = (START_MS, END_MS, ROLLUP_MS)
    full, binned = (LocalEngine(store, one).range("rate(c_total[1h])", *grid) for one in (NEVER, ALWAYS))
    assert (full.stats.samples, binned.stats.samples) == (4320, 289)
    with pytest.raises(LimitError, match="samples_max"):
        LocalEngine(store, EngineSettings(samples_max=200)).range("rate(c_total[1h])", *grid)
