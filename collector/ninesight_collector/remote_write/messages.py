"""The envelopes of both versions, declared here rather than generated.

Only the outermost message is made into an object: its time series stay bytes, to be read as columns
(`wire`). Field numbers are those of prometheus' prompb/types.proto, remote.proto (1.0) and
prompb/io/prometheus/write/v2/types.proto (2.0).
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["KINDS", "EnvelopeV1", "EnvelopeV2", "MetadataV1", "family_of"]

KINDS = ("unknown", "counter", "gauge", "histogram", "histogram", "summary", "info", "unknown")
"""Metric types by number, in both versions; 4 is a gauge histogram, 7 a state set."""

_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


def family_of(name: str, kind: str) -> str:
    """Return the metric that a series belongs to: `x_bucket` of a histogram is part of `x`."""
    for suffix in _SUFFIXES.get(kind, ()):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


_PACKAGE = "ninesight.remote_write"
_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {"bytes": _Field.TYPE_BYTES, "string": _Field.TYPE_STRING, "int32": _Field.TYPE_INT32}
# "*" marks a repeated field.
_MESSAGES = {
    "Metadata": "type int32 1, metric_family_name string 2, help string 4, unit string 5",
    "WriteRequest": "timeseries *bytes 1, metadata *Metadata 3",
    "Request": "symbols *string 4, timeseries *bytes 5",
}


def _declared() -> tuple[Any, ...]:
    # proto3: text is checked to be UTF-8 while it is parsed.
    file = descriptor_pb2.FileDescriptorProto(
        name="ninesight/remote_write.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            label, kind, number = field.split()
            repeated, kind = kind.startswith("*"), kind.removeprefix("*")
            declared = message.field.add(
                name=label,
                number=int(number),
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
                type=_TYPES.get(kind, _Field.TYPE_MESSAGE),
            )
            if kind not in _TYPES:
                declared.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return tuple(
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    )


MetadataV1: Any
EnvelopeV1: Any
EnvelopeV2: Any
MetadataV1, EnvelopeV1, EnvelopeV2 = _declared()
