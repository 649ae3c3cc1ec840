"""The envelopes of both versions, declared here rather than generated.

Only the outermost message is made into an object: its time series stay bytes, to be read as columns
(`wire`). Field numbers are those of prometheus' prompb/types.proto, remote.proto (1.0) and
prompb/io/prometheus/write/v2/types.proto (2.0).
"""

from __future__ import annotations

from typing import Any

from ninesight_collector.protobuf_messages import declared

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


_MESSAGES = {
    "Metadata": "type int32 1, metric_family_name string 2, help string 4, unit string 5",
    "WriteRequest": "timeseries *bytes 1, metadata *Metadata 3",
    "Request": "symbols *string 4, timeseries *bytes 5",
}

_CLASSES = declared("ninesight.remote_write", _MESSAGES)
MetadataV1: Any = _CLASSES["Metadata"]
EnvelopeV1: Any = _CLASSES["WriteRequest"]
EnvelopeV2: Any = _CLASSES["Request"]
