"""Answers in the sender's own format: ExportMetricsServiceResponse, or google.rpc.Status for an error."""

from __future__ import annotations

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from starlette.responses import Response

from ninesight_collector.otlp.body import JSON, PROTOBUF
from ninesight_collector.otlp.translate import Refusals

__all__ = ["accepted", "refused"]

# google.rpc.Code by HTTP status.
_CODES = {400: 3, 401: 16, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}


def accepted(refusals: Refusals, kind: str) -> Response:
    """Return the 200, with what was refused of the request."""
    message = ExportMetricsServiceResponse()
    if refusals.total:
        message.partial_success.rejected_data_points = refusals.total
        message.partial_success.error_message = refusals.text()
    return _response(message, 200, kind, {})


def refused(status: int, text: str, kind: str, *, retry_after_s: int | None = None) -> Response:
    """Return an error; with `retry_after_s` the sender is asked to come back."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _response(Status(code=_CODES.get(status, 2), message=text), status, kind, headers)


def _response(message: Message, status: int, kind: str, headers: dict[str, str]) -> Response:
    if kind == PROTOBUF:
        return Response(message.SerializeToString(), status, headers, media_type=PROTOBUF)
    return Response(json_format.MessageToJson(message, indent=None), status, headers, media_type=JSON)
