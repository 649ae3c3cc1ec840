"""CPU and memory of this host, through psutil."""

from __future__ import annotations

import psutil
from ninesight_store.contract import Batch, Metadata, labels_of

from ninesight_collector.batch_builder import BatchBuilder
from ninesight_collector.contract import Health

__all__ = ["HostSampler"]

_METADATA = (
    Metadata(
        "host_cpu_utilization_ratio",
        "gauge",
        "ratio",
        "Share of all cores' time not idle since the last sample.",
    ),
    Metadata(
        "host_memory_used_bytes", "gauge", "bytes", "Memory not available to new work: total less available."
    ),
    Metadata("host_memory_total_bytes", "gauge", "bytes", "Physical memory."),
)


class HostSampler:
    """Samples `host_*{job="host",instance}`."""

    def __init__(self, instance: str) -> None:
        self._labels = {"job": "host", "instance": instance}
        self._builder = BatchBuilder(marks_stale=True)
        self._health = Health()
        self._before = psutil.cpu_times()
        for metadata in _METADATA:
            self._builder.describe(metadata)

    def sample(self, now_ms: int) -> Batch:
        """Return CPU since the last sample and memory now."""
        try:
            self._add("host_cpu_utilization_ratio", now_ms, self._cpu())
            memory = psutil.virtual_memory()
            self._add("host_memory_used_bytes", now_ms, float(memory.total - memory.available))
            self._add("host_memory_total_bytes", now_ms, float(memory.total))
            self._health = Health(up=True)
        except (OSError, psutil.Error) as error:
            self._health = Health(up=False, error=f"the host could not be read: {error}")
        self._add("up", now_ms, float(self._health.up is True))
        return self._builder.batch(now_ms)

    def health(self) -> Health:
        """Return how the last look went."""
        return self._health

    def _cpu(self) -> float | None:
        """Share of CPU time not idle since the last call; None until time has passed.

        Kept here rather than in psutil, whose memory of the last call is shared by the process.
        """
        before, now = self._before, psutil.cpu_times()
        whole = _whole(now) - _whole(before)
        if whole <= 0:
            return None
        self._before = now
        idle = _idle(now) - _idle(before)
        return min(1.0, max(0.0, 1 - idle / whole))

    def _add(self, name: str, now_ms: int, value: float | None) -> None:
        if value is not None:
            self._builder.add(labels_of(name, self._labels), now_ms, value)


def _whole(times: object) -> float:
    # Linux counts guest time inside user and nice already.
    fields: tuple[str, ...] = times._fields  # type: ignore[attr-defined]
    return sum(float(getattr(times, name)) for name in fields if not name.startswith("guest"))


def _idle(times: object) -> float:
    return float(getattr(times, "idle", 0.0)) + float(getattr(times, "iowait", 0.0))
