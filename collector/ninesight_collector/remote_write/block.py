"""Snappy's block format under a cap: the length a body claims is judged before any memory is taken.

The format begins with the length of what comes out, as a varint
(https://github.com/google/snappy/blob/main/format_description.txt).
"""

from __future__ import annotations

from cramjam import CompressionError, DecompressionError, snappy

from ninesight_collector.errors import BodyError

__all__ = ["compress", "decompress"]

_GROWTH_MAX = 64
"""A copy of 64 bytes takes at least 2: nothing honest grows more than this."""


def compress(body: bytes) -> bytes:
    """Return the body as one snappy block."""
    return bytes(snappy.compress_raw(body))


def decompress(body: bytes, bytes_max: int, key: str) -> bytes:
    """Return what the block holds. Raises BodyError: 413 above `bytes_max` (`key` raises it), 400 for no block."""
    try:
        size = int(snappy.decompress_raw_len(body))
    except (DecompressionError, CompressionError, ValueError, OverflowError) as error:
        raise _no_block(error) from error
    if size > bytes_max:
        raise BodyError(
            f"the body must not be above {bytes_max} bytes after decompression, got {size}; "
            f"send smaller batches or raise {key}",
            status=413,
            reason="size",
        )
    if size > _GROWTH_MAX * len(body):
        raise _no_block(f"{size} bytes cannot come of {len(body)}")
    try:
        return bytes(snappy.decompress_raw(body))
    except (DecompressionError, ValueError) as error:
        raise _no_block(error) from error


def _no_block(error: object) -> BodyError:
    return BodyError(
        f"the body must be one block of snappy, got something else ({str(error)[:200]}); "
        "the framed format is another one",
        status=400,
        reason="snappy",
    )
