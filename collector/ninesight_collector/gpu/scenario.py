"""A simulated GPU node: what its GPUs do, as a function of time.

    load (a function, a JSON file or a constant) ─► utilisation
    power       = idle + (max - idle) x utilisation
    energy      = power integrated over time (trapezoids between looks)
    temperature → 30 °C + 50 °C x power / max, with a time constant of 20 s

Nothing is random: the same clock and the same load give the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ninesight_collector.config import ScenarioConfig

__all__ = ["GpuLoad", "GpuProcess", "GpuState", "LoadSource", "Scenario"]

_AMBIENT_CELSIUS = 30.0
_RISE_CELSIUS = 50.0
_THERMAL_S = 20.0
_CLOCK_IDLE_MHZ, _CLOCK_BUSY_MHZ, _CLOCK_MEMORY_MHZ = 345, 1980, 2619
_POWER_CAP_SHARE = 0.98
_REASON_IDLE, _REASON_POWER_CAP = 0x1, 0x4


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process on a simulated GPU."""

    pid: int
    memory_bytes: int = 0
    utilization: float = 0.0
    """0-1."""


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """What a simulated GPU is asked to do now."""

    utilization: float = 0.0
    """0-1."""
    memory_used_bytes: int | None = None
    """None: the scenario's own figure."""
    processes: tuple[GpuProcess, ...] = ()
    lost: bool = False
    """The device has fallen off the bus: every call answers GPU_IS_LOST."""
    unsupported: frozenset[str] = frozenset()
    """NVML functions, and fields as "field:<id>", that answer NOT_SUPPORTED."""


LoadSource = Callable[[int, int], GpuLoad]
"""(index of the GPU, now in ms) -> its load. Called from the sampler's thread; must not block."""


@dataclass(slots=True)
class GpuState:
    """One simulated GPU now."""

    load: GpuLoad = field(default_factory=GpuLoad)
    memory_used_bytes: int = 0
    power_watts: float = 0.0
    energy_joules: float = 0.0
    temperature_celsius: float = _AMBIENT_CELSIUS
    clock_mhz: int = _CLOCK_IDLE_MHZ
    clock_memory_mhz: int = _CLOCK_MEMORY_MHZ
    reasons: int = _REASON_IDLE
    at_ms: int = -1
    """Time of the last look; -1 before the first."""


class Scenario:
    """The simulated node. Advances when looked at; used by one thread at a time."""

    def __init__(self, config: ScenarioConfig, load: LoadSource | None = None) -> None:
        self.config = config
        self._load = load or (lambda _gpu, _now_ms: GpuLoad(utilization=config.utilization))
        self._states = [GpuState() for _ in range(config.gpus)]

    def state(self, gpu: int, now_ms: int) -> GpuState:
        """Return a GPU at a time, its energy and temperature brought up to it. Time never runs backwards."""
        state = self._states[gpu]
        if now_ms > state.at_ms:
            self._advance(state, self._load(gpu, now_ms), now_ms)
        return state

    def _advance(self, state: GpuState, load: GpuLoad, now_ms: int) -> None:
        config = self.config
        busy = min(1.0, max(0.0, load.utilization))
        power = config.idle_watts + (config.max_watts - config.idle_watts) * busy
        if state.at_ms >= 0:
            elapsed_s = (now_ms - state.at_ms) / 1000
            state.energy_joules += (state.power_watts + power) / 2 * elapsed_s
            aim = _AMBIENT_CELSIUS + _RISE_CELSIUS * power / config.max_watts
            state.temperature_celsius += (aim - state.temperature_celsius) * -math.expm1(
                -elapsed_s / _THERMAL_S
            )
        used = config.memory_used_bytes if load.memory_used_bytes is None else load.memory_used_bytes
        state.load = load
        state.memory_used_bytes = min(max(0, used), config.memory_total_bytes)
        state.power_watts = power
        state.clock_mhz = round(_CLOCK_IDLE_MHZ + (_CLOCK_BUSY_MHZ - _CLOCK_IDLE_MHZ) * min(1.0, busy * 4))
        capped = power >= _POWER_CAP_SHARE * config.max_watts
        state.reasons = (_REASON_IDLE if busy == 0 else 0) | (_REASON_POWER_CAP if capped else 0)
        state.at_ms = now_ms
