"""Native histograms as messages of remote write, the same in both versions but for the start timestamp."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from ninesight_store.contract import Float64, HistogramColumns, Int32, Int64

from ninesight_collector.varints import delimited, varint, zigzag

__all__ = ["point_messages"]

_GAP_FILLED_MAX = 2
"""Empty buckets between two others that are written out rather than opening another span."""

_EXACT_MAX = float(1 << 53)


def point_messages(points: HistogramColumns, *, starts: bool) -> list[bytes]:
    """Return each point as the body of a `Histogram` message.

    Counts that are whole numbers are written as integers with differences, as scrapes give them.
    """
    return list(_messages(points, starts=starts)) if len(points) else []


def _messages(points: HistogramColumns, *, starts: bool) -> Iterator[bytes]:
    positive = _sides(points.positive_offsets, points.positive_index, points.positive_count)
    negative = _sides(points.negative_offsets, points.negative_index, points.negative_count)
    bounds = points.bounds_offsets.tolist()
    begun = [0] * len(points)
    if starts and points.start_timestamps is not None:
        begun = points.start_timestamps.tolist()
    # As bytes: a stale marker in `sum` must keep its bits.
    sums = np.ascontiguousarray(points.sum, "<f8").tobytes()
    sum_of = points.sum.tolist()
    columns = zip(
        points.count.tolist(),
        points.zero_count.tolist(),
        points.zero_threshold.tolist(),
        points.schema.tolist(),
        points.hint.tolist(),
        points.timestamps.tolist(),
        positive,
        negative,
        strict=True,
    )
    for place, (count, zero, threshold, schema, hint, time, above, below) in enumerate(columns):
        # Receivers refuse integers whose sum is not the count; of floats they ask no such thing.
        whole = _whole((count, zero, *above[1], *below[1])) and (
            count == zero + sum(above[1]) + sum(below[1]) or math.isnan(sum_of[place])
        )
        out = [
            b"\x08" + varint(int(count)) if whole else b"\x11" + struct.pack("<d", count),
            b"\x19" + sums[8 * place : 8 * place + 8],
            b"\x20" + zigzag(schema),
            b"\x29" + struct.pack("<d", threshold),
            b"\x30" + varint(int(zero)) if whole else b"\x39" + struct.pack("<d", zero),
            _side(8, below, whole=whole),
            _side(11, above, whole=whole),
            b"\x70" + varint(hint) + b"\x78" + varint(time),
        ]
        if bounds[place] < bounds[place + 1]:
            # Fields 16 and 17 have tags of two bytes.
            raw = np.ascontiguousarray(points.bounds[bounds[place] : bounds[place + 1]], "<f8").tobytes()
            out.append(b"\x82\x01" + varint(len(raw)) + raw)
        if begun[place]:
            out.append(b"\x88\x01" + varint(begun[place]))
        yield b"".join(out)


_Side = tuple[Sequence[int], Sequence[float]]


def _sides(offsets: Int64, index: Int32, count: Float64) -> Iterator[_Side]:
    cuts, indexes, counts = offsets.tolist(), index.tolist(), count.tolist()
    for low, high in pairwise(cuts):
        yield indexes[low:high], counts[low:high]


def _whole(counts: Sequence[float]) -> bool:
    return all(0 <= count < _EXACT_MAX and count == int(count) for count in counts)


def _side(field: int, side: _Side, *, whole: bool) -> bytes:
    """Return spans (`field`), then differences (`field` + 1) or float counts (`field` + 2)."""
    indexes, counts = side
    if not indexes:
        return b""
    spans: list[list[int]] = []
    filled: list[float] = []
    end = 0
    for index, count in zip(indexes, counts, strict=True):
        gap = index - end
        if not spans or gap > _GAP_FILLED_MAX:
            spans.append([gap, 0])
        else:
            filled += [0.0] * gap
            spans[-1][1] += gap
        filled.append(count)
        spans[-1][1] += 1
        end = index + 1
    written = b"".join(
        delimited(field, b"\x08" + zigzag(offset) + b"\x10" + varint(length)) for offset, length in spans
    )
    if not whole:
        return written + delimited(field + 2, struct.pack(f"<{len(filled)}d", *filled))
    before = 0
    deltas = bytearray()
    for count in filled:
        deltas += zigzag(int(count) - before)
        before = int(count)
    return written + delimited(field + 1, bytes(deltas))
