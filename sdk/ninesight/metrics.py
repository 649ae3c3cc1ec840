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
    across: str = "sum"
    """How a gauge of several processes becomes one."""


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
    MetricInfo(
        "model_time_to_first_token_seconds",
        Kind.HISTOGRAM,
        "s",
        "Time from the start of a request to its first token or streamed item.",
    ),
    MetricInfo(
        "model_time_per_output_token_seconds",
        Kind.HISTOGRAM,
        "s",
        "Mean time of a request from one output token to the next.",
    ),
    MetricInfo(
        "model_tokens_total",
        Kind.COUNTER,
        "{token}",
        "Tokens read, written, and read from a cache.",
        ("model", "version", "direction"),
    ),
    MetricInfo("model_batch_size", Kind.HISTOGRAM, "{request}", "Members of an executed batch."),
    MetricInfo("model_requests_in_flight", Kind.GAUGE, "{request}", "Requests running now."),
    MetricInfo("model_queue_depth", Kind.GAUGE, "{request}", "Requests waiting now."),
    MetricInfo(
        "model_accelerator_seconds_total",
        Kind.COUNTER,
        "s",
        "Time an accelerator worked for the model, by how it was measured.",
        ("model", "version", "gpu", "basis"),
    ),
    MetricInfo(
        "model_cache_lookups_total",
        Kind.COUNTER,
        "{lookup}",
        "Look-ups in a cache, hit or miss.",
        ("model", "version", "cache", "result"),
    ),
    MetricInfo(
        "model_load_duration_seconds",
        Kind.GAUGE,
        "s",
        "Time the last load of the model took.",
        across="max",
    ),
    MetricInfo("model_loaded", Kind.GAUGE, "", "1 while the version is in memory, else 0.", across="max"),
    MetricInfo("model_ready", Kind.GAUGE, "", "1 while the model can answer, else 0.", across="min"),
    MetricInfo(
        "model_golden_check_success",
        Kind.GAUGE,
        "",
        "1 if the last golden input was answered rightly, else 0.",
        across="min",
    ),
    MetricInfo(
        "model_golden_check_timestamp_seconds",
        Kind.GAUGE,
        "s",
        "When the last golden input was asked, Unix time.",
        across="max",
    ),
    MetricInfo("model_kv_cache_usage_ratio", Kind.GAUGE, "1", "Share of the KV cache in use.", across="max"),
    MetricInfo(
        "model_circuit_state",
        Kind.GAUGE,
        "",
        "Circuit breaker: 0 closed, 1 half open, 2 open.",
        across="max",
    ),
    MetricInfo("model_info", Kind.GAUGE, "", "Always 1; what the model is, as labels.", across="max"),
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
    MetricInfo(
        "ninesight_sdk_points_rejected_total",
        Kind.COUNTER,
        "{data_point}",
        "Data points that a receiver refused of pushes it took.",
        (),
    ),
    MetricInfo(
        "ninesight_sdk_spans_rejected_total",
        Kind.COUNTER,
        "{span}",
        "Spans that a receiver refused of pushes it took.",
        (),
    ),
    MetricInfo(
        "ninesight_sdk_traces_kept_total", Kind.COUNTER, "{call}", "Calls that were worth a trace.", ()
    ),
    MetricInfo(
        "ninesight_sdk_traces_dropped_total",
        Kind.COUNTER,
        "{call}",
        "Calls worth a trace that did not fit, or were never taken.",
        (),
    ),
)

METRICS = {row.name: row for row in _ROWS}
"""By name, in the order of exposition."""
