"""OTLP exemplars: `trace_id` and `span_id` as hexadecimal text, filtered attributes where they fit."""

from __future__ import annotations

from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar

from ninesight_collector.batch_builder import BatchBuilder
from ninesight_collector.exemplars import exemplar_labels
from ninesight_collector.otlp.labels import point_labels

__all__ = ["add_exemplar", "exemplar_value"]


def exemplar_value(exemplar: Exemplar) -> float:
    """Return the observation."""
    if exemplar.WhichOneof("value") == "as_int":
        return float(exemplar.as_int)
    return float(exemplar.as_double)


def add_exemplar(builder: BatchBuilder, row: int, exemplar: Exemplar, now_ms: int) -> None:
    """Add one to a row of the builder's table. What does not fit is left out and counted there."""
    others = point_labels(exemplar.filtered_attributes) if exemplar.filtered_attributes else {}
    labels = exemplar_labels(
        exemplar.trace_id.hex(),
        exemplar.span_id.hex(),
        {name: text for name, text in others.items() if text},
    )
    at_ms = exemplar.time_unix_nano // 1_000_000 or None
    builder.exemplars.add(row, labels, exemplar_value(exemplar), at_ms, now_ms)
