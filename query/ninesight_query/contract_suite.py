"""What every `Engine` must do: checks over one fixed set of samples, for any citizen.

    store.write(batch())                          # or open_metrics() for promtool, import_text() for others
    @pytest.mark.parametrize("check", CHECKS)
    def test_contract(check, engine): check(engine)

Each check raises AssertionError. Where dialects differ by nature (`Capabilities.dialect`), only what
both promise is asked. NATIVE_CHECKS need an engine that was given `batch()` with its histograms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from ninesight_store.contract import Batch, Float64, Int64, Labels, Matcher, MatchOp, SeriesTable, labels_of

from ninesight_query.contract import Engine, Matrix, Ragged, Scalar, String, Vector
from ninesight_query.errors import ExecutionError, LimitError, ParseError, QueryError
from ninesight_query.histogram import Histogram
from ninesight_query.histogram_columns import to_columns

__all__ = [
    "BASE_MS",
    "CHECKS",
    "END_MS",
    "NATIVE_CHECKS",
    "Check",
    "batch",
    "import_text",
    "open_metrics",
    "samples",
]

Check = Callable[[Engine], None]

BASE_MS = 1_700_000_000_000
"""Time of the first sample."""
STEP_MS = 15_000
COUNT = 241
END_MS = BASE_MS + (COUNT - 1) * STEP_MS
"""Time of the last sample, an hour later."""
AT_MS = BASE_MS + 1_800_000 + 7_000
"""A moment between two samples: 120 are at or before it, and no edge of a window meets a sample."""
ODD_TEXT = 'a "quoted" \\ line\nbreak },{"metric":{"x":"y"},"values":[ }'

_MODELS = {"a": 3.0, "b": 5.0, "c": 0.5}
_BOUNDS = {"0.1": 2.0, "0.5": 6.0, "1": 8.0, "+Inf": 8.0}
_SHORT = 40


def samples() -> list[tuple[Labels, Int64, Float64]]:
    """Return (series, milliseconds, values): counters, gauges, classic buckets, one odd and one short series."""
    times = BASE_MS + STEP_MS * np.arange(COUNT, dtype=np.int64)
    count = np.arange(COUNT, dtype=np.float64)
    found = []
    for model, slope in _MODELS.items():
        own = {"model": model, "job": "suite"}
        found.append((labels_of("suite_requests_total", own), times, slope * count))
        found.append((labels_of("suite_temperature", own), times, 10.0 * slope + count % 7))
    for bound, slope in _BOUNDS.items():
        own = {"model": "a", "job": "suite", "le": bound}
        found.append((labels_of("suite_seconds_bucket", own), times, slope * count))
    found.append((labels_of("suite_odd", {"text": ODD_TEXT, "job": "suite"}), times, count))
    found.append((labels_of("suite_short", {"job": "suite"}), times[:_SHORT], count[:_SHORT]))
    return sorted(found, key=lambda each: each[0])


def natives() -> list[tuple[Labels, Int64, list[Histogram]]]:
    """Return (series, milliseconds, histograms): one exponential with both signs, one with custom bounds."""
    times = BASE_MS + STEP_MS * np.arange(COUNT, dtype=np.int64)
    run, bounds = np.array([1.0, 2.0, 0.0, 4.0]), (0.25, 0.3, 7.0)
    exponential, custom = [], []
    for k in range(COUNT):
        grown = run * k
        exponential.append(Histogram(3, 10.0 * k, 4.0 * k, 0.001, 1.0 * k, -4, grown, 2, grown[:2] * (2 / 3)))
        custom.append(Histogram(-53, 7.0 * k, 2.0 * k, positive=grown, bounds=bounds))
    return [
        (labels_of("suite_custom", {"job": "suite"}), times, custom),
        (labels_of("suite_native", {"job": "suite"}), times, exponential),
    ]


def batch(*, with_natives: bool = True) -> Batch:
    """Return all of it for a store."""
    floats, points = samples(), natives() if with_natives else []
    lengths = [len(times) for _, times, _ in floats]
    return Batch(
        SeriesTable(tuple(labels for labels, *_ in (*floats, *points))),
        np.repeat(np.arange(len(floats)), lengths).astype(np.int32),
        np.concatenate([times for _, times, _ in floats]),
        np.concatenate([values for _, _, values in floats]),
        to_columns(
            [point for *_, run in points for point in run],
            np.concatenate([np.zeros(0, np.int64), *(times for _, times, _ in points)]),
            np.repeat(len(floats) + np.arange(len(points)), COUNT).astype(np.int32),
        ),
    )


def _lines(unit_ms: int) -> list[str]:
    lines = []
    for labels, times, values in samples():
        own = [(key, value) for key, value in labels if key != "__name__"]
        pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in own)
        head = f"{dict(labels)['__name__']}{{{pairs}}}"
        lines += [
            f"{head} {value!r} {time / unit_ms:.{3 if unit_ms > 1 else 0}f}"
            for time, value in zip(times.tolist(), values.tolist(), strict=True)
        ]
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def open_metrics() -> str:
    """Return the floats for `promtool tsdb create-blocks-from openmetrics`."""
    return "\n".join([*_lines(1000), "# EOF", ""])


def import_text() -> str:
    """Return the floats in the text format with milliseconds."""
    return "\n".join([*_lines(1), ""])


def _vector(engine: Engine, query: str, at_ms: int = AT_MS) -> dict[Labels, float]:
    value = engine.instant(query, at_ms).value
    assert isinstance(value, Vector), value
    assert value.timestamp_ms == at_ms
    assert len(set(value.labels)) == len(value.labels) == len(value.values)
    return dict(zip(value.labels, value.values.tolist(), strict=True))


def _matrix(engine: Engine, query: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
    value = engine.range(query, start_ms, end_ms, step_ms).value
    assert isinstance(value, Matrix), value
    assert value.timestamps.tolist() == list(range(start_ms, end_ms + 1, step_ms))
    assert value.values.shape == value.present.shape == (len(value.labels), len(value.timestamps))
    assert list(value.labels) == sorted(value.labels)
    return value


def _model(labels: Labels) -> str:
    return dict(labels).get("model", "")


def _raises(kind: type[QueryError], ask: Callable[[], object]) -> str:
    raised: QueryError | None = None
    try:
        ask()
    except QueryError as error:
        raised = error
    assert isinstance(raised, kind), f"{kind.__name__} is due, got {type(raised).__name__}: {raised}"
    return str(raised)


def check_capabilities(engine: Engine) -> None:
    """An engine says what it is, always the same."""
    can = engine.capabilities
    assert can.name
    assert can.dialect in ("promql", "metricsql")
    assert engine.capabilities == can


def check_instant_vector(engine: Engine) -> None:
    """A selector gives each series' newest sample, sorted by labels, with its name."""
    value = engine.instant("suite_temperature", AT_MS).value
    assert isinstance(value, Vector)
    assert list(value.labels) == sorted(value.labels)
    assert [_model(labels) for labels in value.labels] == ["a", "b", "c"]
    assert all(("__name__", "suite_temperature") in labels for labels in value.labels)
    assert value.values.tolist() == [10.0 * slope + 120 % 7 for slope in _MODELS.values()]
    assert value.timestamps is None


