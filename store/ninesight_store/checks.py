"""Checksums of what is stored (CRC-32, which finds every flipped bit and every burst up to 32 bits).

    hot row   one number over its header and blobs
    chunk     uint32 array: the header with the shared blobs first, then one a series, in layout order

A chunk's series are checked one by one, so a read checks only what it decodes and damage costs one series.
The header takes in what a query finds a row by: a flipped bit in its span or layout is damage as well.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["body_sum", "chunk_sums", "head_sum", "row_sum", "series_sums", "sound_positions"]

_HEAD = struct.Struct("<hhqqqq")


def body_sum(times: bytes, data: bytes) -> int:
    """Return the sum of a hot row's blobs."""
    return zlib.crc32(data, zlib.crc32(times))


def row_sum(body: int, *, kind: int, layout_id: int, start_ms: int, end_ms: int, count: int) -> int:
    """Return a hot row's checksum, from the sum of its blobs."""
    return zlib.crc32(_HEAD.pack(kind, 0, layout_id, start_ms, end_ms, count), body)


def head_sum(
    times: bytes,
    ends: bytes,
    *,
    kind: int,
    codec: int,
    layout_id: int,
    start_ms: int,
    end_ms: int,
    count: int,
) -> int:
    """Return the checksum of what a chunk's series share."""
    header = _HEAD.pack(kind, codec, layout_id, start_ms, end_ms, count)
    return zlib.crc32(ends, zlib.crc32(times, zlib.crc32(header)))


def series_sums(blobs: Sequence[bytes]) -> bytes:
    """Return the checksums of a chunk's series, in layout order."""
    return np.array([zlib.crc32(blob) for blob in blobs], "<u4").tobytes()


def chunk_sums(head: int, each: bytes) -> bytes:
    """Return a chunk's checksums as stored."""
    return head.to_bytes(4, "little") + each


def sound_positions(
    sums: bytes, ends: bytes, data: bytes, positions: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return for each position of a chunk whether its bytes are as they were written."""
    wanted = np.frombuffer(sums, "<u4").tolist()
    edges = [0, *np.frombuffer(ends, "<u4").tolist()]
    memory = memoryview(data)
    found = (
        zlib.crc32(memory[edges[at] : edges[at + 1]]) == wanted[at + 1] and edges[at + 1] <= len(data)
        for at in positions.tolist()
    )
    return np.fromiter(found, np.bool_, len(positions))
