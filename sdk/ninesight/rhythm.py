"""When to aggregate: many records at once cost less each, and nobody who reads sees the difference.

    look (each 10 to 250 ms) ──┬─ a list is long, or the last pass is 20 looks (5 s) ago: aggregate
                               └─ few wait: let them wait for company

A pass has a fixed share, and few values share no bucket: a record costs twice as much among a hundred as
among two thousand. A scrape, an export and a flush aggregate by themselves, whatever this says.
"""

from __future__ import annotations

__all__ = ["INTERVAL_S_MAX", "INTERVAL_S_MIN", "Rhythm"]

INTERVAL_S_MIN = 0.01
INTERVAL_S_MAX = 0.25
"""Seconds between two looks while little happens; shorter as buffers fill."""

_ENOUGH = 2048
"""Records in one list that are worth a pass: some 0.4 ms of work."""

_LOOKS_MAX = 20


class Rhythm:
    """Asked by one thread, before each pass that may be due."""

    def __init__(self) -> None:
        self.interval_s = INTERVAL_S_MIN
        """Seconds until the next look."""
        self._looks = 0

    def due(self, longest: int, limit: int) -> bool:
        """Return whether to aggregate now: `longest` records wait in one list that may hold `limit`."""
        if longest > limit // 4:
            self.interval_s = max(INTERVAL_S_MIN, self.interval_s / 4)
        elif longest < limit // 16:
            self.interval_s = min(INTERVAL_S_MAX, self.interval_s * 2)
        self._looks += 1
        if longest < min(_ENOUGH, limit // 4) and self._looks < _LOOKS_MAX:
            return False
        self._looks = 0
        return True