def check_sorted_results(engine: Engine) -> None:
    """The order that a query asks for is kept, any other answer is sorted by labels."""
    for query, models in (
        ("sort(suite_requests_total)", "cab"),
        ("sort_desc(suite_requests_total)", "bac"),
        ("topk(2, suite_requests_total)", "ba"),
        ("suite_requests_total > 100", "ab"),
    ):
        assert [_model(labels) for labels in _vector(engine, query)] == list(models), query


def check_scalar_and_string(engine: Engine) -> None:
    """A scalar is a Scalar and a string a String, at the asked time."""
    assert engine.instant("1 + 1", AT_MS).value == Scalar(AT_MS, 2.0)
    assert engine.instant("time()", AT_MS).value == Scalar(AT_MS, AT_MS / 1000)
    assert engine.instant("scalar(sum(suite_requests_total))", AT_MS).value == Scalar(AT_MS, 120 * 8.5)
    missing = engine.instant("scalar(suite_nothing)", AT_MS).value
    assert isinstance(missing, Scalar)
    assert math.isnan(missing.value)
    assert engine.instant('"some text"', AT_MS).value == String(AT_MS, "some text")


def check_range_selector(engine: Engine) -> None:
    """`metric[1m]` gives the samples themselves with their own times."""
    value = engine.instant('suite_requests_total{model="a"}[1m]', AT_MS).value
    assert isinstance(value, Ragged)
    assert [_model(labels) for labels in value.labels] == ["a"]
    assert value.timestamps[0].tolist() == [BASE_MS + k * STEP_MS for k in (117, 118, 119, 120)]
    assert value.values[0].tolist() == [351.0, 354.0, 357.0, 360.0]


