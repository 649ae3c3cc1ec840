"""Requests of both versions, written as bytes: no message objects, and what repeats is made once.

Field numbers as in `remote_write.request` and `remote_write.points`; wire format as in `remote_write.wire`.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ninesight_store.contract import Float64, Int64, Labels, Metadata

from ninesight_collector.forward.outgoing import Outgoing
from ninesight_collector.forward.points import point_messages
from ninesight_collector.varints import delimited, varint

__all__ = ["V1Encoder", "V2Encoder"]

_KINDS_V1 = {"unknown": 0, "counter": 1, "gauge": 2, "histogram": 3, "summary": 5, "info": 6}
_KINDS_V2 = _KINDS_V1
_SHAPES_MAX = 256
# Six bytes of varint hold the milliseconds of 1971 to 2109.
_SIX_MIN, _SIX_MAX = 1 << 35, 1 << 42
_EXEMPLAR_V1, _EXEMPLAR_V2 = 3, 4
_HISTOGRAM_V1, _HISTOGRAM_V2 = 4, 3


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a 2.0 request of certain series has besides samples."""

    symbols: dict[str, int]
    written: bytes
    """The symbols as fields."""
    heads: Sequence[bytes]
    tails: Sequence[bytes]


class V2Encoder:
    """Writes `io.prometheus.write.v2.Request`. Used by one thread at a time."""

    def __init__(self) -> None:
        self._shapes: OrderedDict[bytes, _Shape] = OrderedDict()

    def encode(self, outgoing: Outgoing) -> bytes:
        """Return the request, not yet compressed."""
        shape = self._shape(outgoing)
        symbols, written = shape.symbols, [shape.written]
        if len(outgoing.exemplars):
            # Their labels are new in every request, so the shared symbols must not grow by them.
            symbols = dict(symbols)
            before = len(symbols)
            for labels in outgoing.exemplars.labels:
                _refs(symbols, labels)
            written.append(_written(list(symbols)[before:]))
        exemplars = _exemplars(outgoing, _EXEMPLAR_V2, lambda labels: delimited(1, _refs(symbols, labels)))
        bodies = _bodies(outgoing, _HISTOGRAM_V2, exemplars, starts=True)
        series = [
            b"".join((b"\x2a", varint(len(head) + len(body) + len(tail)), head, body, tail))
            for head, body, tail in zip(shape.heads, bodies, shape.tails, strict=True)
        ]
        return b"".join((*written, *series))

    def _shape(self, outgoing: Outgoing) -> _Shape:
        known = None if outgoing.shape is None else self._shapes.get(outgoing.shape)
        if known is not None:
            return known
        symbols = {"": 0}
        heads = [delimited(1, _refs(symbols, labels)) for labels in outgoing.labels]
        tails: list[bytes] = [b""] * len(heads)
        if outgoing.metadata:
            tails = [b"" if one is None else _metadata_v2(symbols, one) for one in outgoing.metadata]
        found = _Shape(symbols, _written(symbols), heads, tails)
        if outgoing.shape is not None:
            self._shapes[outgoing.shape] = found
            if len(self._shapes) > _SHAPES_MAX:
                self._shapes.popitem(last=False)
        return found


class V1Encoder:
    """Writes `prometheus.WriteRequest`. Used by one thread at a time."""

    def __init__(self, series_max: int = 20_000) -> None:
        self._series_max = series_max
        self._shapes: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._held = 0

    def encode(self, outgoing: Outgoing, metadata: Iterable[Metadata] = ()) -> bytes:
        """Return the request, not yet compressed; `metadata` goes with it as entries of its own."""
        exemplars = _exemplars(outgoing, _EXEMPLAR_V1, _label_messages)
        bodies = _bodies(outgoing, _HISTOGRAM_V1, exemplars, starts=False)
        pieces = [
            b"".join((b"\x0a", varint(len(head) + len(body)), head, body))
            for head, body in zip(self._heads(outgoing), bodies, strict=True)
        ]
        pieces += [delimited(3, _metadata_v1(one)) for one in metadata]
        return b"".join(pieces)

    def _heads(self, outgoing: Outgoing) -> list[bytes]:
        shape = outgoing.shape
        found = None if shape is None else self._shapes.get(shape)
        if found is None:
            found = [_label_messages(labels) for labels in outgoing.labels]
            if shape is not None:
                self._shapes[shape] = found
                self._held += len(found)
            while self._held > self._series_max and len(self._shapes) > 1:
                _, gone = self._shapes.popitem(last=False)
                self._held -= len(gone)
        return found


