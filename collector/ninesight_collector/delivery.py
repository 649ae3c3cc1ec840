"""Hand batches to the sink; keep what it refuses for now, bounded, and say what was lost.

    deliver ─► sink.write ─ ok ──────────────► waiting batches are tried again
                   │ RetryableError or a crash ► waiting (oldest dropped above the bound, counted)
                   └ PermanentError ───────────► dropped, counted

For sample loops only. The OTLP receiver does not buffer: its sender does.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

from ninesight_store.contract import Batch, Sink
from ninesight_store.errors import LateError, PermanentError

from ninesight_collector.counters import Counters

__all__ = ["Delivery"]

_log = logging.getLogger(__name__)


class Delivery:
    """Delivers batches of sample loops. Safe to call from many threads; never raises."""

    def __init__(self, sink: Sink, counters: Counters, *, batches_max: int = 512) -> None:
        self._sink = sink
        self._counters = counters
        self._batches_max = batches_max
        self._waiting: deque[Batch] = deque()
        self._lock = threading.Lock()
        self._flushing = threading.Lock()

    @property
    def waiting(self) -> int:
        """Batches kept for another try."""
        return len(self._waiting)

    def deliver(self, batch: Batch, *, source: str) -> bool:
        """Write a batch now, or keep it for later; True if it was written.

        Samples count as received once the sink has taken them or they are kept for another try.
        """
        if not len(batch) and not batch.metadata:
            return True
        self._counters.add("received_samples_total", len(batch), source=source)
        written = self._write(batch)
        if written is None:
            self._keep(batch)
            return False
        if written and self._waiting:
            self.flush()
        return written

    def flush(self) -> int:
        """Try the waiting batches again, oldest first, until one is refused; the number that still waits."""
        if not self._flushing.acquire(blocking=False):
            return len(self._waiting)
        try:
            while (batch := self._oldest()) is not None:
                if self._write(batch) is None:
                    self._keep(batch, first=True)
                    break
        finally:
            self._flushing.release()
        self._counters.set("retry_batches", len(self._waiting))
        return len(self._waiting)

    def abandon(self) -> None:
        """Count what still waits as dropped; for the end of a run."""
        while (batch := self._oldest()) is not None:
            self._counters.add("dropped_samples_total", len(batch), reason="stopped")

    def _oldest(self) -> Batch | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _write(self, batch: Batch) -> bool | None:
        """True: written; False: refused for good; None: try again."""
        try:
            self._sink.write(batch)
        except PermanentError as error:
            # A part may have been kept: those that came in time.
            refused = error.refused if isinstance(error, LateError) else len(batch)
            self._counters.add("dropped_samples_total", refused, reason="refused")
            _log.warning("the sink refused %d samples for good: %s", refused, error)
            return False
        except Exception as error:
            _log.warning("the sink did not take %d samples, kept for another try: %s", len(batch), error)
            return None
        return True

    def _keep(self, batch: Batch, *, first: bool = False) -> None:
        with self._lock:
            if first:
                self._waiting.appendleft(batch)
            else:
                self._counters.add("sink_retries_total")
                self._waiting.append(batch)
            lost = [self._waiting.popleft() for _ in range(len(self._waiting) - self._batches_max)]
        for old in lost:
            self._counters.add("dropped_samples_total", len(old), reason="buffer_full")
        self._counters.set("retry_batches", len(self._waiting))
