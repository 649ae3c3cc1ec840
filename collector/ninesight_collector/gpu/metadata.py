"""What each GPU series is."""

from __future__ import annotations

from ninesight_store.contract import Metadata

__all__ = ["METADATA"]

METADATA = (
    Metadata("gpu_info", "gauge", "", "1 for each GPU, with its name and driver version."),
    Metadata("gpu_utilization_ratio", "gauge", "ratio", "Share of time at least one kernel ran."),
    Metadata("gpu_memory_used_bytes", "gauge", "bytes", "Memory allocated on the GPU."),
    Metadata("gpu_memory_total_bytes", "gauge", "bytes", "Memory of the GPU."),
    Metadata("gpu_power_watts", "gauge", "watts", "Power drawn now."),
    Metadata("gpu_energy_joules_total", "counter", "joules", "Energy since the driver was loaded."),
    Metadata("gpu_temperature_celsius", "gauge", "celsius", "Temperature of the GPU die."),
    Metadata("gpu_clock_hertz", "gauge", "hertz", "Clock now: graphics, sm, memory or video."),
    Metadata("gpu_throttled", "gauge", "", "1 while clocks are held down for the reason."),
    Metadata("gpu_ecc_errors_total", "counter", "", "Memory errors since the driver was loaded."),
    Metadata("gpu_pcie_bytes_total", "counter", "bytes", "Bytes over PCIe; the device's counter wraps."),
    Metadata("gpu_process_memory_bytes", "gauge", "bytes", "GPU memory of one process."),
    Metadata("gpu_process_utilization_ratio", "gauge", "ratio", "Share of time kernels of one process ran."),
)
