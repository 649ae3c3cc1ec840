"""GPUs through NVML, real or simulated at the driver's own interface."""

from __future__ import annotations

from ninesight_collector.gpu.drivers import Driver, NvmlDriver, SimulatedDriver
from ninesight_collector.gpu.sampler import GpuSampler
from ninesight_collector.gpu.scenario import GpuLoad, GpuProcess, GpuState, LoadSource, Scenario
from ninesight_collector.gpu.scenario_file import ScenarioFile
from ninesight_collector.gpu.standin import StandinLibrary

__all__ = [
    "Driver",
    "GpuLoad",
    "GpuProcess",
    "GpuSampler",
    "GpuState",
    "LoadSource",
    "NvmlDriver",
    "Scenario",
    "ScenarioFile",
    "SimulatedDriver",
    "StandinLibrary",
]
