"""The delimited protobuf exposition: native histograms from a page, hostile bytes refused."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_collector import BatchBuilder
from ninesight_collector.errors import ExpositionError
from ninesight_collector.scrape import ExpositionLimits, ProtobufParser, TargetLabels
from ninesight_collector.scrape.client_model import MetricFamily
from ninesight_collector.testing import latest
from ninesight_store.contract import ResetHint, labels_of
from ninesight_store.testing import RecordingSink

NOW_MS = 1_700_000_000_000
COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)


def delimited(*families):
    """Return the page of some families."""
    page = b""
    for family in families:
        body = family.SerializeToString()
        size, prefix = len(body), b""
        while size >= 0x80:
            prefix += bytes([size & 0x7F | 0x80])
            size >>= 7
        page += prefix + bytes([size]) + body
    return page


def parsed(page, **given):
    """Parse a page, let a sink check it, return the batch."""
    builder = BatchBuilder()
    ProtobufParser(TargetLabels({"job": "j"}), **given).parse(page, builder, NOW_MS)
    batch = builder.batch(NOW_MS)
    RecordingSink().write(batch)
    return batch


def native_family(spans, deltas, **given):
    """A histogram family with positive native buckets."""
    family = MetricFamily(name="latency_seconds", help="How long.", type=HISTOGRAM, unit="seconds")
    histogram = family.metric.add().histogram
    for name, value in {
        "schema": 3,
        "zero_threshold": 1e-9,
        "sample_count": 9,
        "sample_sum": 4.5,
        **given,
    }.items():
        setattr(histogram, name, value)
    for offset, length in spans:
        histogram.positive_span.add(offset=offset, length=length)
    histogram.positive_delta.extend(deltas)
    return family


def test_the_kinds_that_text_has_too():
    """Counter, gauge, untyped, summary and a classic histogram without its +Inf bucket."""
    families = []
    for number, (kind, name) in enumerate([(COUNTER, "counter"), (GAUGE, "gauge"), (UNTYPED, "untyped")]):
        family = MetricFamily(name=f"m_{name}", type=kind)
        metric = family.metric.add()
        metric.label.add(name="x", value="y")
        getattr(metric, name).value = number + 0.5
        families.append(family)
    summary = MetricFamily(name="wait", type=SUMMARY)
    summary.metric.add().summary.sample_count = 3
    summary.metric[0].summary.quantile.add(quantile=0.5, value=2.0)
    classic = MetricFamily(name="size", type=HISTOGRAM)
    classic.metric.add().histogram.sample_count = 5
    classic.metric[0].histogram.bucket.add(upper_bound=1, cumulative_count=4)
    batch = parsed(delimited(*families, summary, classic))
    assert latest(batch) == {
        labels_of("m_counter", {"job": "j", "x": "y"}): 0.5,
        labels_of("m_gauge", {"job": "j", "x": "y"}): 1.5,
        labels_of("m_untyped", {"job": "j", "x": "y"}): 2.5,
        labels_of("wait", {"job": "j", "quantile": "0.5"}): 2.0,
        labels_of("wait_sum", {"job": "j"}): 0.0,
        labels_of("wait_count", {"job": "j"}): 3.0,
        labels_of("size_bucket", {"job": "j", "le": "1.0"}): 4.0,
        labels_of("size_bucket", {"job": "j", "le": "+Inf"}): 5.0,
        labels_of("size_sum", {"job": "j"}): 0.0,
        labels_of("size_count", {"job": "j"}): 5.0,
    }
    kinds = [entry.kind for entry in batch.metadata]
    assert kinds == ["counter", "gauge", "unknown", "summary", "histogram"]


def test_native_buckets_come_with_their_indexes():
    """Spans and differences become absolute counts under Prometheus indexes; classic ones only where wished."""
    family = native_family([(-2, 2), (3, 3)], [1, 1, 2, -4, 1], zero_count=2)
    family.metric[0].histogram.bucket.add(upper_bound=1, cumulative_count=4)
    batch = parsed(delimited(family))
    points = batch.histograms
    assert points.positive_index.tolist() == [-2, -1, 3, 5]
    assert points.positive_count.tolist() == [1.0, 2.0, 4.0, 1.0]
    assert (points.schema.tolist(), points.count.tolist(), points.sum.tolist()) == ([3], [9.0], [4.5])
    assert (points.zero_count.tolist(), points.hint.tolist()) == ([2.0], [ResetHint.UNKNOWN])
    assert len(batch.values) == 0
    assert len(parsed(delimited(family), classic_histograms=True).values) == 4
    family.type = GAUGE_HISTOGRAM
    assert parsed(delimited(family)).histograms.hint.tolist() == [ResetHint.GAUGE]


def test_a_float_histogram_has_counts_instead_of_differences():
    """Its own fields override the integer ones."""
    family = native_family([(0, 2)], [], sample_count_float=2.5, zero_count_float=0.5)
    family.metric[0].histogram.positive_count.extend([1.25, 0.75])
    points = parsed(delimited(family)).histograms
    assert points.positive_count.tolist() == [1.25, 0.75]
    assert (points.count.tolist(), points.zero_count.tolist()) == ([2.5], [0.5])


@given(st.dictionaries(st.integers(-500, 500), st.integers(1, 10**6), max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_native_buckets_survive(buckets):
    """Written as one span a bucket, read back as they were."""
    spans, deltas, after, before = [], [], 0, 0
    for index in sorted(buckets):
        spans.append((index - after, 1))
        deltas.append(buckets[index] - before)
        after, before = index + 1, buckets[index]
    points = parsed(delimited(native_family(spans, deltas))).histograms
    found = zip(points.positive_index.tolist(), points.positive_count.tolist(), strict=True)
    assert dict(found) == buckets


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"\x05ab", "must be complete"),
        (b"\xff" * 20, "delimited by lengths"),
        (b"\x80", "delimited by lengths"),
        (b"\x03\xff\xff\xff", "must be delimited MetricFamily messages"),
        (delimited(MetricFamily(help="x")), "must have a name"),
        (delimited(native_family([(0, 1)], [1], schema=9)), "must be -4..8, got 9"),
        (delimited(native_family([(0, 2**32 - 1)], [1])), "must cover its 1 buckets"),
        (delimited(native_family([(0, 1), (-1, 1)], [1, 1])), "only the first span"),
        (delimited(native_family([(2**31 - 1, 1), (1, 1)], [1, 1])), "32 bits"),
        (b"\x06\x0a\x02\xff\xfe\x18\x01", "must be delimited MetricFamily messages"),
        (delimited(MetricFamily(name="n" * 5000, metric=[{"gauge": {"value": 1}}])), "at most 4096"),
        (delimited(MetricFamily(name="n", metric=[{"label": [{"value": "v"}]}])), "must have a name"),
        (delimited(MetricFamily(name="n", metric=[{"timestamp_ms": 2**60}])), "in the future"),
        (delimited(MetricFamily(name="n", metric=[{"gauge": {}}] * 11)), "at most 10 series"),
    ],
)
def test_hostile_pages_are_refused(page, message):
    """Short messages, nothing but ExpositionError."""
    with pytest.raises(ExpositionError, match=message) as caught:
        parsed(page, limits=ExpositionLimits(series_max=10))
    assert len(str(caught.value)) < 400


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(page):
    """And what is read, a sink takes."""
    with contextlib.suppress(ExpositionError):
        assert np.isfinite(len(parsed(page)))
