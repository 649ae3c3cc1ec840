"""Answers kept for a while and shared between browsers; a failed renewal leaves the last good one standing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

__all__ = ["Known", "Memo"]

T = TypeVar("T")


@dataclass(frozen=True)
class Known(Generic[T]):
    """A value with its age. `value` is None only where it was never read; `error` says why it is old."""

    value: T | None
    at_ms: int
    error: str = ""


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    stamp: Hashable = None
    value: Any = None
    at_ms: int = 0


class Memo:
    """Keeps one value per key, for as long as its stamp is asked for. Bounded; safe from many threads."""

    def __init__(self, *, now_ms: Callable[[], int], entries_max: int = 128) -> None:
        self._now_ms = now_ms
        self._entries_max = entries_max
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, stamp: Hashable, compute: Callable[[], T]) -> Known[T]:
        """Return the value of `key` as of `stamp` (an aligned time), computing it at most once.

        Whatever `compute` raises becomes `error`, beside the value of an earlier stamp if there is one.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)
        with entry.lock:
            if entry.at_ms and entry.stamp == stamp:
                return Known(entry.value, entry.at_ms)
            try:
                entry.value = compute()
            except Exception as error:
                return Known(entry.value, entry.at_ms, str(error) or type(error).__name__)
            entry.stamp, entry.at_ms = stamp, self._now_ms()
            return Known(entry.value, entry.at_ms)

    def __len__(self) -> int:
        return len(self._entries)
