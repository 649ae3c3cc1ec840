"""`Maintenance`: a thread that folds, seals, merges, drops, keeps the index and fills rollups in, one process at a time.

Errors never end it: they are counted and shown, and the work is tried again at the next turn. Sealing runs
once an hour, not every turn, so that late samples gather before they become chunks.
"""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ninesight_store.config import HOUR_MS, StoreSettings
from ninesight_store.reports import FillReport, FoldReport, MergeReport, RetainReport, SealReport

__all__ = ["Maintained", "Maintenance", "MaintenanceStat"]

_log = logging.getLogger("ninesight.store")


class Maintained(Protocol):
    """What `Maintenance` keeps in order: a `LocalStore`."""

    settings: StoreSettings

    def now_ms(self) -> int:
        """The store's clock."""

    def seal(self, now_ms: int | None = None) -> SealReport:
        """Compress closed hours."""

    def merge(self, now_ms: int | None = None) -> MergeReport:
        """Join hourly chunks of closed blocks."""

    def maintaining(self) -> AbstractContextManager[bool]:
        """Tell whether this process may work now, for the length of the block."""

    def fold(self, *, fresh: bool = False) -> FoldReport:
        """Join small rows."""

    def relieve(self) -> SealReport:
        """Do what cannot wait for the end of an hour."""

    def retain(self, now_ms: int | None = None) -> RetainReport:
        """Drop what is past retention."""

    def keep_index(self) -> bool:
        """Keep what the next opening need not build."""

    def fill_rollups(self, now_ms: int | None = None) -> FillReport:
        """Sum up some of what was never summed up."""


@dataclass(frozen=True)
class MaintenanceStat:
    """What the thread did so far."""

    turns: int = 0
    errors: int = 0
    last_error: str = ""
    sealed_samples: int = 0
    retired_samples: int = 0
    folded_rows: int = 0
    """Hot rows fewer by folding."""


class Maintenance:
    """Runs `turn` every `maintenance_interval_ms` in a daemon thread. `start` and `stop` are safe to call twice."""

    def __init__(self, store: Maintained) -> None:
        self._store = store
        self._interval_s = store.settings.maintenance_interval_ms / 1000
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sealed_hour: int | None = None
        self._index_hour: int | None = None
        self._stat = MaintenanceStat()

    def start(self) -> None:
        """Start the thread; the first turn comes at once."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="ninesight-store-maintenance", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Ask the thread to end after its turn and wait for it."""
        if self._thread is not None:
            self._stopping.set()
            self._thread.join(timeout_s)
            self._thread = None

    def stat(self) -> MaintenanceStat:
        """Return what was done so far."""
        return self._stat

    def turn(self) -> None:
        """Do what is due now. Never raises."""
        now_ms = self._store.now_ms()
        sealed = retired = folded = 0
        error = ""
        try:
            with self._store.maintaining() as elected:
                # Another process is at it: look again at the next turn, in case it dies.
                if elected:
                    sealed, retired, folded = self._work(now_ms)
                    self._keep()
                    self._store.fill_rollups(now_ms)
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}"
            _log.warning("store maintenance will try again in %.0f s: %s", self._interval_s, error)
        before = self._stat
        self._stat = MaintenanceStat(
            before.turns + 1,
            before.errors + bool(error),
            error or before.last_error,
            before.sealed_samples + sealed,
            before.retired_samples + retired,
            before.folded_rows + folded,
        )

    def _work(self, now_ms: int) -> tuple[int, int, int]:
        sealed = retired = 0
        hour = (now_ms - self._store.settings.seal_after_ms) // HOUR_MS
        if hour != self._sealed_hour:
            sealed = self._store.seal(now_ms).samples
            self._store.merge(now_ms)
            retired = self._store.retain(now_ms).samples
            self._sealed_hour = hour
        folded = self._store.fold()
        sealed += self._store.relieve().samples
        return sealed, retired, folded.rows_before - folded.rows_after

    def _keep(self) -> None:
        if self._index_hour != self._sealed_hour:
            # Once an hour, also if it cannot be kept for want of room.
            self._index_hour = self._sealed_hour
            self._store.keep_index()

    def _run(self) -> None:
        while True:
            self.turn()
            if self._stopping.wait(self._interval_s):
                return
