"""The charts of both pages, as data. `OVERVIEW` and `MODEL` are in page order."""

from __future__ import annotations

from ninesight_dashboards.expressions import mean, quantile, rate
from ninesight_dashboards.panel import Chart, Panel, Query, Rest

__all__ = ["ALL", "MODEL", "OVERVIEW", "SPARKS", "panel"]

_REQUESTS = "model_requests_total"
_LATENCY = "model_request_duration_seconds"
_STAGE = "model_stage_duration_seconds"
_BATCH = "model_batch_size"
_BAD = 'outcome=~"error|timeout"'


def _error_ratio(by: tuple[str, ...]) -> str:
    """Errors over requests; a model without a single error has 0, one without requests has nothing."""
    bad, every = rate(_REQUESTS, by, _BAD), rate(_REQUESTS, by)
    return f"({bad} or {every} * 0) / ({every} > 0)"


OVERVIEW: tuple[Panel, ...] = (
    Panel(
        id="traffic",
        title="Traffic by model",
        help="Requests per second (model_requests_total, every outcome). The six busiest models, the others summed.",
        queries=(Query(rate(_REQUESTS, ("model",)), by=("model",)),),
        metrics=(_REQUESTS,),
        unit="req/s",
        rest=Rest.SUM,
    ),
    Panel(
        id="errors",
        title="Errors by model",
        help="Share of requests that ended in error or timeout (model_requests_total by outcome). Shed and "
        "cancelled requests do not count as errors. If it rises, open the model and look at its outcomes.",
        queries=(Query(_error_ratio(("model",)), by=("model",)),),
        metrics=(_REQUESTS,),
        unit="ratio",
        needs_traffic=True,
    ),
    Panel(
        id="latency",
        title="Latency p95 by model",
        help="95 of 100 requests were faster (model_request_duration_seconds). Native histograms are exact to 1.1 %; "
        "classic buckets are interpolated inside a bucket.",
        queries=(Query(quantile(0.95, _LATENCY, ("model",)), by=("model",)),),
        metrics=(_LATENCY,),
        unit="s",
        needs_traffic=True,
    ),
    Panel(
        id="gpu-utilization",
        title="GPU utilisation",
        help="Share of time in which a kernel ran (gpu_utilization_ratio). High is good value; with rising latency it "
        "means saturation.",
        queries=(Query("max by (instance, gpu) (gpu_utilization_ratio)", by=("gpu", "instance")),),
        metrics=("gpu_utilization_ratio",),
        unit="ratio",
        rest=Rest.MEAN,
        y_max=1.0,
    ),
    Panel(
        id="gpu-memory",
        title="GPU memory",
        help="Memory in use over memory installed (gpu_memory_used_bytes / gpu_memory_total_bytes). Above 90 % the "
        "next model load or a longer batch may fail.",
        queries=(
            Query(
                "max by (instance, gpu) (gpu_memory_used_bytes) / max by (instance, gpu) (gpu_memory_total_bytes)",
                by=("gpu", "instance"),
            ),
        ),
        metrics=("gpu_memory_used_bytes", "gpu_memory_total_bytes"),
        unit="ratio",
        rest=Rest.MEAN,
        y_max=1.0,
    ),
)

MODEL: tuple[Panel, ...] = (
    Panel(
        id="model-latency",
        title="Latency",
        help="Percentiles of model_request_duration_seconds over each step, and the mean (sum over count). The dashed "
        "line is the SLA's latency objective. Percentiles are never averaged.",
        queries=(
            *(
                Query(quantile(q, _LATENCY), name=f"p{q * 100:.0f}", style=f"quantile:{place}")
                for place, q in enumerate((0.5, 0.9, 0.95, 0.99))
            ),
            Query(mean(_LATENCY), name="mean", style="mean"),
        ),
        metrics=(_LATENCY,),
        unit="s",
        needs_traffic=True,
    ),
    Panel(
        id="model-stages",
        title="Mean time per stage",
        help="Mean seconds in each stage (model_stage_duration_seconds), stacked. The thickest band is where to look "
        "first: queue means too little capacity, inference the model itself.",
        queries=(Query(mean(_STAGE, ("stage",)), by=("stage",), style="stage"),),
        metrics=(_STAGE,),
        unit="s",
        chart=Chart.STACK,
        top=8,
        needs_traffic=True,
    ),
    Panel(
        id="model-outcomes",
        title="Traffic by outcome",
        help="Requests per second by outcome (model_requests_total), stacked: ok, error, timeout, shed, cancelled.",
        queries=(Query(rate(_REQUESTS, ("outcome",)), by=("outcome",), style="outcome"),),
        metrics=(_REQUESTS,),
        unit="req/s",
        chart=Chart.STACK,
        top=8,
    ),
    Panel(
        id="model-load",
        title="In flight and waiting",
        help="Requests being worked on (model_requests_in_flight) and waiting (model_queue_depth). A queue that grows "
        "while traffic is flat means a slow model.",
        queries=(
            Query("sum(model_requests_in_flight{$scope})", name="in flight", style="quantile:2"),
            Query("sum(model_queue_depth{$scope})", name="waiting", style="mean"),
        ),
        metrics=("model_requests_in_flight", "model_queue_depth"),
        unit="requests",
    ),
    Panel(
        id="model-batch",
        title="Batch size",
        help="Requests per executed batch (model_batch_size): mean, median and 95th percentile. 1 under load means "
        "batching does not happen.",
        queries=(
            Query(quantile(0.5, _BATCH), name="p50", style="quantile:1"),
            Query(quantile(0.95, _BATCH), name="p95", style="quantile:3"),
            Query(mean(_BATCH), name="mean", style="mean"),
        ),
        metrics=(_BATCH,),
        unit="items",
        needs_traffic=True,
    ),
    Panel(
        id="model-instances",
        title="Latency p95 by instance",
        help="One line per instance (model_request_duration_seconds): an outlier is a sick machine, all together is "
        "the model or its traffic.",
        queries=(Query(quantile(0.95, _LATENCY, ("instance",)), by=("instance",)),),
        metrics=(_LATENCY,),
        unit="s",
        needs_traffic=True,
    ),
)

SPARKS: tuple[Panel, ...] = (
    Panel(
        id="spark-latency",
        title="p95 of all models",
        help="The 95th percentile over every request of every model, for the tile's line.",
        queries=(Query(quantile(0.95, _LATENCY)),),
        metrics=(_LATENCY,),
        unit="s",
        needs_traffic=True,
    ),
    Panel(
        id="spark-load",
        title="In flight and waiting",
        help="Requests in flight and waiting over all models, for the tile.",
        queries=(
            Query("sum(model_requests_in_flight)", name="in flight"),
            Query("sum(model_queue_depth)", name="waiting"),
        ),
        metrics=("model_requests_in_flight", "model_queue_depth"),
        unit="requests",
    ),
)

ALL = OVERVIEW + MODEL + SPARKS


def panel(panel_id: str) -> Panel:
    """Return a panel by id. Raises KeyError for an id that does not exist."""
    return {known.id: known for known in ALL}[panel_id]
