"""One file of the queue: records one after another, each with checksums of its head and of its body.

    file    magic, shards, 0                      8 bytes
    record  head (32 bytes) + body (a 2.0 request, compressed)

A file is only ever appended to. What was being written when the machine stopped has no sound head or ends
early; it was never acknowledged, and is left out.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ref", "Segment", "pack_record"]

_FILE = struct.Struct("<4sHH")
_MAGIC = b"NSq1"
_HEAD = struct.Struct("<HHIIqIII")
_MARK = 0x5157


@dataclass(frozen=True, slots=True)
class Ref:
    """Where one record lies."""

    segment: int
    offset: int
    """Of its head."""
    length: int
    """Of its body, bytes."""
    shard: int
    samples: int
    written_ms: int

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.offset + _HEAD.size + self.length


def pack_record(shard: int, samples: int, written_ms: int, body: bytes) -> bytes:
    """Return a record as it lies in the file."""
    fields = (_MARK, shard, len(body), samples, written_ms, zlib.crc32(body), 0)
    return _HEAD.pack(*fields, zlib.crc32(_HEAD.pack(*fields, 0)[:-4])) + body


class Segment:
    """A file of the queue. Appended to by one thread at a time; read by any."""

    def __init__(self, path: Path, number: int, shards: int, *, create: bool) -> None:
        """Open or create; raises OSError."""
        self.path, self.number = path, number
        self.sound = True
        """False: it is no file of ours, or a record before the last cannot be read."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        self._fd = os.open(path, flags, 0o600)
        if create:
            os.write(self._fd, _FILE.pack(_MAGIC, shards, 0))
            self.size, self.shards = _FILE.size, shards
            return
        self.size = os.fstat(self._fd).st_size
        head = os.pread(self._fd, _FILE.size, 0)
        magic, self.shards, _ = _FILE.unpack(head) if len(head) == _FILE.size else (b"", 0, 0)
        self.sound = magic == _MAGIC

    def append(self, blob: bytes) -> int:
        """Write records at the end and return where; on an error the file is as before. Raises OSError."""
        at = self.size
        try:
            view, written = memoryview(blob), 0
            while written < len(blob):
                written += os.pwrite(self._fd, view[written:], at + written)
        except OSError:
            os.ftruncate(self._fd, at)
            raise
        self.size = at + len(blob)
        return at

    def sync(self) -> None:
        """Return when everything appended is on the disk. Raises OSError."""
        os.fdatasync(self._fd) if hasattr(os, "fdatasync") else os.fsync(self._fd)

    def scan(self) -> Iterator[Ref]:
        """Yield the records up to the first head that is none; then `sound` is False."""
        at = _FILE.size
        while self.sound and at + _HEAD.size <= self.size:
            head = os.pread(self._fd, _HEAD.size, at)
            mark, shard, length, samples, written_ms, _, _, check = _HEAD.unpack(head)
            whole = at + _HEAD.size + length <= self.size
            if mark != _MARK or check != zlib.crc32(head[:-4]) or not whole:
                break
            yield Ref(self.number, at, length, shard, samples, written_ms)
            at += _HEAD.size + length
        self.sound = self.sound and at == self.size

    def read(self, ref: Ref) -> bytes | None:
        """Return the body of a record; None where it is damaged."""
        raw = os.pread(self._fd, _HEAD.size + ref.length, ref.offset)
        body = raw[_HEAD.size :]
        if len(body) != ref.length or zlib.crc32(body) != _HEAD.unpack(raw[: _HEAD.size])[5]:
            return None
        return body

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
