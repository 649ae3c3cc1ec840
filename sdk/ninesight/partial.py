"""What a receiver says of a push that it took in part (OTLP's `partial_success`): counted, and told now and then.

What was refused is not sent again, as OTLP demands: the receiver would refuse it again. Cumulative points come
with the next push anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from ninesight.forks import importing

__all__ = ["Heard", "Rejections", "heard_metrics", "heard_traces"]

_TOLD_EVERY_S = 60.0

Heard = Callable[[bytes], None]
"""Takes the body of an answer that said yes."""


class Rejections:
    """Totals since the process began. Used by the export thread; read by any."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self.points = 0
        self.spans = 0
        self._clock = clock
        self._told_s: float | None = None

    def note(self, endpoint: str, *, points: int = 0, spans: int = 0, words: str = "") -> None:
        """Count what a receiver refused; log what it said, at most once a minute."""
        self.points += points
        self.spans += spans
        now_s = self._clock()
        if self._told_s is not None and now_s - self._told_s < _TOLD_EVERY_S:
            return
        self._told_s = now_s
        with importing():
            import logging

        logging.getLogger("ninesight").warning(
            "%s took a push in part: %d data points and %d spans were refused (%d and %d so far) and are not "
            "sent again; it said %.300r",
            endpoint, points, spans, self.points, self.spans, words,
        )  # fmt: skip


def heard_metrics(endpoint: str, rejections: Rejections) -> Heard:
    """Return what reads the answers to pushes of metrics."""

    def hear(body: bytes) -> None:
        with importing():
            from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
                ExportMetricsServiceResponse,
            )
        partial = _partial(ExportMetricsServiceResponse, body)
        if partial is not None:
            rejected = max(0, partial.rejected_data_points)
            rejections.note(endpoint, points=rejected, words=partial.error_message)

    return hear


def heard_traces(endpoint: str, rejections: Rejections) -> Heard:
    """Return what reads the answers to pushes of traces."""

    def hear(body: bytes) -> None:
        with importing():
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
        partial = _partial(ExportTraceServiceResponse, body)
        if partial is not None:
            rejections.note(endpoint, spans=max(0, partial.rejected_spans), words=partial.error_message)

    return hear


def _partial(kind: Any, body: bytes) -> Any:
    """Return the answer's `partial_success` if it says anything; a body that is no such message says nothing."""
    with importing():
        from google.protobuf.message import DecodeError
    try:
        answer = kind.FromString(body)
    except DecodeError:
        return None
    # A receiver may send the field empty: all was taken.
    partial = answer.partial_success
    return partial if partial.ByteSize() else None
