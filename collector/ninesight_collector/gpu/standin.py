"""A stand-in for `libnvidia-ml.so.1` made of ctypes callbacks, under the real binding.

The binding calls C function pointers and reads real NVML structs, as with a driver; only the
other side is ours. Its device names begin with "Simulated" and its driver version says so too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pynvml

from ninesight_collector.errors import GpuUnavailableError
from ninesight_collector.gpu.scenario import GpuState, Scenario
from ninesight_collector.gpu.standin_fields import field_answer

__all__ = ["StandinLibrary"]

_OK: int = pynvml.NVML_SUCCESS
_INVALID: int = pynvml.NVML_ERROR_INVALID_ARGUMENT
_UNSUPPORTED: int = pynvml.NVML_ERROR_NOT_SUPPORTED
_POINTER, _UINT, _U64 = ctypes.c_void_p, ctypes.c_uint, ctypes.c_ulonglong

DRIVER_VERSION = "0.0-simulated"


class StandinLibrary:
    """Speaks for the GPUs of a scenario. One at a time per process: the binding has one library."""

    def __init__(self, scenario: Scenario, now_ms: Callable[[], int]) -> None:
        self._scenario = scenario
        self._now_ms = now_ms
        self._before: Any = None
        self.installed = False
        """Whether the binding calls us."""
        # CFUNCTYPE objects must outlive every call through them.
        self._functions = _functions(self)

    def __getattr__(self, name: str) -> object:
        """Return a function by its name in the library; AttributeError where a driver would lack it."""
        try:
            return self.__dict__["_functions"][name]
        except KeyError:
            raise AttributeError(name) from None

    def install(self) -> None:
        """Become the binding's library. Raises GpuUnavailableError while another one is in use there."""
        if self.installed:
            return
        if pynvml.nvmlLib is not None and pynvml._nvmlLib_refcount > 0:
            raise GpuUnavailableError(
                'a driver must not be in use where GPUs are simulated, one is; set gpu.mode to "nvml" or "off"'
            )
        self._before, pynvml.nvmlLib = pynvml.nvmlLib, self
        pynvml._nvmlGetFunctionPointer_cache.clear()
        self.installed = True

    def uninstall(self) -> None:
        """Give the binding back what it had."""
        if self.installed:
            pynvml.nvmlLib = self._before
            pynvml._nvmlGetFunctionPointer_cache.clear()
            self.installed = False

    def count(self) -> int:
        """Return the number of GPUs."""
        return self._scenario.config.gpus

    def name(self) -> str:
        """Return the device name of every GPU."""
        return self._scenario.config.name

    def memory_total(self) -> int:
        """Return the memory of a GPU in bytes."""
        return self._scenario.config.memory_total_bytes

    def state(self, gpu: int) -> GpuState:
        """Return a GPU as it is now."""
        return self._scenario.state(gpu, self._now_ms())


def _functions(library: StandinLibrary) -> dict[str, object]:
    table: dict[str, object] = {}

    def export(name: str, *kinds: Any) -> Callable[[Callable[..., int]], Callable[..., int]]:
        def keep(answer: Callable[..., int]) -> Callable[..., int]:
            def guarded(*arguments: Any) -> int:
                try:
                    return answer(*arguments)
                except Exception:
                    # An exception cannot cross C; a driver would say just as little.
                    return int(pynvml.NVML_ERROR_UNKNOWN)

            table[name] = ctypes.CFUNCTYPE(_UINT, *kinds)(guarded)
            return answer

        return keep

    def device(name: str, *kinds: Any) -> Callable[[Callable[..., int]], Callable[..., int]]:
        def keep(answer: Callable[..., int]) -> Callable[..., int]:
            def about(handle: int | None, *arguments: Any) -> int:
                if not handle or handle > library.count():
                    return _INVALID
                state = library.state(handle - 1)
                if state.load.lost:
                    return int(pynvml.NVML_ERROR_GPU_IS_LOST)
                if name in state.load.unsupported:
                    return _UNSUPPORTED
                return answer(state, *arguments)

            export(name, _POINTER, *kinds)(about)
            return answer

        return keep

    _export_system(export, library)
    _export_identity(export, library)
    _export_figures(device, library)
    _export_processes(device)
    return table


_Export = Callable[..., Callable[[Callable[..., int]], Callable[..., int]]]


def _export_system(export: _Export, library: StandinLibrary) -> None:
    export("nvmlInitWithFlags", _UINT)(lambda _flags: _OK)
    export("nvmlShutdown")(lambda: _OK)

    @export("nvmlSystemGetDriverVersion", _POINTER, _UINT)
    def _driver(text: int, size: int) -> int:
        return _write_text(text, size, DRIVER_VERSION)

    @export("nvmlSystemGetNVMLVersion", _POINTER, _UINT)
    def _nvml(text: int, size: int) -> int:
        return _write_text(text, size, DRIVER_VERSION)

    @export("nvmlDeviceGetCount_v2", _POINTER)
    def _count(out: int) -> int:
        return _write(out, _UINT, library.count())

    @export("nvmlDeviceGetHandleByIndex_v2", _UINT, _POINTER)
    def _handle(index: int, out: int) -> int:
        # An opaque pointer that nobody follows: the index and one, as NULL is no device.
        return _write(out, _POINTER, index + 1) if index < library.count() else _INVALID


