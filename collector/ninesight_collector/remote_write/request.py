"""A request as columns, whichever version it is written in; its series still named by bytes.

    1.0  TimeSeries {labels 1, samples 2, exemplars 3, histograms 4}, metadata per request
    2.0  TimeSeries {labels_refs 1, samples 2, histograms 3, exemplars 4, metadata 5, created 6}, symbols per request
    both Sample {value 1, timestamp 2, start_timestamp 3}, Exemplar {labels 1, value 2, timestamp 3}

Field 6 is what release candidates of 2.0 had instead of
a start per sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.message import DecodeError
from ninesight_store.contract import Float64, Int64

from ninesight_collector.errors import BodyError
from ninesight_collector.remote_write.messages import EnvelopeV1, EnvelopeV2
from ninesight_collector.remote_write.points import Points, read_points
from ninesight_collector.remote_write.wire import (
    Bytes,
    Fields,
    WireError,
    doubles,
    fields_of,
    numbers,
    packed,
    padded,
    varint_of,
    walk,
)

__all__ = ["RawExemplars", "RawMetadata", "RawRequest", "Samples", "read_request"]

_LABELS, _SAMPLES, _CREATED = 1, 2, 6


@dataclass(frozen=True, slots=True)
class Samples:
    """Float samples; `owner` is the place of their series in the request."""

    owner: Int64
    timestamps: Int64
    values: Float64
    start_timestamps: Int64


@dataclass(frozen=True, slots=True)
class RawExemplars:
    """Exemplars with their labels as written."""

    owner: Int64
    timestamps: Int64
    values: Float64
    labels: Sequence[bytes | Sequence[int]]
    """1.0: `Label` messages one after another; 2.0: references."""


@dataclass(frozen=True, slots=True)
class RawMetadata:
    """One metric's metadata. `owner` is the series that carries it (2.0), or -1 where `metric` names it (1.0)."""

    owner: int
    kind: int
    help: str
    unit: str
    metric: str = ""


@dataclass(frozen=True, slots=True)
class RawRequest:
    """What a request holds."""

    version: int
    series: int
    """Number of time series."""
    keys: Sequence[bytes]
    """1.0: the labels of each series as written; 2.0: empty, see `refs`."""
    samples: Samples
    points: Points
    exemplars: RawExemplars
    metadata: tuple[RawMetadata, ...] = ()
    symbols: Sequence[str] = ()
    refs: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    """2.0: the references of all series one after another ..."""
    refs_counts: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    """... and how many each has."""


def read_request(body: bytes, version: int, fields_max: int) -> RawRequest:
    """Return the columns of an uncompressed body. Raises BodyError (400) for anything that is no such message."""
    try:
        if version == 1:
            return _read_v1(body, fields_max)
        return _read_v2(body, fields_max)
    except (DecodeError, WireError) as error:
        message = "prometheus.WriteRequest" if version == 1 else "io.prometheus.write.v2.Request"
        raise BodyError(
            f"the body must be a {message} in protobuf, got something else ({str(error)[:200]}); "
            "check the sender's protocol and Content-Type",
            status=400,
            reason="parse",
        ) from error


