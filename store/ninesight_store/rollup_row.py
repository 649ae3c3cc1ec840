"""Stored rollups: one row a chunk that is worth one, in a table of its own under the chunk's id.

    head    which series are in it, and the times of the bins
    ends    first and last value of every bin (of a chunk of histograms: the points that are kept)
    lost    what resets took away in every bin          sums    the sums of every bin
    spread  least and greatest value of every bin

Each blob has a checksum of its own, so a query reads only those that it needs. The checksums take the chunk's header
in: a rollup is never taken for that of another chunk. It lies beside the chunk, not in it: there its bytes would stand
behind the samples, and reading them would cost reading those.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ninesight_store.contract import Int64
from ninesight_store.errors import StoreFormatError
from ninesight_store.rollup import ROLLUP_MS

__all__ = [
    "BLOBS",
    "SAMPLES_MIN",
    "ChunkFacts",
    "RollupDraft",
    "RollupHead",
    "bin_begins",
    "sound_blobs",
    "worth_it",
]

BLOBS = ("head", "ends", "lost", "sums", "spread")
"""The blobs of a row in the order of its columns: what is asked for most comes first."""

_FACTS = struct.Struct("<hhqqqq")
_HEAD = struct.Struct("<BBHIII")
_DENSE = 20
"""Samples that a bin must stand for at least; of fewer a rollup is hardly smaller than the chunk."""
SAMPLES_MIN = 1000
"""Samples of all series that a chunk with a rollup has at least; to read fewer costs next to nothing."""
_SPAN_MAX = 2**32
"""Times in a head are uint32 milliseconds from the chunk's first sample."""


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """What a rollup must have in common with its chunk."""

    kind: int
    layout_id: int
    start_ms: int
    end_ms: int
    count: int

    def seed(self) -> int:
        """Return what the checksums begin with."""
        facts = _FACTS.pack(self.kind, 0, self.layout_id, self.start_ms, self.end_ms, self.count)
        return zlib.crc32(facts)


@dataclass(frozen=True, slots=True)
class RollupDraft:
    """A rollup before its chunk has an id."""

    head: bytes
    ends: bytes
    lost: bytes = b""
    sums: bytes = b""
    spread: bytes = b""

    @property
    def nbytes(self) -> int:
        """Bytes of all blobs."""
        return sum(len(getattr(self, name)) for name in BLOBS)

    def row(self, number: int, facts: ChunkFacts) -> dict[str, object]:
        """Return the table row of a chunk's rollup."""
        blobs = {name: getattr(self, name) for name in BLOBS}
        seed = facts.seed()
        sums = b"".join(zlib.crc32(blob, seed).to_bytes(4, "little") for blob in blobs.values())
        return {"id": number, "bytes": self.nbytes, "checksums": sums, **blobs}


@dataclass(frozen=True, slots=True)
class RollupHead:
    """The fixed part of a head."""

    form: int
    """What the rest is: the chunk's kind."""
    width_ms: int
    """The width of a bin when it was written."""
    bins: int
    series: int

    SIZE = _HEAD.size

    def packed(self) -> bytes:
        """Return it as bytes."""
        return _HEAD.pack(self.form, 0, 0, self.width_ms, self.bins, self.series)

    @classmethod
    def of(cls, blob: bytes) -> RollupHead:
        """Read it. Raises StoreFormatError where there is none."""
        if len(blob) < _HEAD.size:
            raise StoreFormatError("a rollup is damaged: its head is short")
        form, _, _, width_ms, bins, series = _HEAD.unpack_from(blob)
        return cls(form, width_ms, bins, series)


def worth_it(samples: int, series: int, bins: int, span_ms: int) -> bool:
    """Whether a chunk with so many samples a series in so many bins gets a rollup."""
    return samples >= _DENSE * bins and samples * series >= SAMPLES_MIN and span_ms < _SPAN_MAX


def bin_begins(stamps: Int64) -> Int64:
    """Return where the bins of ascending timestamps begin."""
    cell = -(-stamps // ROLLUP_MS)
    return np.flatnonzero(np.concatenate([np.ones(1, np.bool_), cell[1:] != cell[:-1]]))


def sound_blobs(
    facts: ChunkFacts, checksums: bytes, names: Iterable[str], blobs: Iterable[bytes]
) -> dict[str, bytes]:
    """Return the blobs by name. Raises StoreFormatError if one is not as it was written."""
    seed = facts.seed()
    found = dict(zip(names, blobs, strict=True))
    for name, blob in found.items():
        at = 4 * BLOBS.index(name)
        if zlib.crc32(blob, seed).to_bytes(4, "little") != checksums[at : at + 4]:
            raise StoreFormatError(f"the bytes of its {name} do not match their checksum")
    return found
