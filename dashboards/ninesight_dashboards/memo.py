"""Answers kept for a while and shared between browsers; a failed renewal leaves the last good one standing.

An answer that is slow to make is renewed behind the reader's back: for a stated time the old one is
given at once while the new one is made, so that a refresh never waits for a figure over a day.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

__all__ = ["Known", "Memo"]

T = TypeVar("T")
_SLOW_S = 0.1


@dataclass(frozen=True)
class Known(Generic[T]):
    """A value with its age. `value` is None only where it was never read; `error` says why it is old."""

    value: T | None
    at_ms: int
    error: str = ""


@dataclass
class _Entry:
    making: threading.Lock = field(default_factory=threading.Lock)
    known: Known[Any] = field(default_factory=lambda: Known(None, 0))
    stamp: Hashable = None
    took_s: float = 0.0
    renewing: bool = False


class Memo:
    """Keeps one value per key, for as long as its stamp is asked for. Bounded; safe from many threads."""

    def __init__(
        self,
        *,
        now_ms: Callable[[], int],
        entries_max: int = 128,
        pool: Executor | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now_ms = now_ms
        self._clock_s = clock_s
        self._entries_max = entries_max
        self._pool = pool
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, stamp: Hashable, compute: Callable[[], T], *, lag_ms: int = 0) -> Known[T]:
        """Return the value of `key` as of `stamp` (an aligned time), computing it at most once.

        Whatever `compute` raises becomes `error`, beside the value of an earlier stamp if there is one.
        A value that took long and is no older than `lag_ms` is returned as it is and renewed meanwhile.
        """
        with self._lock:
            entry = self._entry(key)
            if entry.known.at_ms and entry.stamp == stamp:
                return entry.known
            young = self._now_ms() - entry.known.at_ms <= lag_ms
            lazy = self._pool is not None and entry.known.at_ms and entry.took_s >= _SLOW_S and young
            start = lazy and not entry.renewing
            entry.renewing = bool(entry.renewing or start)
        if not lazy:
            return self._make(entry, stamp, compute)
        if start and self._pool is not None:
            self._pool.submit(self._make, entry, stamp, compute)
        return entry.known

    def __len__(self) -> int:
        return len(self._entries)

    def _entry(self, key: Hashable) -> _Entry:
        entry = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)
        return entry

    def _make(self, entry: _Entry, stamp: Hashable, compute: Callable[[], T]) -> Known[T]:
        with entry.making:
            if entry.known.at_ms and entry.stamp == stamp and not entry.known.error:
                entry.renewing = False
                return entry.known
            began_s = self._clock_s()
            try:
                known = Known(compute(), self._now_ms())
                entry.stamp, entry.took_s = stamp, self._clock_s() - began_s
            except Exception as error:
                known = replace(entry.known, error=str(error) or type(error).__name__)
            entry.known, entry.renewing = known, False
            return known