def check_nothing_found(engine: Engine) -> None:
    """No series is an empty answer, never an error; a range keeps its grid."""
    assert _vector(engine, "suite_nothing") == {}
    assert _vector(engine, "suite_temperature", BASE_MS - 3_600_000) == {}
    assert len(_matrix(engine, "suite_nothing", AT_MS, AT_MS + 60_000, 10_000).labels) == 0


def check_grid(engine: Engine) -> None:
    """A range comes back at start, start+step, ... <= end, whatever start and step are."""
    for start_ms, step_ms in ((AT_MS + 123, 33_300), (AT_MS, 1_000), (AT_MS, 60_001), (AT_MS, 600_000)):
        value = _matrix(engine, 'suite_requests_total{model="b"}', start_ms, start_ms + 600_000, step_ms)
        assert value.present.all()
        assert value.values[0].tolist() == [
            5.0 * ((at - BASE_MS) // STEP_MS) for at in value.timestamps.tolist()
        ]


def check_absent_points(engine: Engine) -> None:
    """After a series ended (and the lookback passed) its points are absent, not zero."""
    last = BASE_MS + (_SHORT - 1) * STEP_MS
    value = _matrix(engine, "suite_short", last - 61_000, last + 899_000, 60_000)
    assert value.present[0, :2].all()
    assert not value.present[0, 7:].any()
    assert value.values[0, :2].tolist() == [_SHORT - 6, _SHORT - 2]


def check_scalar_range(engine: Engine) -> None:
    """A scalar over a range is one row without labels."""
    value = _matrix(engine, "time() * 2", AT_MS, AT_MS + 50_000, 10_000)
    assert value.labels == ((),)
    np.testing.assert_allclose(value.values[0], value.timestamps / 500.0, rtol=1e-12)


def check_functions(engine: Engine) -> None:
    """Rates, aggregation, joins and quantiles of steady series are the same in every dialect."""
    for query, expected in (
        ("sum by (model) (rate(suite_requests_total[5m]))", {"a": 3 / 15, "b": 5 / 15, "c": 0.5 / 15}),
        ("avg_over_time(suite_temperature[105s])", {"a": 33.0, "b": 53.0, "c": 8.0}),
        ("suite_temperature > 30", {"a": 31.0, "b": 51.0}),
        (
            "suite_requests_total / on (model, job) group_left () suite_requests_total",
            dict.fromkeys("abc", 1.0),
        ),
        ("histogram_quantile(0.5, sum by (model, le) (rate(suite_seconds_bucket[5m])))", {"a": 0.3}),
        ("suite_temperature and on (model) suite_requests_total > 400", {"b": 51.0}),
    ):
        found = {_model(labels): value for labels, value in _vector(engine, query).items()}
        assert found.keys() == expected.keys(), query
        for model, value in expected.items():
            assert math.isclose(found[model], value, rel_tol=1e-9), (query, model, found[model])


def check_odd_text(engine: Engine) -> None:
    """Any text in a label comes back as it was, in answers, series and values."""
    (labels,) = _vector(engine, "suite_odd")
    assert dict(labels)["text"] == ODD_TEXT
    odd = (Matcher("text", MatchOp.EQUAL, ODD_TEXT),)
    assert engine.series([odd], BASE_MS, END_MS) == (labels,)
    assert engine.label_values("text", [odd], BASE_MS, END_MS) == (ODD_TEXT,)
    value = _matrix(engine, '{__name__=~"suite_.*"}', AT_MS, AT_MS + 30_000, 15_000)
    assert labels in value.labels
    assert {dict(each)["__name__"] for each in value.labels} >= {"suite_temperature", "suite_odd"}


def check_mistakes(engine: Engine) -> None:
    """A wrong text is a ParseError, data without an answer an ExecutionError."""
    for query in ("sum((", "nosuch(suite_temperature)", "suite_temperature[", "sum by (suite_temperature"):
        assert _raises(ParseError, partial(engine.instant, query, AT_MS))
        assert _raises(ParseError, partial(engine.range, query, AT_MS, AT_MS + 1000, 1000))
    many = "suite_requests_total * on (job) suite_temperature"
    assert _raises(ExecutionError, lambda: engine.instant(many, AT_MS))


def check_grid_mistakes(engine: Engine) -> None:
    """A grid that is none is refused: no step, end before start, too many steps, raw samples."""
    name = "suite_temperature"
    assert _raises(ParseError, lambda: engine.range(name, AT_MS, AT_MS + 1000, 0))
    assert _raises(ParseError, lambda: engine.range(name, AT_MS, AT_MS - 1000, 1000))
    assert _raises(LimitError, lambda: engine.range(name, AT_MS, AT_MS + 10**10, 1000))
    assert _raises(ParseError, lambda: engine.range(f"{name}[5m]", AT_MS, AT_MS + 1000, 1000))
    assert _raises(LimitError, lambda: engine.instant(f"{name} + {'1 + ' * 20_000}1", AT_MS))


def check_series(engine: Engine) -> None:
    """Series are found by each kind of matcher, sorted and once, over any span."""
    name = Matcher("__name__", MatchOp.EQUAL, "suite_temperature")
    found = engine.series([(name,)], BASE_MS, END_MS)
    assert [_model(labels) for labels in found] == ["a", "b", "c"]
    some = (
        Matcher("__name__", MatchOp.REGEX, "suite_(temp.*|odd)"),
        Matcher("model", MatchOp.NOT_EQUAL, "b"),
    )
    union = engine.series([some, (name,)], BASE_MS, END_MS)
    assert list(union) == sorted(union)
    assert len(union) == 4
    other = (name, Matcher("model", MatchOp.NOT_REGEX, "a|b"))
    assert [_model(labels) for labels in engine.series([other], BASE_MS, END_MS)] == ["c"]
    every = engine.series((), -(1 << 53), 1 << 53)
    assert {labels for labels, *_ in samples()} <= set(every)
    assert engine.series([(Matcher("__name__", MatchOp.EQUAL, "suite_nothing"),)], BASE_MS, END_MS) == ()


def check_labels(engine: Engine) -> None:
    """Label names and values, of all series or of some, sorted and without "" among them."""
    name = (Matcher("__name__", MatchOp.EQUAL, "suite_temperature"),)
    assert engine.label_names([name], BASE_MS, END_MS) == ("__name__", "job", "model")
    assert {"le", "text", "model"} <= set(engine.label_names((), BASE_MS, END_MS))
    assert engine.label_values("model", [name], BASE_MS, END_MS) == ("a", "b", "c")
    assert engine.label_values("le", (), BASE_MS, END_MS) == tuple(sorted(_BOUNDS))
    assert engine.label_values("nolabel", (), BASE_MS, END_MS) == ()
    assert "suite_short" in engine.label_values("__name__", (), BASE_MS, END_MS)


def check_metadata(engine: Engine) -> None:
    """Metadata is sorted, one entry a metric."""
    found = [entry.metric for entry in engine.metadata()]
    assert found == sorted(set(found))


def check_large_answer(engine: Engine) -> None:
    """An answer of many rows and points is whole and in its places."""
    query = " or ".join(f'label_replace(suite_temperature, "k", "{k}", "", "")' for k in range(40))
    value = _matrix(engine, query, BASE_MS + 7_000, END_MS + 7_000, 5_000)
    assert len(value.labels) == 120
    assert value.present.all()
    for row, labels in enumerate(value.labels):
        assert value.values[row, 0] == 10.0 * _MODELS[_model(labels)]
        assert value.values[row, 360] == 10.0 * _MODELS[_model(labels)] + 120 % 7


def check_threads(engine: Engine) -> None:
    """Many threads ask at once and each gets its own answer."""

    def ask(model: str) -> float:
        (value,) = _vector(engine, f'suite_requests_total{{model="{model}"}}').values()
        return value

    models = ["a", "b", "c"] * 8
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, models)) == [120 * _MODELS[model] for model in models]


