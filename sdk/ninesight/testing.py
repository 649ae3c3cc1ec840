"""For tests of servers that use the SDK: a fresh SDK, look-ups in a snapshot, exporters that keep or fail.

with isolated() as snapshot:
    predict("a fine day")
    assert number(snapshot(), "model_predictions_total", model="sentiment", version="3") == 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ninesight.api import RUNTIME
from ninesight.contract import Exporter, HistogramValue, Snapshot

__all__ = [
    "FaultyExporter",
    "RecordingExporter",
    "check_exporter",
    "histogram",
    "isolated",
    "number",
    "total",
]


@contextmanager
def isolated(**settings: Any) -> Iterator[Callable[[], Snapshot]]:
    """Give a test an SDK that has counted nothing, with these settings; stop it and forget all afterwards.

    Yields a function that returns the snapshot of the moment. Functions decorated earlier record too.
    """
    RUNTIME.reset()
    try:
        RUNTIME.configure(**settings)
        yield RUNTIME.snapshot
    finally:
        RUNTIME.reset()


class RecordingExporter:
    """Keeps the last `snapshots_max` snapshots it was handed."""

    def __init__(self, snapshots_max: int = 100) -> None:
        self._snapshots_max = snapshots_max
        self.snapshots: list[Snapshot] = []
        self.closed = 0

    def export(self, snapshot: Snapshot) -> None:
        """Keep the snapshot."""
        self.snapshots = [*self.snapshots, snapshot][-self._snapshots_max :]

    def close(self) -> None:
        """Count how often it was closed."""
        self.closed += 1


class FaultyExporter(RecordingExporter):
    """Raises what `fault` returns for the n-th export (from 0), keeps the snapshot where that is None."""

    def __init__(self, fault: Callable[[int], Exception | None]) -> None:
        super().__init__()
        self._fault = fault
        self.attempts = 0

    def export(self, snapshot: Snapshot) -> None:
        """Raise or keep."""
        error = self._fault(self.attempts)
        self.attempts += 1
        if error is not None:
            raise error
        super().export(snapshot)


def check_exporter(exporter: Exporter, *, flushes: int = 20) -> tuple[int, int]:
    """Drive an exporter through the SDK; return (snapshots taken, exports failed).

    Asserts that each flush told the truth, that each export was counted as one of both, and that no
    call was lost on the way.
    """
    with isolated(export_interval_s=3600.0):
        RUNTIME.export_to(exporter)
        series = RUNTIME.series("check_exporter", "1")
        succeeded = 0
        for _ in range(flushes):
            series.buffers.slot(series.buffers.point(series, 1)).values.append(0.001)
            succeeded += RUNTIME.flush()
        stats = RUNTIME.stats()
        assert stats.exports == succeeded, f"flush told {succeeded} successes, counted were {stats.exports}"
        assert stats.exports + stats.export_failures == flushes, "every export must be counted once"
        assert stats.recorded == flushes, "every call must be counted once, whatever becomes of the exports"
        return stats.exports, stats.export_failures


def number(snapshot: Snapshot, name: str, **labels: str) -> float:
    """Return the one counter or gauge point with exactly these labels; KeyError without it."""
    for family in snapshot.families:
        for point in family.numbers:
            if family.name == name and dict(point.labels) == labels:
                return point.value
    raise KeyError(f"{name}{labels} is not in the snapshot")


def histogram(snapshot: Snapshot, name: str, **labels: str) -> HistogramValue:
    """Return the one histogram with exactly these labels; KeyError without it."""
    for family in snapshot.families:
        for point in family.histograms:
            if family.name == name and dict(point.labels) == labels:
                return point.value
    raise KeyError(f"{name}{labels} is not in the snapshot")


def total(snapshot: Snapshot, name: str, **labels: str) -> float:
    """Return the sum of all points of a metric that carry at least these labels; 0 for none."""
    return sum(
        point.value
        for family in snapshot.families
        if family.name == name
        for point in family.numbers
        if labels.items() <= dict(point.labels).items()
    )
