"""Rollups of float chunks: all series share their timestamps, so they share the times of their bins.

    head    bins: uint32 first, last (milliseconds from the chunk's first sample) and count | series: uint8 flags
    others  values [series x bin], whole numbers and others apart (either compresses better alone)

A series that never falls within the chunk, as counters do, has its first value as the least, its last as the greatest,
and lost nothing: for it these are not stored. One with a stale marker has bins of its own and is not in the rollup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ninesight_store.codec import PCODEC, decode_array, encode_array
from ninesight_store.contract import Float64, Int64, stale_in
from ninesight_store.errors import StoreFormatError
from ninesight_store.pieces import FLOATS
from ninesight_store.rollup import ROLLUP_MS, bin_column
from ninesight_store.rollup_row import RollupDraft, RollupHead, bin_begins, worth_it

__all__ = ["Part", "blobs_for", "decode_part", "encode_rollup", "parts_of"]

_IN, _WHOLE, _FALLS = 1, 2, 4
"""Flags of a series: it is in the rollup; its values are whole; it falls somewhere."""
_BLOB_OF = {"lost": "lost", "sum": "sums", "low": "spread", "high": "spread"}

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Part:
    """Bins of series that share their times. Read-only."""

    places: Int64
    """[R] which of the series that were asked for, ascending."""
    times: Int64
    """[3, B] first_ms, last_ms and count of each bin."""
    values: Float64
    """[C, R, B] first, last, and the columns asked for in the order of `COLUMNS`."""

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return self.places.nbytes + self.times.nbytes + self.values.nbytes + 400


@dataclass(frozen=True, eq=False)
class _Bins:
    begins: Int64
    times: Int64


def blobs_for(columns: Sequence[str]) -> list[str]:
    """Return the blobs that hold these columns (head and ends always do), in stored order."""
    wanted = {_BLOB_OF[name] for name in columns}
    return ["head", "ends", *(name for name in ("lost", "sums", "spread") if name in wanted)]


def encode_rollup(stamps: Int64, values: Float64, level: int) -> RollupDraft | None:
    """Return the rollup of series [R, N] that share their timestamps; None where it is not worth it."""
    bins = _bins_of(stamps)
    count = bins.times.shape[1]
    if not worth_it(len(stamps), len(values), count, int(stamps[-1] - stamps[0])):
        return None
    kept = np.ones(len(values), np.bool_)
    first, last, total = _reduced(values, bins, ("first", "last", "sum"))
    if np.isnan(total).any():
        # Only then there may be a stale marker.
        kept = _rows_with(~stale_in(values))
        values, first, last, total = (column[kept] for column in (values, first, last, total))
    falls = ~_rows_with(values[:, 1:] >= values[:, :-1])
    lost, low, high = _reduced(values[falls], bins, ("lost", "low", "high"))
    whole = _whole(first)
    flags = np.zeros(len(kept), np.uint8)
    flags[kept] = _IN | np.where(whole, _WHOLE, 0) | np.where(falls, _FALLS, 0)
    offsets = bins.times - np.array([[stamps[0]], [stamps[0]], [0]])
    head = RollupHead(FLOATS, ROLLUP_MS, count, len(kept)).packed()
    return RollupDraft(
        head=head + offsets.astype("<u4").tobytes() + flags.tobytes(),
        ends=_packed([first, last], whole, level),
        lost=_packed([lost], whole[falls], level),
        sums=_packed([total], whole, level),
        spread=_packed([low, high], whole[falls], level),
    )


def decode_part(
    blobs: Mapping[str, bytes], start_ms: int, positions: Int64, columns: Sequence[str]
) -> tuple[Part, Int64]:
    """Return the bins of the series at these positions, and which of `positions` are not in the rollup.

    Raises StoreFormatError for damaged bytes.
    """
    blob = blobs["head"]
    head = RollupHead.of(blob)
    sizes = (3 * head.bins, head.series)
    if head.form != FLOATS or len(blob) != RollupHead.SIZE + 4 * sizes[0] + sizes[1]:
        raise StoreFormatError("a rollup is damaged: its head is not that of a chunk of floats")
    none = np.zeros(0, np.int64)
    if head.width_ms != ROLLUP_MS:
        empty = np.zeros((2 + len(columns), 0, 0))
        return Part(none, np.zeros((3, 0), np.int64), empty), np.arange(len(positions))
    times = np.frombuffer(blob, "<u4", sizes[0], RollupHead.SIZE).astype(np.int64).reshape(3, -1)
    times[:2] += start_ms
    flags = np.frombuffer(blob, np.uint8, sizes[1], RollupHead.SIZE + 4 * sizes[0])
    there = (flags[positions] & _IN).astype(np.bool_)
    rows = positions[there]
    field = _Fields(blobs, flags, head.bins)
    first, last = field.rows("ends", _IN, rows)
    found = {"first": first, "last": last}
    if "sum" in columns:
        (found["sum"],) = field.rows("sums", _IN, rows)
    falls = (flags[rows] & _FALLS).astype(np.bool_)
    for name, filler in (("lost", np.zeros_like(first)), ("low", first), ("high", last)):
        if name in columns:
            found[name] = filler.copy()
            at = 1 if name == "high" else 0
            if falls.any():
                found[name][falls] = field.rows(_BLOB_OF[name], _FALLS, rows[falls])[at]
    values = np.stack([found[name] for name in ("first", "last", *columns)])
    return Part(np.flatnonzero(there), times, values), np.flatnonzero(~there)


class _Fields:
    """The value blobs of a rollup, each decoded once."""

    def __init__(self, blobs: Mapping[str, bytes], flags: npt.NDArray[np.uint8], bins: int) -> None:
        self._blobs, self._flags, self._bins = blobs, flags, bins
        self._decoded: dict[str, Float64] = {}

    def rows(self, name: str, flag: int, positions: Int64) -> Float64:
        """Return [columns, R, B] of a blob that holds the series with `flag`."""
        having = (self._flags & flag).astype(np.bool_)
        whole = having & (self._flags & _WHOLE).astype(np.bool_)
        if name not in self._decoded:
            self._decoded[name] = _unpacked(
                self._blobs[name], int(having.sum()), int(whole.sum()), self._bins
            )
        # Those with whole values come first.
        stands = np.where(whole, np.cumsum(whole) - 1, whole.sum() + np.cumsum(having & ~whole) - 1)
        return self._decoded[name][:, stands[positions]]


def _packed(columns: Sequence[Float64], whole: Bool, level: int) -> bytes:
    """Return columns [R, B] as bytes: those of series of whole numbers, then the others."""
    parts = []
    for chosen in (whole, ~whole):
        for column in columns:
            flat = column[chosen].ravel()
            blob = encode_array(flat, PCODEC, level) if len(flat) else b""
            parts.append(len(blob).to_bytes(4, "little") + blob)
    return b"".join(parts)


def _unpacked(blob: bytes, series: int, whole: int, bins: int) -> Float64:
    """Return [columns, series, bins]."""
    arrays: list[npt.NDArray[Any]] = []
    at = 0
    while at + 4 <= len(blob):
        size = int.from_bytes(blob[at : at + 4], "little")
        data = blob[at + 4 : at + 4 + size]
        arrays.append(decode_array(data, PCODEC, np.float64) if size else np.zeros(0))
        at += 4 + size
    half = len(arrays) // 2
    if at != len(blob) or not half or len(arrays) % 2:
        raise StoreFormatError("a rollup is damaged: columns are missing")
    wholes = [array.reshape(whole, bins) for array in arrays[:half]]
    others = [array.reshape(series - whole, bins) for array in arrays[half:]]
    return np.stack([np.concatenate(pair) for pair in zip(wholes, others, strict=True)])


def parts_of(stamps: Int64, values: Float64, columns: Sequence[str]) -> tuple[list[Part], Int64, Int64]:
    """Return the bins of series [R, N] that share their timestamps, and the row and time of each stale marker."""
    stale = stale_in(values)
    broken = stale.any(axis=1)
    names = ("first", "last", *columns)
    parts = []
    whole = np.flatnonzero(~broken)
    if len(whole) and len(stamps):
        bins = _bins_of(stamps)
        reduced = _reduced(values if len(whole) == len(values) else values[whole], bins, names)
        parts.append(Part(whole, bins.times, np.stack(reduced)))
    for row in np.flatnonzero(broken).tolist():
        good = ~stale[row]
        if good.any():
            bins = _bins_of(stamps[good])
            reduced = _reduced(values[row : row + 1, good], bins, names)
            parts.append(Part(np.array([row]), bins.times, np.stack(reduced)))
    rows, at = np.nonzero(stale)
    return parts, rows.astype(np.int64), stamps[at]


def _whole(values: Float64) -> Bool:
    """Return for each row whether all are whole numbers that int64 keeps."""
    with np.errstate(invalid="ignore"):
        back = values.astype(np.int64).astype(np.float64)
    return _rows_with(values.view(np.uint64) == back.view(np.uint64))


def _rows_with(cells: Bool) -> Bool:
    """Return for each row whether all its cells are true."""
    return np.asarray(cells.all(axis=1), np.bool_)


def _bins_of(stamps: Int64) -> _Bins:
    begins = bin_begins(stamps)
    ends = np.append(begins[1:], len(stamps)) - 1
    return _Bins(begins, np.stack([stamps[begins], stamps[ends], ends - begins + 1]))


def _reduced(values: Float64, bins: _Bins, names: Sequence[str]) -> list[Float64]:
    """Return the named columns [R, B] of `values` [R, N]."""
    begins = bins.begins
    with np.errstate(invalid="ignore", over="ignore"):
        return [bin_column(name, values, begins) for name in names]
