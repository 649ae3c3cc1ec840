"""One request of OTLP: bytes in, the answer's bytes out, or an error that says whether to try again.

Over HTTP OpenTelemetry's exporters send; here is the session that they send by, for they do not read answers.
`grpcio` is optional (`pip install ninesight[grpc]`); messages are encoded by OpenTelemetry's own encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ninesight.errors import PermanentError, RetryableError
from ninesight.forks import importing
from ninesight.partial import Heard

__all__ = ["METRICS", "TRACES", "GrpcSender", "hearing_session"]

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

    def send(self, method: str, data: bytes) -> bytes:
        """Send one message, return the answer. Raises RetryableError or PermanentError with the status."""
        with importing():
            import grpc

        if self._channel is None:
            self._channel = self._open(grpc)
        ask = self._channel.unary_unary(method, request_serializer=None, response_deserializer=None)
        try:
            answer: bytes = ask(
                data, timeout=self._timeout_s, metadata=self._metadata, compression=grpc.Compression.Gzip
            )
        except grpc.RpcError as error:
            code = error.code().name
            told = f"{self._endpoint} did not take the data: {code} {error.details()}"
            kind = RetryableError if code in _RETRYABLE else PermanentError
            raise kind(told) from None
        return answer

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


def hearing_session(hear: Heard) -> Any:
    """Return a `requests` session that hands the body of each answer that said yes to `hear`.

    A redirection is an error: it is not followed, and OpenTelemetry's exporters would take it for a yes.
    """
    with importing():
        import requests

    def answered(response: requests.Response, **_: object) -> None:
        if 200 <= response.status_code < 300:
            hear(response.content)
        elif 300 <= response.status_code < 400:
            place = response.headers.get("location", "nowhere")
            response.close()
            raise PermanentError(f"it redirects to {place}; set the endpoint to where data is taken")

    session = requests.Session()
    session.hooks["response"].append(answered)
    return session
