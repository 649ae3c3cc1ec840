"""Layouts: ordered lists of series ids that many rows share, so that a row holds nothing but numbers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Int64

__all__ = ["Layout", "LayoutTable", "layout_blob", "layout_digest"]


def layout_blob(ids: Int64) -> bytes:
    """Return the ids as stored: little-endian uint32."""
    return ids.astype("<u4").tobytes()


def layout_digest(blob: bytes) -> bytes:
    """Return the 16 bytes under which a layout is found."""
    return hashlib.blake2b(blob, digest_size=16).digest()


@dataclass(frozen=True)
class Layout:
    """One layout. Immutable."""

    number: int
    ids: Int64
    """Series ids in row order; an id may stand more than once."""

    @classmethod
    def from_blob(cls, number: int, blob: bytes) -> Layout:
        """Read a stored layout."""
        return cls(number, np.frombuffer(blob, "<u4").astype(np.int64))

    @cached_property
    def distinct(self) -> bool:
        """Whether each series stands once."""
        return len(np.unique(self.ids)) == len(self.ids)


class LayoutTable:
    """All layouts by number. Grows only; `Catalog` replaces it when layouts were dropped."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.next_id = 1
        self._by_number: dict[int, Layout] = {}
        self._fresh: list[Layout] = []
        self._flat = np.zeros(0, np.int64)
        self._owner = np.zeros(0, np.int64)
        self._lock = threading.Lock()

    def __getitem__(self, number: int) -> Layout:
        return self._by_number[number]

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def __len__(self) -> int:
        return len(self._by_number)

    def numbers(self) -> list[int]:
        """Return the numbers of all layouts."""
        return list(self._by_number)

    def extend(self, found: Sequence[Layout], next_id: int) -> None:
        """Add layouts; called under the catalog's lock."""
        with self._lock:
            for layout in found:
                self._by_number[layout.number] = layout
            self._fresh.extend(found)
            self.next_id = max(next_id, found[-1].number + 1 if found else 0)

    def holding(self, wanted: npt.NDArray[np.bool_]) -> set[int]:
        """Return the numbers of the layouts with at least one series whose id is set in `wanted`."""
        flat, owner = self._flattened()
        flat = np.where(flat < len(wanted), flat, 0)
        return set(np.unique(owner[wanted[flat]]).tolist())

    def series_in(self, numbers: Iterable[int]) -> Int64:
        """Return the distinct series ids of these layouts, ascending."""
        pieces = [self._by_number[number].ids for number in numbers]
        return np.unique(np.concatenate(pieces)) if pieces else np.zeros(0, np.int64)

    def _flattened(self) -> tuple[Int64, Int64]:
        with self._lock:
            if self._fresh:
                lengths = [len(layout.ids) for layout in self._fresh]
                numbers = np.repeat([layout.number for layout in self._fresh], lengths)
                self._flat = np.concatenate([self._flat, *(layout.ids for layout in self._fresh)])
                self._owner = np.concatenate([self._owner, numbers])
                self._fresh = []
            return self._flat, self._owner
