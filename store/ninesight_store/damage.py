"""Damage: what could not be read as it was written. Reads go on without it; this says what they left out."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from ninesight_store.contract import Labels

__all__ = [
    "CHUNK",
    "EXEMPLAR",
    "FILE",
    "HOT",
    "INDEX",
    "LAYOUT",
    "ROLLUP",
    "SERIES",
    "STARTS",
    "Damage",
    "DamageLog",
]

_log = logging.getLogger("ninesight.store")

HOT, CHUNK, LAYOUT, SERIES, FILE = "row", "chunk", "layout", "series", "file"
STARTS, EXEMPLAR, INDEX, ROLLUP = "starts", "exemplar", "index", "rollup"
_KEPT_MAX = 1000


@dataclass(frozen=True)
class Damage:
    """One damaged part of a store."""

    part: str
    """row, chunk, layout, series, file, exemplar, index (the kept one), starts (start timestamps of a row or chunk), or
    rollup (a chunk's, under its id: the samples are read instead, and nothing is lost)."""
    id: int
    reason: str
    series_ids: tuple[int, ...] = ()
    """The series whose samples are lost, in so far as that is known."""
    start_ms: int | None = None
    """First and last timestamp of the samples that are touched; None if that is not known."""
    end_ms: int | None = None
    series: tuple[Labels, ...] = ()
    """Labels of `series_ids`, filled in where the damage is reported."""

    def __str__(self) -> str:
        span = f" from {self.start_ms} to {self.end_ms} ms" if self.start_ms is not None else ""
        return f"{self.part} {self.id}{span}: {self.reason}"


class DamageLog:
    """What reads stumbled over since the store was opened. Safe to use from many threads.

    Every part is logged once as a warning and counted once; the first 1000 are kept in full.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int, tuple[int, ...]], Damage] = {}
        self._ids: dict[str, set[int]] = {}
        self._reads = 0

    def add(self, damage: Damage) -> None:
        """Record that a read left this out."""
        key = (damage.part, damage.id, damage.series_ids)
        with self._lock:
            self._reads += 1
            ids = self._ids.setdefault(damage.part, set())
            fresh = damage.id not in ids
            ids.add(damage.id)
            if len(self._kept) < _KEPT_MAX:
                self._kept.setdefault(key, damage)
        if fresh:
            _log.warning("reading goes on without %s; `ninesight store verify` lists all damage", damage)

    def ids(self, part: str) -> frozenset[int]:
        """Return the ids of the damaged parts of one sort."""
        with self._lock:
            return frozenset(self._ids.get(part, ()))

    def kept(self) -> tuple[Damage, ...]:
        """Return what was found, oldest first, at most 1000."""
        with self._lock:
            return tuple(self._kept.values())

    def counts(self) -> dict[str, int]:
        """Return the counts for `StoreStat.counters`."""
        with self._lock:
            return {
                "parts_damaged": sum(len(ids) for ids in self._ids.values()),
                "reads_damaged": self._reads,
            }
