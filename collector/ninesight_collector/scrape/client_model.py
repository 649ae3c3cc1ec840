"""`io.prometheus.client.MetricFamily` as protobuf messages, declared here rather than generated.

Field numbers are those of Prometheus' metrics.proto; fields we do not read (created timestamps) are unknown fields and left out.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["MetricFamily"]

_PACKAGE = "ninesight.scrape"
_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _Field.TYPE_STRING,
    "double": _Field.TYPE_DOUBLE,
    "uint64": _Field.TYPE_UINT64,
    "uint32": _Field.TYPE_UINT32,
    "int64": _Field.TYPE_INT64,
    "int32": _Field.TYPE_INT32,
    "sint32": _Field.TYPE_SINT32,
    "sint64": _Field.TYPE_SINT64,
}
# "*" marks a repeated field.
_MESSAGES = {
    "LabelPair": "name string 1, value string 2",
    "Value": "value double 1",
    "Timestamp": "seconds int64 1, nanos int32 2",
    "Exemplar": "label *LabelPair 1, value double 2, timestamp Timestamp 3",
    "Counter": "value double 1, exemplar Exemplar 2",
    "Quantile": "quantile double 1, value double 2",
    "Summary": "sample_count uint64 1, sample_sum double 2, quantile *Quantile 3",
    "Bucket": "cumulative_count uint64 1, upper_bound double 2, exemplar Exemplar 3, cumulative_count_float double 4",
    "Span": "offset sint32 1, length uint32 2",
    "Histogram": "sample_count uint64 1, sample_sum double 2, bucket *Bucket 3, sample_count_float double 4, "
    "schema sint32 5, zero_threshold double 6, zero_count uint64 7, zero_count_float double 8, "
    "negative_span *Span 9, negative_delta *sint64 10, negative_count *double 11, "
    "positive_span *Span 12, positive_delta *sint64 13, positive_count *double 14, exemplars *Exemplar 16",
    "Metric": "label *LabelPair 1, gauge Value 2, counter Counter 3, summary Summary 4, untyped Value 5, "
    "timestamp_ms int64 6, histogram Histogram 7",
    "MetricFamily": "name string 1, help string 2, type int32 3, metric *Metric 4, unit string 5",
}


def _declared() -> Any:
    # proto3, though the original is proto2: only then is text checked to be UTF-8 while it is parsed.
    file = descriptor_pb2.FileDescriptorProto(
        name="ninesight/scrape.proto", package=_PACKAGE, syntax="proto3"
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
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


MetricFamily: Any = _declared()
"""The message class."""
