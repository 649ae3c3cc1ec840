"""Decompress gzip under a cap, so that a small body cannot become a large one."""

from __future__ import annotations

import zlib

from ninesight_collector.errors import CollectorError

__all__ = ["InflateError", "InflateSizeError", "Inflater"]

_GZIP = 31


class InflateError(CollectorError):
    """The bytes are no gzip, or end too early."""


class InflateSizeError(CollectorError):
    """More would come out than the cap allows."""


class Inflater:
    """Takes gzip in pieces and gives what comes out, never more than `bytes_max` in all."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """Return what these bytes decompress to. Raises InflateError or InflateSizeError."""
        parts: list[bytes] = []
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._begun = True
            parts.append(self._some(data))
            data = self._member.unused_data
        return b"".join(parts)

    def end(self) -> None:
        """Say that no more comes. Raises InflateError if the last member is cut off."""
        if not self._begun or not self._member.eof:
            raise InflateError(
                "a gzip body must be complete, got one that ends too early; send the whole body"
            )

    def _some(self, data: bytes) -> bytes:
        room = self._bytes_max - self._bytes + 1
        try:
            out = self._member.decompress(data, room)
        except zlib.error as error:
            raise InflateError(
                f"a body with Content-Encoding gzip must be gzip, got something else ({error})"
            ) from error
        self._bytes += len(out)
        if self._bytes > self._bytes_max or self._member.unconsumed_tail:
            raise InflateSizeError(f"the decompressed body must not be above {self._bytes_max} bytes")
        return out
