"""Arrays as bytes. Each chunk keeps the codec it was written with, so a new one never breaks old data."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, standalone

from ninesight_store.errors import StoreFormatError

__all__ = ["PCODEC", "PCODEC_VERSION", "RAW", "decode_array", "encode_array"]

RAW = 0
"""Little-endian numbers as they are."""
PCODEC = 1
"""A pcodec standalone stream."""
PCODEC_VERSION = 1
"""Major version of the pcodec library; its streams carry their own format version as well."""

Array = npt.NDArray[Any]


def encode_array(array: Array, codec: int, level: int = 4) -> bytes:
    """Return the array as bytes, bit-exact (NaN payloads and -0.0 included)."""
    if codec == RAW:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    packed: bytes = standalone.simple_compress(
        np.ascontiguousarray(array), ChunkConfig(compression_level=level)
    )
    return packed


def decode_array(data: bytes, codec: int, dtype: type[np.generic]) -> Array:
    """Return the array that was encoded. Raises StoreFormatError for an unknown codec or damaged bytes."""
    if codec == RAW:
        return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False)
    if codec != PCODEC:
        raise StoreFormatError(f"chunk codec {codec} is unknown to this version; upgrade ninesight")
    try:
        array = standalone.simple_decompress(data)
    except RuntimeError as error:
        raise StoreFormatError(f"a chunk is damaged: {error}") from error
    except BaseException as error:
        # A panic of the codec on damaged bytes is no Exception, and has no name to be imported by.
        if type(error).__name__ != "PanicException":
            raise
        raise StoreFormatError("a chunk is damaged: its codec gave up") from error
    return np.zeros(0, dtype) if array is None else np.asarray(array)
