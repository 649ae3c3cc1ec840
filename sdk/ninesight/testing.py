"""For tests of servers that use the SDK: a recorder, exporters that fail on purpose, look-ups in a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ninesight.contract import Exporter, HistogramValue, Snapshot

if TYPE_CHECKING:
    from ninesight.runtime import Runtime

__all__ = ["FaultyExporter", "RecordingExporter", "check_exporter", "histogram", "number", "total"]


class RecordingExporter:
    """Keeps the last `snapshots_max` snapshots it was handed."""

    def __init__(self, snapshots_max: int = 100) -> None:
        self._snapshots_max = snapshots_max
        self.snapshots: list[Snapshot] = []
        self.closed = False

    def export(self, snapshot: Snapshot) -> None:
        """Keep the snapshot."""
        self.snapshots = [*self.snapshots, snapshot][-self._snapshots_max :]

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


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


def check_exporter(runtime: Runtime, exporter: Exporter, *, calls: int = 100) -> tuple[int, int]:
    """Drive an exporter through a runtime; return (snapshots taken, failures), which must add up to the flushes.

    Asserts that each flush was either delivered or counted as failed, and that no call was lost.
    """
    runtime.export_to(exporter)
    before = runtime.stats()
    series = runtime.series("check", "1")
    point = runtime.buffers.point(series, 1)
    slot = runtime.buffers.slot(point)
    for _ in range(calls):
        slot.values.append(0.001)
        runtime.flush()
    after = runtime.stats()
    taken = after.exports - before.exports
    failed = after.export_failures + after.internal_errors - before.export_failures - before.internal_errors
    assert taken + failed >= calls, (
        f"every flush must be counted, got {taken} taken and {failed} failed of {calls}"
    )
    assert after.recorded - before.recorded == calls, "every call must be counted once"
    return taken, failed


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
