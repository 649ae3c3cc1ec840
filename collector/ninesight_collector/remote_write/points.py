"""Native histograms of both versions as columns; a broken one costs itself.

Buckets travel as spans (gaps and runs of indexes) with either differences of integer counts or float counts
(prompb/types.proto `Histogram`, the same numbers in both versions). The rules a histogram must keep are
those of Prometheus' `Histogram.Validate` (model/histogram).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import STALE_BITS, Float64, HistogramColumns, Int64, ResetHint
from ninesight_store.histograms import offsets_of, take_histograms

from ninesight_collector.remote_write.wire import Bytes, Fields, doubles, numbers, packed, signed, walk

__all__ = ["Points", "read_points"]

_COUNT_INT, _COUNT_FLOAT, _SUM, _SCHEMA, _ZERO_THRESHOLD, _ZERO_INT, _ZERO_FLOAT = range(1, 8)
_NEGATIVE, _POSITIVE = (8, 9, 10), (11, 12, 13)  # spans, differences, float counts
_HINT, _TIMESTAMP, _BOUNDS, _START = 14, 15, 16, 17
_OFFSET, _LENGTH = 1, 2
_CUSTOM = -53
_SCHEMA_MIN, _SCHEMA_MAX = -4, 8
_INDEX_LIMIT = 1 << 31
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Points:
    """What the histogram messages came to."""

    columns: HistogramColumns
    """`series` holds the message that owns the point."""
    start_timestamps: Int64
    """[M] when the counter began, milliseconds; 0 for unknown."""
    refused: tuple[tuple[int, str], ...]
    """(owner, what must hold) of those left out."""


class _Message:
    """The fields of M histogram messages."""

    def __init__(self, body: bytes, buffer: Bytes, spans: Fields, fields_max: int) -> None:
        self.body, self.buffer, self.fields_max = body, buffer, fields_max
        self.size = len(spans)
        self.fields = walk(body, buffer, spans.start, spans.end, fields_max)
        self.problem: list[tuple[Mask, str]] = []

    def double(self, number: int) -> Float64:
        found = self.fields.of(number)
        column = np.zeros(self.size, np.float64)
        values, counts = doubles(self.buffer, found.start, found.end)
        column[np.repeat(found.owner, counts)] = values
        return column

    def integer(self, number: int) -> Int64:
        found = self.fields.of(number)
        column = np.zeros(self.size, np.int64)
        column[found.owner] = numbers(self.buffer, found.start, found.end)
        return column

    def has(self, number: int) -> Mask:
        column = np.zeros(self.size, np.bool_)
        column[self.fields.owner[self.fields.number == number]] = True
        return column

    def listed(self, number: int) -> tuple[Float64, Int64]:
        """Return the doubles of a repeated field and how many each message has."""
        found = self.fields.of(number)
        values, counts = doubles(self.buffer, found.start, found.end)
        return values, np.bincount(found.owner, counts, self.size).astype(np.int64)

    def refuse(self, bad: Mask, words: str) -> None:
        self.problem.append((bad, words))


def read_points(body: bytes, buffer: Bytes, spans: Fields, fields_max: int) -> Points:
    """Return the histograms that lie at these spans; `spans.owner` names whose each is. Raises WireError."""
    if not len(spans):
        return Points(HistogramColumns(), np.zeros(0, np.int64), ())
    told = _Message(body, buffer, spans, fields_max)
    floating = told.has(_COUNT_FLOAT)
    schema = signed(told.integer(_SCHEMA))
    total = np.where(floating, told.double(_COUNT_FLOAT), _unsigned(told.integer(_COUNT_INT)))
    zeros = np.where(floating, told.double(_ZERO_FLOAT), _unsigned(told.integer(_ZERO_INT)))
    custom = schema == _CUSTOM
    told.refuse(
        ~custom & ((schema < _SCHEMA_MIN) | (schema > _SCHEMA_MAX)),
        "the schema of a histogram must be -4..8, or -53 for custom bounds",
    )
    bounds, bounds_count = _bounds(told, custom)
    positive = _buckets(told, _POSITIVE, floating)
    negative = _buckets(told, _NEGATIVE, floating)
    sums = told.double(_SUM)
    _check_counts(told, floating, total, zeros, sums, (positive, negative))
    _check_custom(told, custom, bounds_count, positive, negative, zeros)
    hint = told.integer(_HINT)
    told.refuse((hint < 0) | (hint > ResetHint.GAUGE), "the reset hint of a histogram must be 0..3")
    columns = HistogramColumns(
        series=spans.owner.astype(np.int32),
        timestamps=told.integer(_TIMESTAMP),
        schema=np.clip(schema, -128, 127).astype(np.int32),
        hint=np.clip(hint, 0, 3).astype(np.int32),
        count=total,
        sum=sums,
        zero_threshold=told.double(_ZERO_THRESHOLD),
        zero_count=zeros,
        positive_offsets=positive.offsets,
        positive_index=positive.index.astype(np.int32),
        positive_count=positive.count,
        negative_offsets=negative.offsets,
        negative_index=negative.index.astype(np.int32),
        negative_count=negative.count,
        bounds_offsets=offsets_of(bounds_count),
        bounds=bounds,
    )
    return _sound(columns, told, told.integer(_START), spans.owner)


def _sound(columns: HistogramColumns, told: _Message, starts: Int64, owner: Int64) -> Points:
    """Leave out what was found broken; the first problem of each is told."""
    bad = np.zeros(told.size, np.bool_)
    refused: list[tuple[int, str]] = []
    for mask, words in told.problem:
        refused += [(int(owner[place]), words) for place in np.flatnonzero(mask & ~bad)]
        bad |= mask
    if not refused:
        return Points(columns, starts, ())
    rows = np.flatnonzero(~bad)
    return Points(take_histograms(columns, rows), starts[rows], tuple(refused))


@dataclass(frozen=True, slots=True)
class _Buckets:
    offsets: Int64
    index: Int64
    count: Float64
    total: Float64
    """[M] all counts together."""


def _buckets(told: _Message, numbers_of: tuple[int, int, int], floating: Mask) -> _Buckets:
    spans_number, deltas_number, counts_number = numbers_of
    size = told.size
    spans = told.fields.of(spans_number)
    inner = walk(told.body, told.buffer, spans.start, spans.end, told.fields_max)
    offset, length = np.zeros(len(spans), np.int64), np.zeros(len(spans), np.int64)
    for column, number in ((offset, _OFFSET), (length, _LENGTH)):
        found = inner.of(number)
        column[found.owner] = numbers(told.buffer, found.start, found.end)
    offset = signed(offset)
    values, held = _values(told, deltas_number, counts_number, floating)
    wide = (length < 0) | (length >= _INDEX_LIMIT) | (np.abs(offset) >= _INDEX_LIMIT)
    covered = np.bincount(spans.owner, np.where(wide, np.inf, length), size)
    first = np.ones(len(spans), np.bool_)
    first[1:] = spans.owner[1:] != spans.owner[:-1]
    uneven = covered != held
    backward = np.zeros(size, np.bool_)
    backward[spans.owner[~first & (offset < 0)]] = True
    told.refuse(uneven, "the spans of a histogram must cover as many buckets as it has counts")
    told.refuse(backward, "only the first span of a histogram may have an offset below 0")
    bad = uneven | backward
    length = np.where(bad[spans.owner], 0, length)
    offset = np.where(bad[spans.owner], 0, offset)
    values = values[np.repeat(~bad, held)]
    owner = np.repeat(np.arange(size), np.where(bad, 0, held))
    index = _indexes(spans.owner, first, offset, length)
    far = np.zeros(size, np.bool_)
    far[owner[np.abs(index) >= _INDEX_LIMIT]] = True
    told.refuse(far, "a bucket index of a histogram must fit 32 bits")
    below = np.zeros(size, np.bool_)
    below[owner[~(values >= 0)]] = True
    told.refuse(below, "a bucket of a histogram must not count below 0")
    kept = values > 0
    total = np.bincount(owner, np.where(kept, values, 0.0), size).astype(np.float64)
    counted = np.bincount(owner[kept], minlength=size)
    return _Buckets(offsets_of(counted), index[kept], values[kept], total)


def _values(told: _Message, deltas_number: int, counts_number: int, floating: Mask) -> tuple[Float64, Int64]:
    """Return the absolute bucket counts of all messages in order, and how many each has."""
    found = told.fields.of(deltas_number)
    deltas, per_field = packed(told.buffer, found.start, found.end)
    held = np.bincount(found.owner, per_field, told.size).astype(np.int64)
    run = np.cumsum(signed(deltas))
    ends = np.cumsum(held)
    before = np.concatenate(([0], run))[ends - held]
    integers = (run - np.repeat(before, held)).astype(np.float64)
    floats, floats_held = told.listed(counts_number)
    if not floating.any():
        return integers, held
    both = np.concatenate((integers[np.repeat(~floating, held)], floats[np.repeat(floating, floats_held)]))
    own = np.where(floating, floats_held, held)
    owner = np.concatenate(
        (
            np.repeat(np.arange(told.size), np.where(floating, 0, held)),
            np.repeat(np.arange(told.size), np.where(floating, floats_held, 0)),
        )
    )
    return both[np.argsort(owner, kind="stable")], own


def _indexes(owner: Int64, first: Mask, offset: Int64, length: Int64) -> Int64:
    """Return the bucket indexes that spans cover, one after another."""
    if not len(owner):
        return np.zeros(0, np.int64)
    step = offset.copy()
    step[1:] += np.where(first[1:], 0, length[:-1])
    run = np.cumsum(step)
    begun = np.flatnonzero(first)
    base = np.concatenate(([0], run))[begun]
    start = run - np.repeat(base, np.diff(np.append(begun, len(owner))))
    before = np.cumsum(length) - length
    index: Int64 = np.repeat(start - before, length) + np.arange(int(length.sum()), dtype=np.int64)
    return index


def _bounds(told: _Message, custom: Mask) -> tuple[Float64, Int64]:
    bounds, counts = told.listed(_BOUNDS)
    told.refuse(~custom & (counts > 0), "only a histogram of schema -53 may have custom bounds")
    owner = np.repeat(np.arange(told.size), counts)
    falling = np.zeros(told.size, np.bool_)
    falling[owner[1:][(owner[1:] == owner[:-1]) & ~(bounds[1:] > bounds[:-1])]] = True
    falling[owner[~np.isfinite(bounds)]] = True
    told.refuse(falling, "the custom bounds of a histogram must be finite and ascend")
    return bounds, counts


def _check_counts(
    told: _Message,
    floating: Mask,
    total: Float64,
    zeros: Float64,
    sums: Float64,
    buckets: tuple[_Buckets, _Buckets],
) -> None:
    told.refuse(
        ~((total >= 0) & (zeros >= 0)) & (sums.view(np.uint64) != STALE_BITS),
        "a count of a histogram must not be below 0",
    )
    counted = buckets[0].total + buckets[1].total + zeros
    missing = np.where(np.isnan(sums), counted > total, counted != total)
    told.refuse(~floating & missing, "the count of a histogram must be the sum of its buckets")


def _check_custom(
    told: _Message, custom: Mask, bounds: Int64, positive: _Buckets, negative: _Buckets, zeros: Float64
) -> None:
    beyond = np.zeros(told.size, np.bool_)
    owner = np.repeat(np.arange(told.size), np.diff(positive.offsets))
    beyond[owner[(positive.index < 0) | (positive.index > bounds[owner])]] = True
    told.refuse(
        custom & ((zeros != 0) | (np.diff(negative.offsets) > 0)),
        "a histogram with custom bounds must have neither a zero bucket nor negative ones",
    )
    told.refuse(custom & beyond, "a custom bucket of a histogram must lie within its bounds")


def _unsigned(values: Int64) -> Float64:
    return values.view(np.uint64).astype(np.float64)
