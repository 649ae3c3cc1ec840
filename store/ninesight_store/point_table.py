"""Histogram points as bytes, for hot rows: plain columns, each as narrow as its numbers allow.

    uint32 points | one uint8 type per column, padded to 16 | columns: uint32 length, numbers
Counts are whole numbers as a rule and take 1-4 bytes instead of 8; anything else stays float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import HistogramColumns, Int32, Int64
from ninesight_store.errors import StoreFormatError
from ninesight_store.histograms import offsets_of

__all__ = ["COLUMNS", "columns_dict", "is_whole", "pack_points", "points_from", "unpack_points"]

Array = npt.NDArray[Any]

COLUMNS = (
    ("schema", np.int32),
    ("hint", np.int32),
    ("count", np.float64),
    ("sum", np.float64),
    ("zero_threshold", np.float64),
    ("zero_count", np.float64),
    ("positive_lengths", np.int64),
    ("positive_index", np.int32),
    ("positive_count", np.float64),
    ("negative_lengths", np.int64),
    ("negative_index", np.int32),
    ("negative_count", np.float64),
    ("bounds_lengths", np.int64),
    ("bounds", np.float64),
)
"""The stored columns in order; offsets are stored as lengths."""

OFFSETS_OF = {f"{side}_offsets": f"{side}_lengths" for side in ("positive", "negative", "bounds")}

_TYPES = ("<u1", "<u2", "<u4", "<i1", "<i2", "<i4", "<f8", "<i8")
_FLOAT, _WIDE = 6, 7
_HEAD = 4 + len(COLUMNS) + (-len(COLUMNS) % 4)
_PLAIN = frozenset(("count", "sum", "zero_threshold", "zero_count"))
"""One number a point: not worth a look at how wide it is."""
_CONSTANT = 0x80
"""Flag: the column holds one point's numbers, which stand for all points."""


def columns_dict(points: HistogramColumns) -> dict[str, Array]:
    """Return the columns to store."""
    found = {name: getattr(points, name) for name, _ in COLUMNS if not name.endswith("_lengths")}
    return found | {lengths: np.diff(getattr(points, offsets)) for offsets, lengths in OFFSETS_OF.items()}


def points_from(columns: dict[str, Array], series: Int32, timestamps: Int64) -> HistogramColumns:
    """Build points from stored columns."""
    fields = {name: array for name, array in columns.items() if not name.endswith("_lengths")}
    fields |= {offsets: offsets_of(columns[lengths]) for offsets, lengths in OFFSETS_OF.items()}
    return HistogramColumns(series=series, timestamps=timestamps, **fields)


def pack_points(points: HistogramColumns) -> bytes:
    """Return the points without series and timestamps (the row keeps those)."""
    found = columns_dict(points)
    kinds = bytearray()
    parts: list[bytes] = []
    for name, _ in COLUMNS:
        array = found[name]
        share = _share(array, len(points))
        kept = array if share is None else array[:share]
        kind = _FLOAT if name in _PLAIN else _narrowest(kept)
        kinds.append(kind | (0 if share is None else _CONSTANT))
        blob = kept.astype(_TYPES[kind]).tobytes()
        parts += [len(blob).to_bytes(4, "little"), blob]
    head = len(points).to_bytes(4, "little") + bytes(kinds)
    return b"".join([head.ljust(_HEAD, b"\0"), *parts])


def unpack_points(blob: bytes, series: Int32, timestamps: Int64) -> HistogramColumns:
    """Return what `pack_points` stored. Raises StoreFormatError for damaged bytes."""
    points = int.from_bytes(blob[:4], "little")
    columns: dict[str, Array] = {}
    position = _HEAD
    try:
        for kind, (name, dtype) in zip(blob[4:], COLUMNS, strict=False):
            size = int.from_bytes(blob[position : position + 4], "little")
            kept = np.dtype(_TYPES[kind & ~_CONSTANT])
            array = np.frombuffer(blob, kept, size // kept.itemsize, position + 4).astype(dtype)
            position += 4 + size
            columns[name] = np.tile(array, points) if kind & _CONSTANT else array
    except (ValueError, IndexError) as error:
        raise StoreFormatError(f"a histogram row is damaged: {error}") from error
    return points_from(columns, series, timestamps)


def _share(array: Array, points: int) -> int | None:
    """Return how many numbers each point has if all points have the same ones, else None."""
    if points < 2 or not len(array) or len(array) % points:
        return None
    bits = array.view(f"u{array.itemsize}")
    width = len(array) // points
    # The second point is compared first: most columns differ there already.
    if bool((bits[:width] != bits[width : 2 * width]).any()):
        return None
    return width if bool((bits.reshape(points, width) == bits[:width]).all()) else None


def _narrowest(array: Array) -> int:
    """Return the index in _TYPES of the narrowest type that keeps every number bit-exact."""
    if not len(array):
        return 0
    if array.dtype.kind == "f" and not is_whole(array):
        return _FLOAT
    low, high = array.min(), array.max()
    if low >= 0:
        return 0 if high < 2**8 else 1 if high < 2**16 else 2 if high < 2**32 else _WIDE
    for kind, bits in ((3, 7), (4, 15), (5, 31)):
        if low >= -(2**bits) and high < 2**bits:
            return kind
    return _WIDE


def is_whole(array: Array) -> bool:
    """Whether all are whole numbers that int64 keeps bit-exact (so no -0.0, no NaN, nothing from 2^63 on)."""
    with np.errstate(invalid="ignore"):
        back = array.astype(np.int64).astype(np.float64)
    return bool((array.view(np.uint64) == back.view(np.uint64)).all())
