"""Finding a row by the hash of what stands there: twelve bytes an entry, where a dict takes a hundred."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["HashedSlots"]

_FRESH_MIN = 4096


class HashedSlots:
    """Slots by hash. Several slots may have one hash; the caller compares."""

    def __init__(self) -> None:
        self._hashes = np.zeros(0, np.int64)
        self._slots = np.zeros(0, np.int32)
        self._fresh: dict[int, list[int]] = {}
        self._fresh_count = 0

    def add(self, keys: Sequence[int], first: int) -> None:
        """Remember the slots `first`, `first + 1` ... under these hashes."""
        for slot, key in enumerate(keys, first):
            self._fresh.setdefault(key, []).append(slot)
        self._fresh_count += len(keys)
        if self._fresh_count > max(_FRESH_MIN, len(self._hashes) // 4):
            self._settle()

    def find(self, key: int) -> list[int]:
        """Return the slots with this hash."""
        found = self._fresh.get(key, [])
        low = int(self._hashes.searchsorted(key, "left"))
        if low < len(self._hashes) and self._hashes[low] == key:
            high = int(self._hashes.searchsorted(key, "right"))
            return [*self._slots[low:high].tolist(), *found]
        return found

    def _settle(self) -> None:
        keys = [key for key, slots in self._fresh.items() for _ in slots]
        hashes = np.concatenate([self._hashes, np.array(keys, np.int64)])
        fresh = np.array([slot for slots in self._fresh.values() for slot in slots], np.int32)
        slots = np.concatenate([self._slots, fresh])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._slots = hashes[order], slots[order]
        self._fresh, self._fresh_count = {}, 0
