"""One GPU, read through NVML."""

from __future__ import annotations

import ctypes
from typing import Any

import pynvml

from ninesight_collector.gpu.binding import DeviceLostError, call, succeeded
from ninesight_collector.gpu.processes import ProcessReader
from ninesight_collector.gpu.reading import DeviceIdentity, DeviceReading

__all__ = ["Device"]

# Field 186 is the power of now (nvmlDeviceGetPowerUsage averages a second on newer devices);
# 197/198 replace nvmlDeviceGetPcieThroughput, which blocks for 20 ms.
_POWER, _ENERGY = pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION
_PCIE = {
    "transmit": pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES,
    "receive": pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES,
}
_ECC = {
    "corrected": pynvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL,
    "uncorrected": pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL,
}
_ECC_TYPES = {
    "corrected": pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
    "uncorrected": pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
}
_FIELDS = (_POWER, _ENERGY, *_PCIE.values(), *_ECC.values())
_MEMBERS = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}
_CLOCKS = {
    "graphics": pynvml.NVML_CLOCK_GRAPHICS,
    "sm": pynvml.NVML_CLOCK_SM,
    "memory": pynvml.NVML_CLOCK_MEM,
    "video": pynvml.NVML_CLOCK_VIDEO,
}
# An idle GPU and clocks that somebody chose are no throttling and are left out.
_REASONS = {
    "sw_power_cap": pynvml.nvmlClocksEventReasonSwPowerCap,
    "hw_slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "sync_boost": pynvml.nvmlClocksEventReasonSyncBoost,
    "sw_thermal_slowdown": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "hw_thermal_slowdown": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "hw_power_brake_slowdown": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
}


class Device:
    """Reads one device into buffers it keeps. Used by one thread at a time."""

    def __init__(self, index: int, driver: str) -> None:
        self._handle = pynvml.c_nvmlDevice_t()
        if not succeeded("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(self._handle)):
            raise DeviceLostError(f"device {index} cannot be opened")
        self._utilization = pynvml.c_nvmlUtilization_t()
        self._memory = pynvml.c_nvmlMemory_v2_t()
        self._memory_v1 = pynvml.c_nvmlMemory_t()
        self._temperature = pynvml.c_nvmlTemperature_v1_t()
        self._fields = (pynvml.c_nvmlFieldValue_t * len(_FIELDS))()
        self._uint = ctypes.c_uint()
        self._ulonglong = ctypes.c_ulonglong()
        self._processes = ProcessReader(self._handle)
        self.identity = DeviceIdentity(
            index, self._text("nvmlDeviceGetUUID"), self._text("nvmlDeviceGetName"), driver
        )

    def read(self) -> DeviceReading:
        """Look once. A figure the device does not tell stays None; a lost device is a reading with `error`."""
        reading = DeviceReading()
        try:
            self._read(reading)
        except DeviceLostError as error:
            return DeviceReading(error=str(error))
        return reading

    def _read(self, reading: DeviceReading) -> None:
        if succeeded("nvmlDeviceGetUtilizationRates", self._handle, ctypes.byref(self._utilization)):
            reading.utilization = self._utilization.gpu / 100
        self._read_memory(reading)
        self._read_fields(reading)
        reading.temperature_celsius = self._read_temperature()
        for name, kind in _CLOCKS.items():
            if succeeded(
                "nvmlDeviceGetClockInfo", self._handle, ctypes.c_uint(kind), ctypes.byref(self._uint)
            ):
                reading.clocks_hertz[name] = self._uint.value * 1e6
        out = ctypes.byref(self._ulonglong)
        if succeeded("nvmlDeviceGetCurrentClocksEventReasons", self._handle, out) or succeeded(
            "nvmlDeviceGetCurrentClocksThrottleReasons", self._handle, out
        ):
            bits = self._ulonglong.value
            reading.throttled = {name: bool(bits & bit) for name, bit in _REASONS.items()}
        reading.processes = self._processes.read()

    def _read_memory(self, reading: DeviceReading) -> None:
        memory = self._memory
        memory.version = pynvml.nvmlMemory_v2
        if not succeeded("nvmlDeviceGetMemoryInfo_v2", self._handle, ctypes.byref(memory)):
            memory = self._memory_v1
            if not succeeded("nvmlDeviceGetMemoryInfo", self._handle, ctypes.byref(memory)):
                return
        reading.memory_used_bytes, reading.memory_total_bytes = float(memory.used), float(memory.total)

    def _read_fields(self, reading: DeviceReading) -> None:
        values = self._field_values()
        power, energy = values.get(_POWER), values.get(_ENERGY)
        if power is None and succeeded("nvmlDeviceGetPowerUsage", self._handle, ctypes.byref(self._uint)):
            power = self._uint.value
        if energy is None and succeeded(
            "nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(self._ulonglong)
        ):
            energy = self._ulonglong.value
        reading.power_watts = None if power is None else power / 1e3
        reading.energy_joules = None if energy is None else energy / 1e3
        for name, number in _PCIE.items():
            if number in values:
                reading.pcie_bytes[name] = float(values[number])
        for name, number in _ECC.items():
            errors = values[number] if number in values else self._ecc(name)
            if errors is not None:
                reading.ecc_errors[name] = float(errors)

    def _field_values(self) -> dict[int, Any]:
        for place, number in enumerate(_FIELDS):
            self._fields[place].fieldId = number
            self._fields[place].scopeId = 0
            self._fields[place].nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
        if not succeeded(
            "nvmlDeviceGetFieldValues", self._handle, ctypes.c_int(len(_FIELDS)), ctypes.byref(self._fields)
        ):
            return {}
        return {
            field.fieldId: getattr(field.value, _MEMBERS[field.valueType])
            for field in self._fields
            if field.nvmlReturn == pynvml.NVML_SUCCESS and field.valueType in _MEMBERS
        }

    def _ecc(self, name: str) -> int | None:
        out = ctypes.byref(self._ulonglong)
        kind, counter = ctypes.c_uint(_ECC_TYPES[name]), ctypes.c_uint(pynvml.NVML_VOLATILE_ECC)
        return (
            self._ulonglong.value
            if succeeded("nvmlDeviceGetTotalEccErrors", self._handle, kind, counter, out)
            else None
        )

    def _read_temperature(self) -> float | None:
        self._temperature.version = pynvml.nvmlTemperature_v1
        self._temperature.sensorType = pynvml.NVML_TEMPERATURE_GPU
        if succeeded("nvmlDeviceGetTemperatureV", self._handle, ctypes.byref(self._temperature)):
            return float(self._temperature.temperature)
        sensor = ctypes.c_uint(pynvml.NVML_TEMPERATURE_GPU)
        if succeeded("nvmlDeviceGetTemperature", self._handle, sensor, ctypes.byref(self._uint)):
            return float(self._uint.value)
        return None

    def _text(self, name: str) -> str:
        buffer = ctypes.create_string_buffer(96)
        code = call(name, self._handle, buffer, ctypes.c_uint(len(buffer)))
        return buffer.value.decode("utf-8", "replace") if code == pynvml.NVML_SUCCESS else ""
