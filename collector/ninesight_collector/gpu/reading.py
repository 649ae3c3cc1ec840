"""What one look at one GPU gave. None means: this device or driver does not tell."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["DeviceIdentity", "DeviceReading", "ProcessReading"]


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Which device it is."""

    index: int
    uuid: str
    name: str
    driver: str

    @property
    def simulated(self) -> bool:
        """Whether a stand-in speaks: its device names begin with "Simulated"."""
        return self.name.startswith("Simulated")


@dataclass(slots=True)
class ProcessReading:
    """One process on a GPU."""

    memory_bytes: float | None = None
    utilization: float | None = None
    """Share of time its kernels ran, 0-1."""


@dataclass(slots=True)
class DeviceReading:
    """One look, in base units."""

    utilization: float | None = None
    """Share of time at least one kernel ran, 0-1."""
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    """Since the driver was loaded."""
    temperature_celsius: float | None = None
    clocks_hertz: dict[str, float] = field(default_factory=dict)
    """By graphics, sm, memory, video."""
    throttled: dict[str, bool] = field(default_factory=dict)
    """By reason."""
    ecc_errors: dict[str, float] = field(default_factory=dict)
    """By corrected, uncorrected; since the driver was loaded."""
    pcie_bytes: dict[str, float] = field(default_factory=dict)
    """By transmit, receive; wraps."""
    processes: dict[int, ProcessReading] = field(default_factory=dict)
    """By pid."""
    error: str = ""
    """The device is lost or needs a reset; then nothing else is told."""
