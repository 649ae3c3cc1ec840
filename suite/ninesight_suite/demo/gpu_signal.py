"""Drives the simulated GPU by the load the server really has: busy seconds become utilisation.

accelerator-seconds per second (measured) ─► scenario file ─► NVML stand-in ─► gpu_* {simulated="true"}
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from ninesight_suite.demo.probe import Probe

__all__ = ["GpuSignal"]

_GIB = 2**30


class GpuSignal:
    """A thread that writes the scenario file every two seconds until stopped."""

    def __init__(self, probe: Probe, path: Path, server_pid: int, *, interval_s: float = 2.0) -> None:
        self._probe = probe
        self._path = path
        self._pid = server_pid
        self._ending = threading.Event()
        self._interval_s = interval_s
        self._thread = threading.Thread(target=self._run, name="gpu-signal", daemon=True)
        write_scenario(path, 0.0, server_pid)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End. Safe to call twice."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._ending.wait(self._interval_s):
            write_scenario(self._path, self._probe.accelerator_busy() or 0.0, self._pid)


def write_scenario(path: Path, busy: float, pid: int) -> None:
    """Replace the scenario file in one step: a reader sees the old or the new one, never half of one."""
    busy = min(1.0, max(0.0, busy))
    used = int((6 + 12 * busy) * _GIB)
    process = {"pid": pid, "memory_bytes": int(5.5 * _GIB), "utilization": round(busy, 4)}
    scenario = {"gpus": [{"utilization": round(busy, 4), "memory_used_bytes": used, "processes": [process]}]}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(scenario))
    fresh.replace(path)
