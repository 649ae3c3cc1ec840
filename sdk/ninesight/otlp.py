"""Push over OTLP/HTTP through OpenTelemetry's own exporter, with points we aggregated ourselves.

Imported by the export thread only when an endpoint is set. Points are cumulative, so a lost push
costs nothing but time: the next one carries the same totals, and nothing piles up meanwhile.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from ninesight.config import metrics_url
from ninesight.contract import Family, HistogramValue, Kind, Labels, Snapshot
from ninesight.errors import PermanentError, RetryableError
from ninesight.forks import importing

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, MetricsData

__all__ = ["OtlpExporter", "metrics_data"]

_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.common.http",
    "urllib3.connectionpool",
)


class OtlpExporter:
    """Exports snapshots to one endpoint. Each attempt, with its few retries, ends within `timeout_s`."""

    def __init__(self, endpoint: str, *, headers: Mapping[str, str], timeout_s: float) -> None:
        self._endpoint = metrics_url(endpoint)
        self._headers = dict(headers)
        self._timeout_s = timeout_s
        self._exporter: Any = None

    def export(self, snapshot: Snapshot) -> None:
        """Push a snapshot. Raises RetryableError with what the transport said."""
        with importing():
            from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
            from opentelemetry.sdk.metrics.export import MetricExportResult

        # An application that traces its own requests must not trace ours.
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            with _Hush() as hush:
                result = self._open().export(metrics_data(snapshot))
        finally:
            detach(token)
        if result is not MetricExportResult.SUCCESS:
            said = hush.last or "no answer"
            if re.search(r"code: 4(?!29)\d\d", said):
                raise PermanentError(f"{self._endpoint} refuses the metrics: {said}")
            raise RetryableError(f"{self._endpoint} did not take the metrics: {said}")

    def close(self) -> None:
        """Close the connection."""
        if self._exporter is not None:
            self._exporter.shutdown()
            self._exporter = None

    def _open(self) -> Any:
        if self._exporter is None:
            with importing():
                from opentelemetry.exporter.otlp.proto.http import Compression
                from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

            self._exporter = OTLPMetricExporter(
                endpoint=self._endpoint,
                headers=self._headers,
                timeout=self._timeout_s,
                compression=Compression.Gzip,
            )
        return self._exporter


def metrics_data(snapshot: Snapshot) -> MetricsData:
    """Return a snapshot in OpenTelemetry's own values, points cumulative since `start_ns`."""
    with importing():
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    metrics = [_metric(family, snapshot) for family in snapshot.families]
    scope = ScopeMetrics(scope=InstrumentationScope("ninesight"), metrics=metrics, schema_url="")
    resource = ResourceMetrics(Resource(dict(snapshot.resource)), [scope], schema_url="")
    return MetricsData([resource])


def _metric(family: Family, snapshot: Snapshot) -> Metric:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        ExponentialHistogram,
        Gauge,
        Metric,
        NumberDataPoint,
        Sum,
    )

    cumulative = AggregationTemporality.CUMULATIVE
    data: Sum | Gauge | ExponentialHistogram
    if family.kind is Kind.HISTOGRAM:
        points = [_histogram(item.labels, item.value, snapshot) for item in family.histograms]
        data = ExponentialHistogram(points, cumulative)
    else:
        start_ns = snapshot.start_ns if family.kind is Kind.COUNTER else 0
        numbers = [
            NumberDataPoint(dict(item.labels), start_ns, snapshot.time_ns, item.value)
            for item in family.numbers
        ]
        data = Sum(numbers, cumulative, is_monotonic=True) if family.kind is Kind.COUNTER else Gauge(numbers)
    return Metric(family.name, family.help, family.unit, data)


def _histogram(labels: Labels, value: HistogramValue, snapshot: Snapshot) -> Any:
    from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

    return ExponentialHistogramDataPoint(
        attributes=dict(labels),
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


class _Hush(logging.Filter):
    """Keeps the transport's log lines of this thread to itself: we tell a failure once, and count the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Swallow and remember what this thread logs; let all else through."""
        if threading.get_ident() != self._thread:
            return True
        self.last = record.getMessage()
        return False

    def __enter__(self) -> Self:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)
        return self

    def __exit__(self, *_: object) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)
