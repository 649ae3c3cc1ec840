"""Spooled bytes as `Outgoing` again, for what must be written in another way before it is sent."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ninesight_store.contract import ExemplarColumns, HistogramColumns, Labels, Metadata
from ninesight_store.histograms import concat_histograms, with_series

from ninesight_collector.forward.outgoing import Outgoing
from ninesight_collector.remote_write.messages import KINDS, family_of
from ninesight_collector.remote_write.request import RawRequest, read_request

__all__ = ["ShapeBook", "joined", "outgoing_of"]


@dataclass(frozen=True, slots=True)
class _Shape:
    labels: Sequence[Labels]
    metadata: Sequence[Metadata | None]


class ShapeBook:
    """Series of requests read before: a shard sends the same ones again and again. Used by one thread."""

    def __init__(self, series_max: int = 20_000) -> None:
        self._series_max = series_max
        self._held = 0
        self._known: OrderedDict[bytes, _Shape] = OrderedDict()

    def of(self, raw: RawRequest) -> tuple[bytes, _Shape]:
        """Return what stands for the series of a request, and their labels and metadata."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(raw.refs.tobytes())
        digest.update(raw.refs_counts.tobytes())
        digest.update("\xff".join(raw.symbols).encode("utf-8", "surrogatepass"))
        key = digest.digest()
        found = self._known.get(key)
        if found is None:
            labels = _labels(raw)
            found = self._known[key] = _Shape(labels, _metadata(raw, labels))
            self._held += len(labels)
            while self._held > self._series_max and len(self._known) > 1:
                _, gone = self._known.popitem(last=False)
                self._held -= len(gone.labels)
        else:
            self._known.move_to_end(key)
        return key, found


def outgoing_of(body: bytes, book: ShapeBook) -> Outgoing:
    """Return what a 2.0 request of ours holds. Raises BodyError for anything else."""
    raw = read_request(body, 2, len(body) + 1)
    shape, known = book.of(raw)
    points = raw.points.columns
    if raw.points.start_timestamps.any():
        points = replace(points, start_timestamps=raw.points.start_timestamps)
    starts = raw.samples.start_timestamps
    told = raw.exemplars
    return Outgoing(
        known.labels,
        raw.samples.owner,
        raw.samples.timestamps,
        raw.samples.values,
        starts if starts.any() else None,
        points,
        ExemplarColumns(
            told.owner.astype(np.int32),
            told.timestamps,
            told.values,
            tuple(_pairs(raw.symbols, refs) for refs in told.labels if not isinstance(refs, bytes)),
        ),
        known.metadata,
        shape,
    )


def joined(pieces: Sequence[Outgoing]) -> Outgoing:
    """Return one request with the messages of all, one after another."""
    if len(pieces) == 1:
        return pieces[0]
    shifts = np.cumsum([0, *(len(piece.labels) for piece in pieces)]).tolist()
    labels = [labels for piece in pieces for labels in piece.labels]
    any_start = any(piece.start_timestamps is not None for piece in pieces)
    starts = [
        piece.start_timestamps if piece.start_timestamps is not None else np.zeros(len(piece.owner), np.int64)
        for piece in pieces
    ]
    return Outgoing(
        labels,
        np.concatenate([piece.owner + shift for piece, shift in zip(pieces, shifts, strict=False)]),
        np.concatenate([piece.timestamps for piece in pieces]),
        np.concatenate([piece.values for piece in pieces]),
        np.concatenate(starts) if any_start else None,
        _points(pieces, shifts),
        ExemplarColumns(
            np.concatenate(
                [piece.exemplars.series + shift for piece, shift in zip(pieces, shifts, strict=False)]
            ).astype(np.int32),
            np.concatenate([piece.exemplars.timestamps for piece in pieces]),
            np.concatenate([piece.exemplars.values for piece in pieces]),
            tuple(labels for piece in pieces for labels in piece.exemplars.labels),
        ),
        [one for piece in pieces for one in (piece.metadata or [None] * len(piece.labels))],
        b"".join(piece.shape or b"" for piece in pieces) if all(piece.shape for piece in pieces) else None,
    )


def _points(pieces: Sequence[Outgoing], shifts: Sequence[int]) -> HistogramColumns:
    return concat_histograms(
        [
            with_series(piece.histograms, piece.histograms.series + shift)
            for piece, shift in zip(pieces, shifts, strict=False)
            if len(piece.histograms)
        ]
    )


def _metadata(raw: RawRequest, labels: Sequence[Labels]) -> list[Metadata | None]:
    found: list[Metadata | None] = [None] * raw.series
    for one in raw.metadata:
        kind = KINDS[one.kind]
        name = family_of(dict(labels[one.owner]).get("__name__", ""), kind)
        found[one.owner] = Metadata(name, kind, one.unit, one.help)
    return found


def _labels(raw: RawRequest) -> list[Labels]:
    ends = np.cumsum(raw.refs_counts).tolist()
    refs, symbols = raw.refs.tolist(), raw.symbols
    texts = [symbols[ref] for ref in refs]
    found: list[Labels] = []
    low = 0
    for high in ends:
        found.append(tuple(zip(texts[low:high:2], texts[low + 1 : high : 2], strict=True)))
        low = high
    return found


def _pairs(symbols: Sequence[str], refs: Sequence[int]) -> Labels:
    texts = [symbols[ref] for ref in refs]
    return tuple(zip(texts[::2], texts[1::2], strict=True))
