"""Finding a row by the hash of what stands there: twelve bytes an entry, where a dict takes a hundred."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ninesight_store.contract import Int32, Int64

__all__ = ["HashedSlots", "hash_of", "hashes_of"]

_FRESH_MIN = 4096
_FACTOR = 0x9E3779B97F4A7C15
_SPREAD = 0xBF58476D1CE4E5B9
_MASK = 2**64 - 1
_TOGETHER = 2**18


def hash_of(numbers: Sequence[int]) -> int:
    """Return the hash of a list of positive numbers; their order does not matter to it."""
    total = 0
    for number in numbers:
        mixed = number * _FACTOR & _MASK
        mixed = (mixed ^ mixed >> 29) * _SPREAD & _MASK
        total += mixed ^ mixed >> 32
    total &= _MASK
    return total - (1 << 64) if total >> 63 else total


def hashes_of(flat: Int32, offsets: Int64) -> Int64:
    """Return `hash_of` of each list; list r is `flat[offsets[r]:offsets[r + 1]]`."""
    found = np.zeros(len(offsets) - 1, np.uint64)
    for at in range(0, len(found), _TOGETHER):
        edges = offsets[at : at + _TOGETHER + 1]
        mixed = flat[edges[0] : edges[-1]].astype(np.uint64) * np.uint64(_FACTOR)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(_SPREAD)
        sums = np.zeros(len(mixed) + 1, np.uint64)
        np.cumsum(mixed ^ (mixed >> np.uint64(32)), out=sums[1:])
        places = edges - edges[0]
        found[at : at + _TOGETHER] = sums[places[1:]] - sums[places[:-1]]
    return found.view(np.int64)


class HashedSlots:
    """Slots by hash. Several slots may have one hash; the caller compares."""

    def __init__(self) -> None:
        self._hashes = np.zeros(0, np.int64)
        self._slots = np.zeros(0, np.int32)
        self._fresh: dict[int, list[int]] = {}
        self._fresh_count = 0

    def add(self, keys: npt.ArrayLike, first: int) -> None:
        """Remember the slots `first`, `first + 1` ... under these hashes."""
        hashes = np.asarray(keys, np.int64)
        if len(hashes) + self._fresh_count > max(_FRESH_MIN, len(self._hashes) // 4):
            self._settle(hashes, first)
            return
        for slot, key in enumerate(hashes.tolist(), first):
            self._fresh.setdefault(key, []).append(slot)
        self._fresh_count += len(hashes)

    def find(self, key: int) -> list[int]:
        """Return the slots with this hash."""
        found = self._fresh.get(key, [])
        low = int(self._hashes.searchsorted(key, "left"))
        if low < len(self._hashes) and self._hashes[low] == key:
            high = int(self._hashes.searchsorted(key, "right"))
            return [*self._slots[low:high].tolist(), *found]
        return found

    def _settle(self, more: Int64, first: int) -> None:
        keys = [key for key, slots in self._fresh.items() for _ in slots]
        fresh = [slot for slots in self._fresh.values() for slot in slots]
        hashes = np.concatenate([self._hashes, np.array(keys, np.int64), more])
        slots = np.concatenate(
            [self._slots, np.array(fresh, np.int32), np.arange(first, first + len(more), dtype=np.int32)]
        )
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._slots = hashes[order], slots[order]
        self._fresh, self._fresh_count = {}, 0
