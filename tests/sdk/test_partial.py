"""A receiver that takes a push in part: what it refused is counted, told at most once a minute, never sent again."""

import logging

import ninesight
import pytest
from ninesight.errors import RetryableError
from ninesight.otlp import OtlpExporter
from ninesight.partial import Rejections, heard_metrics
from ninesight.testing import isolated, number


def counts(snapshot):
    return (
        number(snapshot, "ninesight_sdk_points_rejected_total"),
        number(snapshot, "ninesight_sdk_spans_rejected_total"),
    )


def of_partial(otlp):
    """What the newest push says of the calls of these tests."""
    return sum(
        point.as_double
        for attributes, point, _ in otlp.points("model_requests_total")
        if attributes["model"] == "in-part"
    )


def once():
    with ninesight.call("in-part"):
        pass
    return ninesight.flush()


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_what_is_refused_of_a_push_is_counted_and_not_sent_again(otlp, settings, temporality, caplog):
    """The push was taken: no failure, no second push; a delta begins anew, its words are told."""
    caplog.set_level(logging.WARNING, "ninesight")
    with isolated(**settings, otlp_temporality=temporality) as snapshot:
        assert once()
        assert counts(snapshot()) == (0, 0)
        otlp.partial = (3, "label names must not\nbegin with a digit")
        for step in (1, 2):
            assert once()
            assert counts(snapshot()) == (3 * step, 0)
            assert len(otlp.metrics) == 1 + step
            assert of_partial(otlp) == (1 if temporality == "delta" else 1 + step)
        otlp.partial = None
        assert once()
        stats = ninesight.stats()
    assert (stats.points_rejected, stats.spans_rejected) == (6, 0)
    assert (stats.exports, stats.export_failures) == (4, 0)
    told, *_ = [record.getMessage() for record in caplog.records if "in part" in record.getMessage()]
    assert otlp.endpoint in told
    assert "3 data points and 0 spans" in told
    assert r"must not\nbegin with a digit" in told, "words from outside make no lines of their own"


def test_refused_spans_are_counted_and_not_sent_again(otlp, settings):
    """Metrics are taken whole, traces are not."""
    with isolated(**settings, traces=True, trace_share=1.0) as snapshot:
        otlp.partial = (1, "")
        assert once()
        assert len(otlp.traces) == 1
        otlp.partial = None
        assert ninesight.flush()
        assert len(otlp.traces) == 1
        assert counts(snapshot()) == (1, 1)
        assert ninesight.stats().traces_dropped == 0


def test_advice_without_a_refusal_is_told(otlp, settings, caplog):
    """A receiver that took all may still say something."""
    caplog.set_level(logging.WARNING, "ninesight")
    with isolated(**settings) as snapshot:
        otlp.partial = (0, "this address will go in May")
        assert once()
        assert counts(snapshot()) == (0, 0)
    assert [record for record in caplog.records if "will go in May" in record.getMessage()]


def test_it_is_told_again_after_a_minute(caplog):
    """And between that it is counted only; a negative count is none."""
    caplog.set_level(logging.WARNING, "ninesight")
    now_s = 1000.0
    rejections = Rejections(clock=lambda: now_s)
    for now_s, told in ((1000.0, 1), (1059.9, 1), (1060.0, 2), (1100.0, 2), (1120.0, 3)):  # noqa: B007
        rejections.note("http://there", points=2, words="no")
        assert len(caplog.records) == told
    assert rejections.points == 10
    assert "2 data points and 0 spans were refused (10 and 0 so far)" in caplog.records[-1].getMessage()


@pytest.mark.parametrize("body", [b"", b"<html>ok</html>", b"\x0a\x00", b"\x0a\x05\x08", b"\xff" * 9, b"{}"])
def test_an_answer_that_is_no_such_message_says_nothing(body, caplog):
    """Empty, a page of a proxy, an empty field, cut short."""
    caplog.set_level(logging.WARNING, "ninesight")
    rejections = Rejections()
    heard_metrics("http://there", rejections)(body)
    assert (rejections.points, rejections.spans, caplog.records) == (0, 0, [])


def test_a_negative_count_is_none():
    """The field is signed."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    partial = {"rejected_data_points": -5, "error_message": "odd"}
    rejections = Rejections()
    heard_metrics("http://there", rejections)(
        ExportMetricsServiceResponse(partial_success=partial).SerializeToString()
    )
    assert rejections.points == 0


@pytest.mark.parametrize("otlp", ["http"], indirect=True)
def test_a_redirection_is_no_yes(otlp, settings):
    """Nothing is followed: the push failed, is counted, and the error names the place."""
    with isolated(**settings) as snapshot:
        otlp.moved = "https://elsewhere.example/v1/metrics"
        assert not once()
        assert number(snapshot(), "ninesight_sdk_export_failures_total") == 1
        exporter = OtlpExporter(otlp.endpoint, headers={}, timeout_s=5.0)
        try:
            with pytest.raises(RetryableError, match=r"redirects to https://elsewhere\.example/v1/metrics"):
                exporter.export(snapshot())
        finally:
            exporter.close()
        assert otlp.metrics == []
        otlp.moved = None
        assert once()
        assert of_partial(otlp) == 2
