"""Histogram points of one series over a chunk, compressed.

Buckets become a table of bucket x time over all indexes that occur, each row its differences in time: a
cumulative histogram grows by small whole numbers. A bitmap says which buckets a point really had.

    fields: uint8 tag | uint32 length | bytes, in the order of `encode_points`
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ninesight_store.codec import PCODEC, decode_array, encode_array
from ninesight_store.contract import HistogramColumns, Int32, Int64
from ninesight_store.errors import StoreFormatError
from ninesight_store.histograms import offsets_of
from ninesight_store.point_table import is_whole

__all__ = ["decode_points", "encode_points"]

Array = npt.NDArray[Any]

_SCALARS = (
    ("schema", np.int32),
    ("hint", np.int32),
    ("count", np.float64),
    ("sum", np.float64),
    ("zero_threshold", np.float64),
    ("zero_count", np.float64),
)
_EMPTY, _CONSTANT, _RAW, _PACKED, _WHOLE = range(5)
_PACK_FROM = 8
_BUCKETS_MAX = 2**27
_TABLE_MIN = 2**20
_TABLE_WASTE_MAX = 8
"""A table with more than this many cells a bucket is not worth it; buckets are then stored one after another."""


def encode_points(points: HistogramColumns, level: int = 4) -> bytes:
    """Return the points without series and timestamps."""
    parts = [_field(getattr(points, name), level) for name, _ in _SCALARS]
    for side in ("positive", "negative"):
        offsets = getattr(points, f"{side}_offsets")
        parts += _encode_side(
            offsets, getattr(points, f"{side}_index"), getattr(points, f"{side}_count"), level
        )
    lengths = np.diff(points.bounds_offsets)
    rows = points.bounds.reshape(len(points), -1) if len(set(lengths.tolist())) == 1 else None
    shared = rows is not None and bool((rows.view(np.uint64) == rows[0].view(np.uint64)).all())
    bounds = rows[0] if shared and rows is not None else points.bounds
    parts += [_field(lengths, level), _field(bounds, level, constant=False)]
    return b"".join(parts)


def decode_points(blob: bytes, series: Int32, timestamps: Int64) -> HistogramColumns:
    """Return what `encode_points` stored. Raises StoreFormatError for damaged bytes."""
    count = len(timestamps)
    fields = _fields(blob)
    try:
        columns: dict[str, Array] = {name: _array(next(fields), dtype, count) for name, dtype in _SCALARS}
        for side in ("positive", "negative"):
            columns |= _decode_side(side, fields, count)
        lengths = _array(next(fields), np.int64, count)
        bounds = _array(next(fields), np.float64, -1)
    except StopIteration as error:
        raise StoreFormatError("a histogram chunk is damaged: fields are missing") from error
    offsets = offsets_of(lengths)
    if len(bounds) != offsets[-1]:
        bounds = np.tile(bounds, count)
    return HistogramColumns(
        series=series, timestamps=timestamps, bounds_offsets=offsets, bounds=bounds, **columns
    )


def _encode_side(offsets: Int64, index: Int32, counts: Array, level: int) -> list[bytes]:
    """Return the fields: distinct indexes, bitmap of presence, table of counts."""
    points = len(offsets) - 1
    width = len(index) // points
    regular = width * points == len(index) and bool((np.diff(offsets) == width).all())
    if regular and width and bool((index.reshape(points, width) == index[:width]).all()):
        return [
            _field(index[:width], level),
            _blob(b""),
            _table_field(counts.reshape(points, width).T, level),
        ]
    distinct, column = np.unique(index, return_inverse=True)
    if not len(distinct):
        return [_field(distinct, level), _blob(b""), _field(counts, level)]
    if len(distinct) * points > max(_TABLE_MIN, _TABLE_WASTE_MAX * len(index)):
        lengths = np.diff(offsets).astype(np.int64)
        flat = [_field(index, level, constant=False), _field(counts, level, constant=False)]
        return [_field(distinct[:0], level), _blob(lengths.astype("<i8").tobytes()), *flat]
    row = np.repeat(np.arange(points), np.diff(offsets))
    present = np.zeros((len(distinct), points), np.bool_)
    present[column, row] = True
    table = np.zeros((len(distinct), points), np.float64)
    table[column, row] = counts
    mask = b"" if present.all() else zlib.compress(np.packbits(present).tobytes(), 6)
    return [_field(distinct, level), _blob(mask), _table_field(table, level)]


def _table_field(table: Array, level: int) -> bytes:
    flat = np.ascontiguousarray(table).ravel()
    if not is_whole(flat):
        return _field(flat, level)
    # Differences in time, here rather than by the codec, which would run over the rows' ends.
    steps = flat.astype(np.int64).reshape(table.shape)
    steps[:, 1:] = np.diff(steps, axis=1)
    return _field(steps.ravel(), level, tag=_WHOLE)


def _decode_side(side: str, fields: Iterator[tuple[int, bytes]], points: int) -> dict[str, Array]:
    distinct = _array(next(fields), np.int32, -1)
    mask = next(fields)[1]
    if not len(distinct) and mask:
        return {
            f"{side}_offsets": offsets_of(np.frombuffer(mask, "<i8")),
            f"{side}_index": _array(next(fields), np.int32, -1),
            f"{side}_count": _array(next(fields), np.float64, -1),
        }
    tag, data = next(fields)
    if len(distinct) * points > _BUCKETS_MAX:
        raise StoreFormatError("a histogram chunk is damaged: too many buckets")
    if tag == _WHOLE:
        steps = decode_array(data, PCODEC, np.int64).reshape(len(distinct), points)
        table = np.cumsum(steps, axis=1).astype(np.float64)
    else:
        table = _array((tag, data), np.float64, len(distinct) * points).reshape(len(distinct), points)
    if not mask:
        return {
            f"{side}_offsets": np.arange(points + 1, dtype=np.int64) * len(distinct),
            f"{side}_index": np.tile(distinct, points),
            f"{side}_count": np.ascontiguousarray(table.T).ravel(),
        }
    bits = np.frombuffer(zlib.decompress(mask), np.uint8)
    cells = np.unpackbits(bits, count=len(distinct) * points)
    present = cells.astype(np.bool_).reshape(len(distinct), points)
    row, column = np.nonzero(present.T)
    return {
        f"{side}_offsets": offsets_of(present.sum(axis=0)),
        f"{side}_index": distinct[column],
        f"{side}_count": np.ascontiguousarray(table.T)[row, column],
    }


def _field(array: Array, level: int, tag: int | None = None, *, constant: bool = True) -> bytes:
    if tag is not None:
        return _blob(encode_array(array, PCODEC, level), tag)
    if not len(array):
        return _blob(b"", _EMPTY)
    raw = np.ascontiguousarray(array)
    bits = raw.view(f"u{raw.itemsize}")
    if constant and len(raw) > 1 and bool((bits == bits[0]).all()):
        return _blob(raw[:1].tobytes(), _CONSTANT)
    if len(raw) < _PACK_FROM:
        return _blob(raw.tobytes(), _RAW)
    return _blob(encode_array(raw, PCODEC, level), _PACKED)


def _blob(data: bytes, tag: int = _RAW) -> bytes:
    return bytes((tag,)) + len(data).to_bytes(4, "little") + data


def _fields(blob: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 5 <= len(blob):
        size = int.from_bytes(blob[position + 1 : position + 5], "little")
        yield blob[position], blob[position + 5 : position + 5 + size]
        position += 5 + size


def _array(field: tuple[int, bytes], dtype: type[np.generic], count: int) -> Array:
    """Return a field's numbers; `count` says how many a constant stands for (-1: its own length is unknown)."""
    tag, data = field
    if tag == _EMPTY:
        return np.zeros(0, dtype)
    if tag == _PACKED:
        return decode_array(data, PCODEC, dtype)
    array = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype)
    return np.full(count, array[0], dtype) if tag == _CONSTANT else array
