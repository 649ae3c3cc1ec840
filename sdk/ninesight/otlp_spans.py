"""Kept calls as OTLP spans: the call as a server span, its stages as children.

Imported by the export thread only. A batch that is not taken waits again, in a bounded queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ninesight.contract import Outcome
from ninesight.errors import PermanentError, RetryableError
from ninesight.forks import importing
from ninesight.keeper import FAILURES
from ninesight.partial import Rejections, heard_traces
from ninesight.quiet import Hush, untraced
from ninesight.traces import STATUS_CODE, Kept, new_id
from ninesight.transport import TRACES, GrpcSender, hearing_session

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["OtlpSpans", "spans_of"]


class OtlpSpans:
    """Sends kept calls to one endpoint, by HTTP or gRPC. Used from the export thread only."""

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        protocol: str,
        rejections: Rejections,
    ) -> None:
        self._endpoint = endpoint
        self._headers = dict(headers)
        self._timeout_s = timeout_s
        self._grpc = (
            GrpcSender(endpoint, headers=headers, timeout_s=timeout_s) if protocol == "grpc" else None
        )
        self._http: Any = None
        self._hear = heard_traces(endpoint, rejections)

    def export(self, calls: Sequence[Kept], resource: Mapping[str, str]) -> None:
        """Send the calls. Raises RetryableError or PermanentError with what the transport said."""
        spans = [span for call in calls for span in spans_of(call, resource)]
        if self._grpc is not None:
            with importing():
                from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

            self._hear(self._grpc.send(TRACES, encode_spans(spans).SerializeToString()))
            return
        with importing():
            from opentelemetry.sdk.trace.export import SpanExportResult

        with untraced(), Hush() as hush:
            result = self._open().export(spans)
        if result is not SpanExportResult.SUCCESS:
            kind = PermanentError if hush.refused else RetryableError
            raise kind(f"{self._endpoint} did not take the traces: {hush.last or 'no answer'}")

    def close(self) -> None:
        """Close the connection."""
        if self._grpc is not None:
            self._grpc.close()
        if self._http is not None:
            self._http.shutdown()
            self._http = None

    def _open(self) -> Any:
        if self._http is None:
            with importing():
                from opentelemetry.exporter.otlp.proto.http import Compression
                from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            self._http = OTLPSpanExporter(
                endpoint=self._endpoint,
                headers=self._headers,
                timeout=self._timeout_s,
                compression=Compression.Gzip,
                session=hearing_session(self._hear),
            )
        return self._http


def spans_of(call: Kept, resource: Mapping[str, str]) -> Iterable[ReadableSpan]:
    """Return the spans of one call: its own first, then its stages."""
    with importing():
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    sampled = TraceFlags(TraceFlags.SAMPLED)
    context = SpanContext(call.trace_id, call.span_id, is_remote=False, trace_flags=sampled)
    parent = None
    if call.parent_id is not None:
        parent = SpanContext(call.trace_id, call.parent_id, is_remote=True, trace_flags=sampled)
    owner = Resource(dict(resource))
    scope = InstrumentationScope("ninesight")
    failed = call.outcome in FAILURES
    yield ReadableSpan(
        f"infer {dict(call.labels)['model']}",
        context,
        parent,
        attributes=_attributes(call),
        kind=SpanKind.SERVER,
        status=Status(StatusCode.ERROR, call.error or call.outcome) if failed else Status(),
        start_time=call.start_ns,
        end_time=call.start_ns + int(call.duration_s * 1e9),
        resource=owner,
        instrumentation_scope=scope,
    )
    for name, start_ns, duration_s in call.stages:
        yield ReadableSpan(
            str(name),
            SpanContext(call.trace_id, new_id(64), is_remote=False, trace_flags=sampled),
            context,
            attributes={"stage": str(name)},
            kind=SpanKind.INTERNAL,
            start_time=start_ns,
            end_time=start_ns + int(duration_s * 1e9),
            resource=owner,
            instrumentation_scope=scope,
        )


def _attributes(call: Kept) -> dict[str, Any]:
    """Return the user's attributes, and ours: names as in the metrics, OpenTelemetry's where it has them."""
    found: dict[str, Any] = {**call.attributes, **dict(call.labels)}
    found |= {"outcome": call.outcome, "served_by": call.served_by, "ninesight.kept": call.why}
    if call.error:
        found["error.type"] = call.error
    elif call.outcome in FAILURES:
        found.setdefault("error.type", _error_type(call))
    if any(call.tokens):
        found["gen_ai.request.model"] = found["model"]
        found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"], _ = call.tokens
    return found


def _error_type(call: Kept) -> str:
    """Return what a failure without an exception is called: its status, else its outcome, where that says what it was.

    OpenTelemetry's conventions have a word for a failure that nobody told more of: `_OTHER`.
    """
    status = call.attributes.get(STATUS_CODE)
    if status is not None:
        return str(status)
    return "_OTHER" if call.outcome == Outcome.ERROR else str(call.outcome)