def _export_identity(export: _Export, library: StandinLibrary) -> None:
    @export("nvmlDeviceGetName", _POINTER, _POINTER, _UINT)
    def _name(handle: int, text: int, size: int) -> int:
        return _write_text(text, size, library.name()) if handle else _INVALID

    @export("nvmlDeviceGetUUID", _POINTER, _POINTER, _UINT)
    def _uuid(handle: int, text: int, size: int) -> int:
        return _write_text(text, size, f"GPU-simulated-{handle - 1:04d}") if handle else _INVALID


def _export_figures(device: _Export, library: StandinLibrary) -> None:
    @device("nvmlDeviceGetUtilizationRates", _POINTER)
    def _utilization(state: GpuState, out: int) -> int:
        rates = pynvml.c_nvmlUtilization_t.from_address(out)
        rates.gpu = round(state.load.utilization * 100)
        rates.memory = round(state.load.utilization * 60)
        return _OK

    @device("nvmlDeviceGetMemoryInfo_v2", _POINTER)
    def _memory(state: GpuState, out: int) -> int:
        memory = pynvml.c_nvmlMemory_v2_t.from_address(out)
        if memory.version != pynvml.nvmlMemory_v2:
            return int(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
        memory.total, memory.used, memory.reserved = library.memory_total(), state.memory_used_bytes, 0
        memory.free = memory.total - memory.used
        return _OK

    @device("nvmlDeviceGetFieldValues", ctypes.c_int, _POINTER)
    def _fields(state: GpuState, count: int, out: int) -> int:
        for field in (pynvml.c_nvmlFieldValue_t * count).from_address(out):
            field_answer(state, field)
        return _OK

    @device("nvmlDeviceGetPowerUsage", _POINTER)
    def _power(state: GpuState, out: int) -> int:
        return _write(out, _UINT, round(state.power_watts * 1000))

    @device("nvmlDeviceGetTotalEnergyConsumption", _POINTER)
    def _energy(state: GpuState, out: int) -> int:
        return _write(out, _U64, round(state.energy_joules * 1000))

    @device("nvmlDeviceGetTemperatureV", _POINTER)
    def _temperature(state: GpuState, out: int) -> int:
        reading = pynvml.c_nvmlTemperature_v1_t.from_address(out)
        if reading.version != pynvml.nvmlTemperature_v1:
            return int(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
        reading.temperature = round(state.temperature_celsius)
        return _OK

    @device("nvmlDeviceGetClockInfo", _UINT, _POINTER)
    def _clock(state: GpuState, kind: int, out: int) -> int:
        memory = kind == pynvml.NVML_CLOCK_MEM
        return _write(out, _UINT, state.clock_memory_mhz if memory else state.clock_mhz)

    @device("nvmlDeviceGetCurrentClocksEventReasons", _POINTER)
    def _reasons(state: GpuState, out: int) -> int:
        return _write(out, _U64, state.reasons)

    @device("nvmlDeviceGetTotalEccErrors", _UINT, _UINT, _POINTER)
    def _ecc(_state: GpuState, _kind: int, _counter: int, out: int) -> int:
        return _write(out, _U64, 0)


def _export_processes(device: _Export) -> None:
    @device("nvmlDeviceGetComputeRunningProcesses_v3", _POINTER, _POINTER)
    def _running(state: GpuState, count: int, out: int | None) -> int:
        processes = state.load.processes
        room, _UINT.from_address(count).value = _UINT.from_address(count).value, len(processes)
        if room < len(processes) or (processes and not out):
            return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
        for place, process in enumerate(processes):
            entry = _entry(pynvml.c_nvmlProcessInfo_v2_t, out, place)
            entry.pid, entry.usedGpuMemory = process.pid, process.memory_bytes
            entry.gpuInstanceId = entry.computeInstanceId = 0xFFFFFFFF
        return _OK

    @device("nvmlDeviceGetProcessUtilization", _POINTER, _POINTER, _U64)
    def _busy(state: GpuState, out: int | None, count: int, since_us: int) -> int:
        busy = [process for process in state.load.processes if process.utilization > 0]
        if not busy or state.at_ms * 1000 <= since_us:
            return int(pynvml.NVML_ERROR_NOT_FOUND)
        room, _UINT.from_address(count).value = _UINT.from_address(count).value, len(busy)
        if room < len(busy) or not out:
            return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
        for place, process in enumerate(busy):
            entry = _entry(pynvml.c_nvmlProcessUtilizationSample_t, out, place)
            entry.pid, entry.timeStamp = process.pid, state.at_ms * 1000
            entry.smUtil = round(process.utilization * 100)
            entry.memUtil = entry.encUtil = entry.decUtil = 0
        return _OK


def _entry(kind: Any, address: int | None, place: int) -> Any:
    assert address is not None
    return kind.from_address(address + place * ctypes.sizeof(kind))


def _write(address: int, kind: Any, value: int) -> int:
    kind.from_address(address).value = value
    return _OK


def _write_text(address: int, size: int, text: str) -> int:
    raw = text.encode() + b"\0"
    if len(raw) > size:
        return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    ctypes.memmove(address, raw, len(raw))
    return _OK