def check_not_a_number(engine: Engine) -> None:
    """NaN and the infinities are values in PromQL; MetricsQL leaves NaN out."""
    value = _matrix(engine, 'suite_requests_total{model="a"} * 0 / 0', AT_MS, AT_MS + 10_000, 10_000)
    if engine.capabilities.dialect == "promql":
        assert value.present.all()
        assert np.isnan(value.values).all()
    else:
        assert not value.present.any()
    (infinite,) = _vector(engine, '-suite_requests_total{model="a"} / 0').values()
    assert infinite == -math.inf


def check_native_values(engine: Engine) -> None:
    """A native histogram comes back with every count in its bucket."""
    value = engine.instant("suite_native", AT_MS).value
    assert isinstance(value, Vector)
    found = value.histograms[0]
    assert (found.schema, found.count, found.sum) == (3, 1200.0, 480.0)
    assert (found.zero_threshold, found.zero_count) == (0.001, 120.0)
    assert (found.positive_start, found.positive.tolist()) == (-4, [120.0, 240.0, 0.0, 480.0])
    assert (found.negative_start, found.negative.tolist()) == (2, [80.0, 160.0])
    custom = engine.instant("suite_custom", AT_MS).value
    assert isinstance(custom, Vector)
    assert custom.histograms[0].bounds == (0.25, 0.3, 7.0)
    assert custom.histograms[0].positive.tolist() == [120.0, 240.0, 0.0, 480.0]


