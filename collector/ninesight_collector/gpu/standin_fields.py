"""The field values (`nvmlDeviceGetFieldValues`) of a simulated GPU."""

from __future__ import annotations

from typing import Any

import pynvml

from ninesight_collector.gpu.scenario import GpuState

__all__ = ["field_answer"]

_BYTES_PER_JOULE = 1_000_000


def field_answer(state: GpuState, field: Any) -> None:
    """Fill one `nvmlFieldValue_t` whose `fieldId` the caller has set."""
    field.timestamp, field.latencyUsec = state.at_ms * 1000, 1
    answers = {
        pynvml.NVML_FI_DEV_POWER_INSTANT: ("uiVal", round(state.power_watts * 1000)),
        pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION: ("ullVal", round(state.energy_joules * 1000)),
        pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES: ("ullVal", round(state.energy_joules * _BYTES_PER_JOULE)),
        pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES: ("ullVal", round(state.energy_joules * _BYTES_PER_JOULE)),
        pynvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL: ("ullVal", 0),
        pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL: ("ullVal", 0),
    }
    answer = answers.get(field.fieldId)
    if answer is None or f"field:{field.fieldId}" in state.load.unsupported:
        field.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
        return
    member, value = answer
    wide = member == "ullVal"
    field.valueType = (
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG if wide else pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
    )
    setattr(field.value, member, value)
    field.nvmlReturn = pynvml.NVML_SUCCESS
