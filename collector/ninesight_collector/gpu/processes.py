"""Processes on one GPU: memory from the list of running ones, utilisation from the driver's samples."""

from __future__ import annotations

import ctypes
from typing import Any

import pynvml

from ninesight_collector.gpu.binding import call
from ninesight_collector.gpu.reading import ProcessReading

__all__ = ["ProcessReader"]

_ROOM = 64
_ROOM_MAX = 4096
_RUNNING = "nvmlDeviceGetComputeRunningProcesses_v3"
_SAMPLES = "nvmlDeviceGetProcessUtilization"


class ProcessReader:
    """Keeps the buffers and the time of the last utilisation sample."""

    def __init__(self, handle: object) -> None:
        self._handle = handle
        self._count = ctypes.c_uint()
        self._running: Any = (pynvml.c_nvmlProcessInfo_v2_t * _ROOM)()
        self._samples: Any = (pynvml.c_nvmlProcessUtilizationSample_t * _ROOM)()
        self._last_us = 0

    def read(self) -> dict[int, ProcessReading]:
        """Return what is known of each process, by pid. Raises DeviceLostError."""
        processes: dict[int, ProcessReading] = {}
        for entry in self._running_now():
            process = processes.setdefault(entry.pid, ProcessReading())
            if entry.usedGpuMemory != pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value:
                process.memory_bytes = (process.memory_bytes or 0.0) + float(entry.usedGpuMemory)
        for pid, percents in self._busy().items():
            processes.setdefault(pid, ProcessReading()).utilization = sum(percents) / len(percents) / 100
        return processes

    def _running_now(self) -> list[Any]:
        for _ in range(2):
            self._count.value = len(self._running)
            code = call(_RUNNING, self._handle, ctypes.byref(self._count), self._running)
            if code == pynvml.NVML_SUCCESS:
                return list(self._running[: self._count.value])
            if code != pynvml.NVML_ERROR_INSUFFICIENT_SIZE:
                break
            self._running = (pynvml.c_nvmlProcessInfo_v2_t * _grown(self._count.value))()
        return []

    def _busy(self) -> dict[int, list[int]]:
        """Percent samples since the last call, by pid; an idle GPU answers NOT_FOUND."""
        busy: dict[int, list[int]] = {}
        for _ in range(2):
            self._count.value = len(self._samples)
            since = ctypes.c_ulonglong(self._last_us)
            code = call(_SAMPLES, self._handle, self._samples, ctypes.byref(self._count), since)
            if code == pynvml.NVML_SUCCESS:
                for sample in self._samples[: self._count.value]:
                    self._last_us = max(self._last_us, sample.timeStamp)
                    # Drivers leave unused entries (pid 0) and now and then noise above 100.
                    if sample.pid and sample.smUtil <= 100:
                        busy.setdefault(sample.pid, []).append(sample.smUtil)
                break
            if code != pynvml.NVML_ERROR_INSUFFICIENT_SIZE:
                break
            self._samples = (pynvml.c_nvmlProcessUtilizationSample_t * _grown(self._count.value))()
        return busy


def _grown(wanted: int) -> int:
    return min(_ROOM_MAX, wanted * 2 + _ROOM)
