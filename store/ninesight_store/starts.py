"""Start timestamps as bytes, for hot rows and chunks: absent where no sample has one, so they cost nothing there.

    uint32 checksum | uint8 form | runs: int64 start, then uint32 samples, of each run   (form 0)
                                 | packed: one compressed column                         (form 1)

Counters of one process began together, so a few runs stand for thousands of samples. The blob has a checksum
of its own: damage here costs the start timestamps, never the samples.
"""

from __future__ import annotations

import zlib

import numpy as np

from ninesight_store.codec import PCODEC, decode_array, encode_array
from ninesight_store.contract import Int64
from ninesight_store.errors import StoreFormatError

__all__ = ["decode_starts", "encode_starts"]

_RUNS, _PACKED = 0, 1
_PACK_FROM = 8


def encode_starts(starts: Int64 | None) -> bytes | None:
    """Return start timestamps as bytes; None where no sample has one."""
    if starts is None or not starts.any():
        return None
    flat = np.ascontiguousarray(starts, "<i8")
    firsts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    if len(flat) >= _PACK_FROM and 4 * len(firsts) > len(flat):
        body = bytes((_PACKED,)) + encode_array(flat, PCODEC)
    else:
        lengths = np.diff(np.append(firsts, len(flat)))
        body = bytes((_RUNS,)) + flat[firsts].tobytes() + lengths.astype("<u4").tobytes()
    return zlib.crc32(body).to_bytes(4, "little") + body


def decode_starts(blob: bytes, count: int) -> Int64:
    """Return the start timestamps of `count` samples. Raises StoreFormatError for damaged bytes."""
    if len(blob) < 5 or zlib.crc32(blob[4:]).to_bytes(4, "little") != blob[:4]:
        raise StoreFormatError("the start timestamps do not match their checksum")
    if blob[4] == _PACKED:
        starts = decode_array(blob[5:], PCODEC, np.int64)
    else:
        runs = (len(blob) - 5) // 12
        values = np.frombuffer(blob, "<i8", runs, 5)
        starts = np.repeat(values, np.frombuffer(blob, "<u4", runs, 5 + 8 * runs)).astype(np.int64)
    if len(starts) != count:
        raise StoreFormatError(f"{len(starts)} start timestamps for {count} samples")
    return starts
