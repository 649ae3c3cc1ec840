"""Remote write's messages through the protobuf library: an encoder and decoder that shares no code with ours.

Written after prometheus' prompb/types.proto, prompb/remote.proto and prompb/io/prometheus/write/v2/types.proto.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bytes": _FIELD.TYPE_BYTES,
    "double": _FIELD.TYPE_DOUBLE,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "sint32": _FIELD.TYPE_SINT32,
    "sint64": _FIELD.TYPE_SINT64,
    "string": _FIELD.TYPE_STRING,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
}
_SPAN = "offset sint32 1, length uint32 2"
_HISTOGRAM = (
    "count_int uint64 1 ?count, count_float double 2 ?count, sum double 3, schema sint32 4, "
    "zero_threshold double 5, zero_count_int uint64 6 ?zero_count, zero_count_float double 7 ?zero_count, "
    "negative_spans *BucketSpan 8, negative_deltas *sint64 9, negative_counts *double 10, "
    "positive_spans *BucketSpan 11, positive_deltas *sint64 12, positive_counts *double 13, "
    "reset_hint int32 14, timestamp int64 15, custom_values *double 16"
)
V1 = {
    "Label": "name string 1, value string 2",
    "Sample": "value double 1, timestamp int64 2",
    "Exemplar": "labels *Label 1, value double 2, timestamp int64 3",
    "BucketSpan": _SPAN,
    "Histogram": _HISTOGRAM,
    "TimeSeries": "labels *Label 1, samples *Sample 2, exemplars *Exemplar 3, histograms *Histogram 4",
    "MetricMetadata": "type int32 1, metric_family_name string 2, help string 4, unit string 5",
    "WriteRequest": "timeseries *TimeSeries 1, metadata *MetricMetadata 3",
}
V2 = {
    "Sample": "value double 1, timestamp int64 2, start_timestamp int64 3",
    "Exemplar": "labels_refs *uint32 1, value double 2, timestamp int64 3",
    "BucketSpan": _SPAN,
    "Histogram": _HISTOGRAM + ", start_timestamp int64 17",
    "Metadata": "type int32 1, help_ref uint32 3, unit_ref uint32 4",
    "TimeSeries": "labels_refs *uint32 1, samples *Sample 2, histograms *Histogram 3, exemplars *Exemplar 4, "
    "metadata Metadata 5, created_timestamp int64 6",
    "Request": "symbols *string 4, timeseries *TimeSeries 5",
}


def _declared(package, messages):
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            label, kind, number, *choice = field.replace("?", "").split()
            repeated, kind = kind.startswith("*"), kind.removeprefix("*")
            declared = message.field.add(
                name=label,
                number=int(number),
                label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
                type=_TYPES.get(kind, _FIELD.TYPE_MESSAGE),
            )
            if kind not in _TYPES:
                declared.type_name = f".{package}.{kind}"
            if choice:
                names = [one.name for one in message.oneof_decl]
                if choice[0] not in names:
                    message.oneof_decl.add(name=choice[0])
                    names.append(choice[0])
                declared.oneof_index = names.index(choice[0])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


WriteRequest = _declared("prw1", V1)["WriteRequest"]
Request = _declared("prw2", V2)["Request"]


class Symbols:
    """Symbols of a 2.0 request, each once."""

    def __init__(self, request):
        self.request = request
        self.known = {}
        self.ref("")

    def ref(self, text):
        """Return the reference of a text."""
        if text not in self.known:
            self.known[text] = len(self.known)
            self.request.symbols.append(text)
        return self.known[text]

    def refs(self, labels):
        """Return the references of name, value, name, value ..."""
        return [self.ref(text) for pair in sorted(labels.items()) for text in pair]


def request_v1(*series):
    """Return a 1.0 request; each series is (labels, [(time, value), ...])."""
    request = WriteRequest()
    for labels, samples in series:
        one = request.timeseries.add()
        for name, value in sorted(labels.items()):
            one.labels.add(name=name, value=value)
        for time, value in samples:
            one.samples.add(timestamp=time, value=value)
    return request


def request_v2(*series):
    """Return a 2.0 request; each series is (labels, [(time, value), ...])."""
    request = Request()
    symbols = Symbols(request)
    for labels, samples in series:
        one = request.timeseries.add(labels_refs=symbols.refs(labels))
        for time, value in samples:
            one.samples.add(timestamp=time, value=value)
    return request
