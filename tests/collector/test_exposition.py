"""The exposition parser: what it reads, what it refuses, how fast it is."""

import contextlib
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_collector import BatchBuilder
from ninesight_collector.errors import ExpositionError
from ninesight_collector.scrape import ExpositionLimits, ExpositionParser, TargetLabels
from ninesight_collector.testing import latest
from ninesight_store.contract import labels_of
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

NOW_MS = 1_700_000_000_000
TARGET = {"job": "j", "instance": "h:1"}


def parsed(text, **given):
    """Parse one page and return {labels: value}."""
    builder = BatchBuilder()
    open_metrics = given.pop("open_metrics", False)
    target = TargetLabels(given.pop("labels", {}), given.pop("honour_labels", False))
    ExpositionParser(target, **given).parse(text, builder, NOW_MS, open_metrics=open_metrics)
    return latest(builder.batch(NOW_MS))


def registry():
    """A page with every kind of metric."""
    registry = CollectorRegistry()
    Counter("hits", "Hits.", ["path"], registry=registry).labels('a "quoted"\\ path\nwith } and # and ,').inc(
        3
    )
    Gauge("level", "Level.", registry=registry).set(-2.5)
    histogram = Histogram("latency_seconds", "Latency.", registry=registry, buckets=(0.005, 1, 1e6))
    histogram.observe(0.5, exemplar={"trace_id": "abc"})
    Summary("wait", "Wait.", registry=registry).observe(2)
    Info("build", "Build.", registry=registry).info({"version": "1"})
    return registry


def test_a_prometheus_client_page_is_read_whole():
    """The same samples as the reference parser of the client library reads."""
    page = generate_latest(registry()).decode()
    expected = {
        labels_of(sample.name, sample.labels): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert parsed(page) == expected


def test_an_openmetrics_page_is_read_with_its_exemplars_left_out():
    """The same series and values as the plain page."""
    found = parsed(generate_openmetrics(registry()).decode(), open_metrics=True)
    assert found[labels_of("latency_seconds_bucket", {"le": "1.0"})] == 1.0
    assert found[labels_of("latency_seconds_bucket", {"le": "1e+06"})] == 1.0
    assert found[labels_of("hits_total", {"path": 'a "quoted"\\ path\nwith } and # and ,'})] == 3.0
    assert found[labels_of("build_info", {"version": "1"})] == 1.0


def test_metadata_has_the_name_of_the_samples():
    """HELP, TYPE and UNIT are kept; OpenMetrics' family name gets the suffix its samples have."""
    for open_metrics, page in (
        (False, generate_latest(registry())),
        (True, generate_openmetrics(registry())),
    ):
        builder = BatchBuilder()
        ExpositionParser(TargetLabels({})).parse(page.decode(), builder, NOW_MS, open_metrics=open_metrics)
        known = {m.metric: (m.kind, m.help) for m in builder.batch(NOW_MS).metadata}
        assert known["hits_total"] == ("counter", "Hits.")
        assert known["latency_seconds"] == ("histogram", "Latency.")
        assert known["level"] == ("gauge", "Level.")


@pytest.mark.parametrize(
    ("line", "name", "labels", "value"),
    [
        ("up 1", "up", {}, 1.0),
        ("  up\t1  ", "up", {}, 1.0),
        ("up{} 1", "up", {}, 1.0),
        ('up { a = "b" , } 1e3', "up", {"a": "b"}, 1000.0),
        ('a:b{x="",y="1"} +Inf', "a:b", {"y": "1"}, math.inf),
        ('{"http.requests","http.status"="200"} 4', "http.requests", {"http.status": "200"}, 4.0),
        ('x{a="\\\\n\\n\\""} 1', "x", {"a": '\\n\n"'}, 1.0),
        ('x_bucket{le="1"} 1', "x_bucket", {"le": "1.0"}, 1.0),
        ('x{quantile="0.50"} 1', "x", {"quantile": "0.5"}, 1.0),
    ],
)
def test_lines_as_people_and_libraries_write_them(line, name, labels, value):
    """Blanks, empty labels, escapes, quoted UTF-8 names, and `le` in one spelling."""
    assert parsed(line) == {labels_of(name, labels): value}


def test_nan_is_a_value_and_timestamps_are_kept():
    """Milliseconds in plain text, seconds in OpenMetrics."""
    assert math.isnan(next(iter(parsed("up NaN").values())))
    for text, open_metrics in ((f"up 1 {NOW_MS - 5}", False), (f"up 1 {(NOW_MS - 5) / 1000}\n# EOF", True)):
        builder = BatchBuilder()
        ExpositionParser(TargetLabels({})).parse(text, builder, NOW_MS, open_metrics=open_metrics)
        assert builder.batch(NOW_MS).timestamps.tolist() == [NOW_MS - 5]


def test_target_labels_win_unless_honoured():
    """A clash becomes exported_<name>, twice if need be; with honour_labels the page's stays."""
    line = 'x{job="theirs",exported_job="older",instance=""} 1'
    assert parsed(line, labels=TARGET) == {
        labels_of(
            "x", {"job": "j", "instance": "h:1", "exported_job": "older", "exported_exported_job": "theirs"}
        ): 1.0
    }
    assert parsed(line, labels=TARGET, honour_labels=True) == {
        labels_of("x", {"job": "theirs", "instance": "h:1", "exported_job": "older"}): 1.0
    }


@pytest.mark.parametrize(
    ("text", "message", "reason"),
    [
        ("up", "series value", "parse"),
        ("up one", "a value must be a number", "parse"),
        ("up 1_000", "a value must be a number", "parse"),
        ("up 1 2 3", "series value", "parse"),
        ("up 1 soon", "whole milliseconds", "parse"),
        (f"up 1 {NOW_MS + 3_600_000}", "in the future", "parse"),
        ("up 1 99999999999999999999", "in the future", "parse"),
        ("9up 1", "must begin with a metric name", "parse"),
        ('{a="b"} 1', "must begin with a metric name", "parse"),
        ('up{a="b} 1', "name=", "parse"),
        ('up{a="b"', "", "parse"),
        ('up{a="b"c="d"} 1', "parted by commas", "parse"),
        ('up{a="1",a="2"} 1', "must appear once", "parse"),
        ('up{__name__="x"} 1', "must appear once", "parse"),
        ("<html>hello</html>", "metric name", "parse"),
        ("\0\1\2 1", "metric name", "parse"),
        ("up" + "p" * 5000 + " 1", "at most 4096", "labels"),
        ('up{a="' + "b" * 5000 + '"} 1', "at most 4096", "labels"),
        ("up{" + ",".join(f'a{n}="b"' for n in range(100)) + "} 1", "at most 64 labels", "labels"),
        (
            "up{" + ",".join(f'a{n}="{"b" * 4000}"' for n in range(20)) + "} 1",
            "at most 60000 characters",
            "labels",
        ),
        ("x" * 200_000 + " 1", "characters", "labels"),
        ("\n".join(f"m{n} 1" for n in range(101)), "at most 100 series", "series"),
    ],
)
def test_hostile_pages_are_refused_with_a_reason(text, message, reason):
    """The message is short, says what must hold, and names the counter's reason."""
    with pytest.raises(ExpositionError) as caught:
        parsed(text, limits=ExpositionLimits(series_max=100))
    assert message in str(caught.value)
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [("up 1\n", "must end with # EOF"), ("up 1\n# EOF\nup 2\n", "nothing may follow # EOF")],
)
def test_a_cut_off_openmetrics_page_is_refused(text, message):
    """OpenMetrics says where a page ends."""
    with pytest.raises(ExpositionError, match=message):
        parsed(text, open_metrics=True)


