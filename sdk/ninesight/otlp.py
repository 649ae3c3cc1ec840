"""Push over OTLP, with points we aggregated ourselves: OpenTelemetry's encoders, its HTTP exporter, or gRPC.

Imported by the export thread only when an endpoint is set. A lost push costs nothing but time: cumulative
points carry everything again, and a delta is taken from what was delivered last. Nothing piles up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ninesight.contract import Family, HistogramPoint, Kind, Snapshot
from ninesight.delta import Delivered, Deltas
from ninesight.errors import PermanentError, RetryableError
from ninesight.forks import importing
from ninesight.gen_ai import gen_ai_families
from ninesight.partial import Rejections, heard_metrics
from ninesight.quiet import Hush, untraced
from ninesight.transport import METRICS, GrpcSender, hearing_session

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, MetricsData

__all__ = ["OtlpExporter", "metrics_data"]


class OtlpExporter:
    """Exports snapshots to one endpoint. Each attempt, with its few retries, ends within `timeout_s`.

    What the receiver refuses of a push that it takes is told to `rejections`; deltas begin at what was `delivered`.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        protocol: str = "http/protobuf",
        temporality: str = "cumulative",
        rejections: Rejections | None = None,
        delivered: Delivered | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._headers = dict(headers)
        self._timeout_s = timeout_s
        self._deltas = Deltas(delivered) if temporality == "delta" else None
        self._grpc = (
            GrpcSender(endpoint, headers=headers, timeout_s=timeout_s) if protocol == "grpc" else None
        )
        self._http: Any = None
        self._hear = heard_metrics(endpoint, rejections or Rejections())

    def export(self, snapshot: Snapshot) -> None:
        """Push a snapshot. Raises RetryableError or PermanentError with what the transport said."""
        if self._deltas is None:
            self._send(metrics_data(snapshot))
            return
        self._send(metrics_data(self._deltas.since(snapshot), delta=True))
        self._deltas.delivered(snapshot)

    def close(self) -> None:
        """Close the connection."""
        if self._grpc is not None:
            self._grpc.close()
        if self._http is not None:
            self._http.shutdown()
            self._http = None

    def _send(self, data: MetricsData) -> None:
        if self._grpc is not None:
            with importing():
                from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

            self._hear(self._grpc.send(METRICS, encode_metrics(data).SerializeToString()))
            return
        with importing():
            from opentelemetry.sdk.metrics.export import MetricExportResult

        with untraced(), Hush() as hush:
            result = self._open().export(data)
        if result is not MetricExportResult.SUCCESS:
            said = hush.last or "no answer"
            if hush.refused:
                raise PermanentError(f"{self._endpoint} refuses the metrics: {said}")
            raise RetryableError(f"{self._endpoint} did not take the metrics: {said}")

    def _open(self) -> Any:
        if self._http is None:
            with importing():
                from opentelemetry.exporter.otlp.proto.http import Compression
                from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

            self._http = OTLPMetricExporter(
                endpoint=self._endpoint,
                headers=self._headers,
                timeout=self._timeout_s,
                compression=Compression.Gzip,
                session=hearing_session(self._hear),
            )
        return self._http


def metrics_data(snapshot: Snapshot, *, delta: bool = False) -> MetricsData:
    """Return a snapshot in OpenTelemetry's own values: points since `start_ns`, cumulative or a delta."""
    with importing():
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    families = (*snapshot.families, *gen_ai_families(snapshot))
    metrics = [_metric(family, snapshot, delta=delta) for family in families]
    scope = ScopeMetrics(scope=InstrumentationScope("ninesight"), metrics=metrics, schema_url="")
    resource = ResourceMetrics(Resource(dict(snapshot.resource)), [scope], schema_url="")
    return MetricsData([resource])


def _metric(family: Family, snapshot: Snapshot, *, delta: bool) -> Metric:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        ExponentialHistogram,
        Gauge,
        Metric,
        NumberDataPoint,
        Sum,
    )

    temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
    data: Sum | Gauge | ExponentialHistogram
    if family.kind is Kind.HISTOGRAM:
        points = [_histogram(item, snapshot) for item in family.histograms]
        data = ExponentialHistogram(points, temporality)
    else:
        start_ns = snapshot.start_ns if family.kind is Kind.COUNTER else 0
        numbers = [
            NumberDataPoint(dict(item.labels), start_ns, snapshot.time_ns, item.value)
            for item in family.numbers
        ]
        data = Sum(numbers, temporality, is_monotonic=True) if family.kind is Kind.COUNTER else Gauge(numbers)
    return Metric(family.name, family.help, family.unit, data)


def _histogram(point: HistogramPoint, snapshot: Snapshot) -> Any:
    from opentelemetry.sdk.metrics import Exemplar
    from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

    value = point.value
    return ExponentialHistogramDataPoint(
        attributes=dict(point.labels),
        start_time_unix_nano=snapshot.start_ns,
        time_unix_nano=snapshot.time_ns,
        count=value.count,
        sum=value.sum,
        scale=value.schema,
        zero_count=value.zero_count,
        positive=_dense(value.positive),
        negative=_dense(value.negative),
        flags=0,
        min=value.low,
        max=value.high,
        exemplars=[
            Exemplar({}, item.value, item.time_ns, span_id=item.span_id, trace_id=item.trace_id)
            for item in point.exemplars
        ],
    )


def _dense(buckets: tuple[tuple[int, int], ...]) -> Any:
    """Return OpenTelemetry's dense buckets; its index is one less than Prometheus'."""
    from opentelemetry.sdk.metrics._internal.point import Buckets

    if not buckets:
        return Buckets(0, [])
    first = buckets[0][0]
    counts = [0] * (buckets[-1][0] - first + 1)
    for index, count in buckets:
        counts[index - first] = count
    return Buckets(first - 1, counts)
