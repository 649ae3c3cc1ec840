"""The one table of every metric the SDK emits: code and docs are made from it."""

from __future__ import annotations

from typing import NamedTuple

from ninesight.contract import Kind

__all__ = ["METRICS", "MetricInfo"]


class MetricInfo(NamedTuple):
    """Name, kind, unit (UCUM, as OTLP wants it), help and label names of one metric."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ("model", "version")


_ROWS = (
    MetricInfo(
        "model_requests_total",
        Kind.COUNTER,
        "{request}",
        "Requests by how they ended and who answered.",
        ("model", "version", "outcome", "served_by"),
    ),
    MetricInfo("model_predictions_total", Kind.COUNTER, "{prediction}", "Predictions given."),
    MetricInfo(
        "model_request_duration_seconds",
        Kind.HISTOGRAM,
        "s",
        "Time a request took, all outcomes but shed.",
    ),
    MetricInfo(
        "model_stage_duration_seconds",
        Kind.HISTOGRAM,
        "s",
        "Time a stage of a request took.",
        ("model", "version", "stage"),
    ),
    MetricInfo("model_batch_size", Kind.HISTOGRAM, "{request}", "Members of an executed batch."),
    MetricInfo("model_requests_in_flight", Kind.GAUGE, "{request}", "Requests running now."),
    MetricInfo("model_queue_depth", Kind.GAUGE, "{request}", "Requests waiting now."),
    MetricInfo(
        "model_accelerator_seconds_total",
        Kind.COUNTER,
        "s",
        "Time an accelerator worked for the model.",
        ("model", "version", "gpu"),
    ),
    MetricInfo("model_load_duration_seconds", Kind.GAUGE, "s", "Time the last load of the model took."),
    MetricInfo("model_ready", Kind.GAUGE, "", "1 while the model can answer, else 0."),
    MetricInfo("model_info", Kind.GAUGE, "", "Always 1; what the model is, as labels."),
    MetricInfo(
        "ninesight_sdk_recorded_total", Kind.COUNTER, "{call}", "Calls the SDK took into its totals.", ()
    ),
    MetricInfo(
        "ninesight_sdk_dropped_total",
        Kind.COUNTER,
        "{record}",
        "Records the SDK lost because a buffer was full.",
        (),
    ),
    MetricInfo(
        "ninesight_sdk_invalid_total",
        Kind.COUNTER,
        "{value}",
        "Values the SDK refused: not finite, or an unknown word.",
        (),
    ),
    MetricInfo(
        "ninesight_sdk_over_budget_total",
        Kind.COUNTER,
        "{value}",
        "Label values that became __other__ beyond their budget.",
        (),
    ),
    MetricInfo("ninesight_sdk_internal_errors_total", Kind.COUNTER, "{error}", "Errors inside the SDK.", ()),
    MetricInfo(
        "ninesight_sdk_export_failures_total", Kind.COUNTER, "{export}", "Exports that were not taken.", ()
    ),
)

METRICS = {row.name: row for row in _ROWS}
"""By name, in the order of exposition."""