@given(st.text(max_size=200), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text, open_metrics):
    """Nothing but ExpositionError comes out of the parser."""
    with contextlib.suppress(ExpositionError):
        parsed(text, open_metrics=open_metrics)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters=""), max_size=20),
        st.floats(allow_nan=False),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=100, deadline=None)
def test_what_the_client_library_writes_is_read_back(values):
    """Label values of any characters and any float survive, on the first page and on one from the cache."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "G.", ["x"], registry=registry)
    for label, value in values.items():
        gauge.labels(label).set(value)
    page = generate_latest(registry).decode()
    parser, builder = ExpositionParser(TargetLabels({})), BatchBuilder()
    for _ in range(2):
        parser.parse(page, builder, NOW_MS)
        assert latest(builder.batch(NOW_MS)) == {
            labels_of("g", {"x": label}): value for label, value in values.items()
        }


def test_a_thousand_series_take_less_than_thirty_milliseconds():
    """Best of five, the first page and a page of known series; a known page is what a scrape usually is."""
    page = "\n".join(
        f'model_request_duration_seconds_bucket{{model="m{n}",version="1",outcome="ok",le="0.{n:03d}"}} {n}'
        for n in range(1000)
    )
    first, known = [], []
    for _ in range(5):
        parser, builder = ExpositionParser(TargetLabels(TARGET)), BatchBuilder(marks_stale=True)
        for times in (first, known):
            began = time.thread_time()
            parser.parse(page, builder, NOW_MS)
            builder.batch(NOW_MS)
            times.append(time.thread_time() - began)
    assert min(first) < 0.1
    assert min(known) < 0.03
