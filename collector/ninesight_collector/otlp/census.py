"""How many messages a request holds, counted before each of them costs time.

A point with one attribute takes some 40 bytes, so an honest body stays far below the bound; one of
empty messages, two bytes each, would keep a thread busy for half a minute.
"""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from ninesight_collector.errors import BodyError

__all__ = ["check_elements", "check_objects"]


def check_elements(request: ExportMetricsServiceRequest, elements_max: int) -> None:
    """Raise BodyError (413) for more resources, scopes, metrics, points and attributes than that."""
    total = 0
    for count in _counts(request):
        total += count
        if total > elements_max:
            raise _too_many(elements_max)


def check_objects(body: bytes, elements_max: int) -> None:
    """Raise BodyError (413) for a JSON body of more objects than that, before any is made."""
    # An attribute is two objects in JSON: the pair and its value.
    if body.count(b"{") > 2 * elements_max:
        raise _too_many(elements_max)


def _counts(request: ExportMetricsServiceRequest) -> Iterator[int]:
    """Yield the length of each list before walking it."""
    yield len(request.resource_metrics)
    for resource in request.resource_metrics:
        yield len(resource.scope_metrics) + len(resource.resource.attributes)
        for scope in resource.scope_metrics:
            yield len(scope.metrics)
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is not None:
                    points = getattr(metric, kind).data_points
                    yield len(points)
                    yield from (len(point.attributes) for point in points)


def _too_many(elements_max: int) -> BodyError:
    return BodyError(
        f"a request must hold at most {elements_max} resources, scopes, metrics, points and attributes in all, "
        "got more; send smaller batches or raise otlp.body_bytes_max",
        status=413,
        reason="elements",
    )
