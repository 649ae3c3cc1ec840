"""One request of OTLP over gRPC: bytes in, nothing out, or an error that says whether to try again.

`grpcio` is optional (`pip install ninesight[grpc]`); messages are encoded by OpenTelemetry's own encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ninesight.errors import PermanentError, RetryableError
from ninesight.forks import importing

__all__ = ["METRICS", "TRACES", "GrpcSender"]

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

_RETRYABLE = frozenset(
    (
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNAVAILABLE",
        "DATA_LOSS",
    )
)
"""Statuses after which the OTLP specification has a client try again."""


class GrpcSender:
    """A channel to one receiver. Used from the export thread only."""

    def __init__(self, endpoint: str, *, headers: Mapping[str, str], timeout_s: float) -> None:
        self._endpoint = endpoint
        self._metadata = [(name.lower(), value) for name, value in headers.items()]
        self._timeout_s = timeout_s
        self._channel: Any = None

    def send(self, method: str, data: bytes) -> None:
        """Send one message. Raises RetryableError or PermanentError with the status."""
        with importing():
            import grpc

        if self._channel is None:
            self._channel = self._open(grpc)
        ask = self._channel.unary_unary(method, request_serializer=None, response_deserializer=None)
        try:
            ask(data, timeout=self._timeout_s, metadata=self._metadata, compression=grpc.Compression.Gzip)
        except grpc.RpcError as error:
            code = error.code().name
            told = f"{self._endpoint} did not take the data: {code} {error.details()}"
            kind = RetryableError if code in _RETRYABLE else PermanentError
            raise kind(told) from None

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _open(self, grpc: Any) -> Any:
        parts = urlsplit(self._endpoint)
        target = f"{parts.hostname}:{parts.port or 4317}"
        if parts.scheme == "https":
            return grpc.secure_channel(target, grpc.ssl_channel_credentials())
        return grpc.insecure_channel(target)