class _Series:
    """The time series of a request, side by side."""

    def __init__(self, parts: Sequence[bytes], fields_max: int) -> None:
        if len(parts) > fields_max:
            raise WireError(f"a request must hold at most {fields_max} fields")
        self.fields_max, self.size = fields_max, len(parts)
        self.body = b"".join(parts)
        self.buffer: Bytes = padded(self.body)
        self.ends = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
        self.starts = np.concatenate((np.zeros(1, np.int64), self.ends[:-1])) if parts else self.ends
        self.fields = self.walk(self.starts, self.ends)

    def walk(self, starts: Int64, ends: Int64) -> Fields:
        return walk(self.body, self.buffer, starts, ends, self.fields_max)

    def samples(self) -> Samples:
        spans = self.fields.of(_SAMPLES)
        values, timestamps, inner = self.rows(spans, value=1, timestamp=2)
        starts = np.zeros(len(spans), np.int64)
        found = inner.of(3)
        starts[found.owner] = numbers(self.buffer, found.start, found.end)
        created = self.fields.of(_CREATED)
        if len(created):
            per_series = np.zeros(self.size, np.int64)
            per_series[created.owner] = numbers(self.buffer, created.start, created.end)
            starts = np.where(starts == 0, per_series[spans.owner], starts)
        return Samples(spans.owner, timestamps, values, starts)

    def points(self, number: int) -> Points:
        return read_points(self.body, self.buffer, self.fields.of(number), self.fields_max)

    def exemplars(self, number: int, *, refs: bool) -> RawExemplars:
        spans = self.fields.of(number)
        values, timestamps, inner = self.rows(spans, value=2, timestamp=3)
        found = inner.of(_LABELS)
        if refs:
            flat, counts = packed(self.buffer, found.start, found.end)
            held = np.bincount(found.owner, counts, len(spans)).astype(np.int64)
            cuts = np.cumsum(held)[:-1]
            lists = [one.tolist() for one in np.split(flat, cuts)] if len(spans) else []
            return RawExemplars(spans.owner, timestamps, values, lists)
        texts = [b""] * len(spans)
        for owner, head, end in zip(
            found.owner.tolist(), found.head.tolist(), found.end.tolist(), strict=True
        ):
            texts[owner] += self.body[head:end]
        return RawExemplars(spans.owner, timestamps, values, texts)

    def label_regions(self) -> list[bytes]:
        """Return the bytes of each series' `Label` messages, which normally lie together."""
        labels = self.fields.of(_LABELS)
        sizes = np.bincount(labels.owner, labels.end - labels.head, self.size).astype(np.int64)
        first, last = np.zeros(self.size, np.int64), np.zeros(self.size, np.int64)
        first[labels.owner[::-1]] = labels.head[::-1]
        last[labels.owner] = labels.end
        body = self.body
        regions = [body[low:high] for low, high in zip(first.tolist(), last.tolist(), strict=True)]
        for scattered in np.flatnonzero(last - first != sizes).tolist():
            mine = labels.owner == scattered
            regions[scattered] = b"".join(
                body[head:end]
                for head, end in zip(labels.head[mine].tolist(), labels.end[mine].tolist(), strict=True)
            )
        return regions

    def rows(self, spans: Fields, *, value: int, timestamp: int) -> tuple[Float64, Int64, Fields]:
        """Return value and timestamp of `Sample` or `Exemplar` messages, and all their fields."""
        inner = self.walk(spans.start, spans.end)
        values, timestamps = np.zeros(len(spans), np.float64), np.zeros(len(spans), np.int64)
        found = inner.of(value)
        read, counts = doubles(self.buffer, found.start, found.end)
        values[np.repeat(found.owner, counts)] = read
        found = inner.of(timestamp)
        timestamps[found.owner] = numbers(self.buffer, found.start, found.end)
        return values, timestamps, inner


def _read_v1(body: bytes, fields_max: int) -> RawRequest:
    envelope = EnvelopeV1.FromString(body)
    series = _Series(list(envelope.timeseries), fields_max)
    metadata = tuple(
        RawMetadata(-1, one.type, one.help, one.unit, one.metric_family_name) for one in envelope.metadata
    )
    return RawRequest(
        1,
        series.size,
        series.label_regions(),
        series.samples(),
        series.points(4),
        series.exemplars(3, refs=False),
        metadata,
    )


def _read_v2(body: bytes, fields_max: int) -> RawRequest:
    envelope = EnvelopeV2.FromString(body)
    symbols = list(envelope.symbols)
    if not symbols or symbols[0]:
        raise WireError('the first of the symbols must be ""')
    series = _Series(list(envelope.timeseries), fields_max)
    found = series.fields.of(_LABELS)
    refs, counts = packed(series.buffer, found.start, found.end)
    return RawRequest(
        2,
        series.size,
        (),
        series.samples(),
        series.points(3),
        series.exemplars(4, refs=True),
        _metadata_v2(series, symbols),
        symbols,
        refs,
        np.bincount(found.owner, counts, series.size).astype(np.int64),
    )


def _metadata_v2(series: _Series, symbols: Sequence[str]) -> tuple[RawMetadata, ...]:
    """Return the metadata that series carry, once for each run of the same bytes."""
    spans = series.fields.of(5)
    seen: dict[bytes, tuple[int, int, int]] = {}
    found: list[RawMetadata] = []
    for owner, start, end in zip(spans.owner.tolist(), spans.start.tolist(), spans.end.tolist(), strict=True):
        raw = series.body[start:end]
        told = seen.get(raw)
        if told is None:
            told = seen[raw] = _metadata_fields(raw)
        kind, help_ref, unit_ref = told
        if max(help_ref, unit_ref) >= len(symbols):
            raise WireError("metadata must refer to symbols of the request")
        found.append(RawMetadata(owner, kind, symbols[help_ref], symbols[unit_ref]))
    return tuple(found)


def _metadata_fields(raw: bytes) -> tuple[int, int, int]:
    values = {1: 0, 3: 0, 4: 0}
    for number, start, end in fields_of(raw):
        if number in values:
            values[number] = varint_of(raw[start:end])
    return values[1], values[3], values[4]