def check_native_ranges(engine: Engine) -> None:
    """Histograms of a range lie at their own row and column; of a range selector at their own times."""
    value = _matrix(engine, "rate(suite_native[5m])", AT_MS, AT_MS + 60_000, 20_000)
    assert not value.present.any()
    assert sorted(value.histograms) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert math.isclose(value.histograms[0, 3].count, 10 / 15)
    raw = engine.instant("suite_native[31s]", AT_MS).value
    assert isinstance(raw, Ragged)
    assert [(time, point.count) for time, point in raw.histograms[0]] == [
        (BASE_MS + k * STEP_MS, 10.0 * k) for k in (119, 120)
    ]


CHECKS: tuple[Check, ...] = (
    check_capabilities,
    check_instant_vector,
    check_sorted_results,
    check_scalar_and_string,
    check_range_selector,
    check_nothing_found,
    check_grid,
    check_absent_points,
    check_scalar_range,
    check_functions,
    check_odd_text,
    check_mistakes,
    check_grid_mistakes,
    check_series,
    check_labels,
    check_metadata,
    check_large_answer,
    check_threads,
    check_not_a_number,
)
"""For every engine."""

NATIVE_CHECKS: tuple[Check, ...] = (check_native_values, check_native_ranges)
"""For engines that hold native histograms and were given those of `batch()`."""
