"""The bytes of a request: decompressed under a cap, decoded.

Every failure is a BodyError with its HTTP status: 400 what cannot be read,
413 too large, 415 not a content type or encoding of ours.
"""

from __future__ import annotations

import json

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from starlette.requests import Request

from ninesight_collector.errors import BodyError
from ninesight_collector.inflate import InflateError, Inflater, InflateSizeError
from ninesight_collector.otlp.settings import OtlpSettings
from ninesight_collector.pushed_body import too_large

__all__ = ["JSON", "PROTOBUF", "content_type", "decode", "decompress"]

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_LEVELS = ("resourceMetrics", "scopeMetrics", "metrics")


def content_type(request: Request) -> str:
    """Return PROTOBUF or JSON. Raises BodyError (415) for anything else."""
    given = request.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if kind not in (PROTOBUF, JSON):
        raise BodyError(
            f'Content-Type must be {PROTOBUF} or {JSON}, got "{given[:100]}"',
            status=415,
            reason="content_type",
        )
    return kind


def decompress(body: bytes, encoding: str, settings: OtlpSettings) -> bytes:
    """Return the body without its Content-Encoding. Raises BodyError."""
    given = encoding.strip().lower()
    if given in ("", "identity"):
        return body
    if given != "gzip":
        raise BodyError(
            f'Content-Encoding must be gzip or identity, got "{encoding[:100]}"',
            status=415,
            reason="encoding",
        )
    inflater = Inflater(settings.body_bytes_max)
    try:
        whole = inflater.feed(body)
        inflater.end()
    except InflateSizeError as error:
        raise too_large(settings.body_bytes_max, " after decompression", "otlp.body_bytes_max") from error
    except InflateError as error:
        raise BodyError(str(error), status=400, reason="gzip") from error
    return whole


def decode(body: bytes, kind: str) -> ExportMetricsServiceRequest:
    """Return the request message. Raises BodyError (400) for anything that is none."""
    try:
        if kind == PROTOBUF:
            return ExportMetricsServiceRequest.FromString(body)
        plain = json.loads(body)
        _check_objects(plain, _LEVELS)
        return json_format.ParseDict(plain, ExportMetricsServiceRequest(), ignore_unknown_fields=True)
    except DecodeError as error:
        raise _garbage("protobuf", error) from error
    except RecursionError as error:
        raise BodyError(
            "the body must not be nested deeper than 100 levels", status=400, reason="parse"
        ) from error
    except (json_format.ParseError, ValueError, TypeError, AttributeError) as error:
        # ParseDict meets arbitrary JSON: a list where it wants a mapping is an AttributeError there.
        raise _garbage("JSON", error) from error


def _check_objects(plain: object, levels: tuple[str, ...]) -> None:
    """Raise ValueError unless each level down to the metrics is a list of objects.

    ParseDict takes a text where it wants an object, as so many unknown fields: acknowledged, and lost.
    """
    if not isinstance(plain, dict):
        raise ValueError(f"an object was expected, got {type(plain).__name__}")  # noqa: TRY004 - a caller's input
    if levels:
        for entry in plain.get(levels[0]) or plain.get(_snake(levels[0])) or ():
            _check_objects(entry, levels[1:])


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _garbage(form: str, error: Exception) -> BodyError:
    return BodyError(
        f"the body must be an ExportMetricsServiceRequest in {form}, got something else ({str(error)[:300]}); "
        "check that the exporter's path and protocol fit",
        status=400,
        reason="parse",
    )