def _bodies(outgoing: Outgoing, histogram: int, exemplars: dict[int, bytes], *, starts: bool) -> list[bytes]:
    """Return samples, histograms and exemplars of each message."""
    bodies = _sample_bodies(outgoing, outgoing.start_timestamps if starts else None)
    points = point_messages(outgoing.histograms, starts=starts)
    for owner, point in zip(outgoing.histograms.series.tolist(), points, strict=True):
        bodies[owner] += delimited(histogram, point)
    for owner, written in exemplars.items():
        bodies[owner] += written
    return bodies


def _sample_bodies(outgoing: Outgoing, starts: Int64 | None) -> list[bytes]:
    messages = len(outgoing.labels)
    counts = np.bincount(outgoing.owner, minlength=messages)
    blob, width = _even_samples(outgoing.timestamps, outgoing.values, starts)
    ends = np.cumsum(counts)
    bounds = zip((ends - counts).tolist(), ends.tolist(), strict=True)
    if width:
        return [blob[low * width : high * width] for low, high in bounds]
    begun = [0] * len(outgoing.owner) if starts is None else starts.tolist()
    each = [
        delimited(2, b"\x09" + value + b"\x10" + varint(time) + (b"\x18" + varint(start) if start else b""))
        for time, value, start in zip(
            outgoing.timestamps.tolist(), _eights(outgoing.values), begun, strict=True
        )
    ]
    return [b"".join(each[low:high]) for low, high in bounds]


def _even_samples(timestamps: Int64, values: Float64, starts: Int64 | None) -> tuple[bytes, int]:
    """Return all samples as bytes of one width each; width 0 where they are not all alike."""
    times = [timestamps] if starts is None else [timestamps, starts]
    if not len(timestamps) or any(int(t.min()) < _SIX_MIN or int(t.max()) >= _SIX_MAX for t in times):
        return b"", 0
    width = 11 + 7 * len(times)
    table = np.empty((len(timestamps), width), np.uint8)
    table[:, 0], table[:, 1], table[:, 2] = 0x12, width - 2, 0x09
    table[:, 3:11] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    for number, column in enumerate(times):
        at = 11 + 7 * number
        table[:, at] = 0x10 if number == 0 else 0x18
        for place in range(6):
            piece = (column >> (7 * place)) & 0x7F
            table[:, at + 1 + place] = piece | (0x80 if place < 5 else 0)
    return table.tobytes(), width


def _eights(values: Float64) -> list[bytes]:
    raw = np.ascontiguousarray(values, "<f8").tobytes()
    return [raw[at : at + 8] for at in range(0, len(raw), 8)]


def _exemplars(outgoing: Outgoing, number: int, written: Callable[[Labels], bytes]) -> dict[int, bytes]:
    told = outgoing.exemplars
    found: dict[int, bytes] = {}
    for owner, time, value, labels in zip(
        told.series.tolist(), told.timestamps.tolist(), told.values.tolist(), told.labels, strict=True
    ):
        body = written(labels) + b"\x11" + struct.pack("<d", value) + b"\x18" + varint(time)
        found[owner] = found.get(owner, b"") + delimited(number, body)
    return found


def _refs(symbols: dict[str, int], labels: Labels) -> bytes:
    refs = bytearray()
    for pair in labels:
        for text in pair:
            refs += varint(symbols.setdefault(text, len(symbols)))
    return bytes(refs)


def _written(symbols: Iterable[str]) -> bytes:
    return b"".join(delimited(4, text.encode()) for text in symbols)


def _label_messages(labels: Labels) -> bytes:
    return b"".join(
        delimited(1, delimited(1, name.encode()) + delimited(2, value.encode())) for name, value in labels
    )


def _metadata_v2(symbols: dict[str, int], told: Metadata) -> bytes:
    help_ref = symbols.setdefault(told.help, len(symbols))
    unit_ref = symbols.setdefault(told.unit, len(symbols))
    kind = _KINDS_V2.get(told.kind, 0)
    return delimited(5, b"\x08" + varint(kind) + b"\x18" + varint(help_ref) + b"\x20" + varint(unit_ref))


def _metadata_v1(told: Metadata) -> bytes:
    return (
        b"\x08"
        + varint(_KINDS_V1.get(told.kind, 0))
        + delimited(2, told.metric.encode())
        + delimited(4, told.help.encode())
        + delimited(5, told.unit.encode())
    )
