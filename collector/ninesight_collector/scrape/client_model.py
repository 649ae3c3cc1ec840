"""`io.prometheus.client.MetricFamily` as protobuf messages, declared here rather than generated.

Field numbers are those of Prometheus' metrics.proto; fields we do not read (created timestamps) are unknown fields and left out.
"""

from __future__ import annotations

from typing import Any

from ninesight_collector.protobuf_messages import declared

__all__ = ["MetricFamily"]

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

MetricFamily: Any = declared("ninesight.scrape", _MESSAGES)["MetricFamily"]
"""The message class."""
