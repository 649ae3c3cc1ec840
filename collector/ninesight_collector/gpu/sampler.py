"""GPUs as canonical series, whichever library speaks under the binding."""

from __future__ import annotations

from collections.abc import Callable

from ninesight_store.contract import Batch, labels_of

from ninesight_collector.batch_builder import BatchBuilder
from ninesight_collector.contract import Health
from ninesight_collector.errors import GpuUnavailableError
from ninesight_collector.gpu.binding import DeviceLostError, device_count, driver_version
from ninesight_collector.gpu.device import Device
from ninesight_collector.gpu.drivers import Driver
from ninesight_collector.gpu.metadata import METADATA
from ninesight_collector.gpu.reading import DeviceIdentity, DeviceReading

__all__ = ["GpuSampler"]

_REOPEN_MS = 30_000


class GpuSampler:
    """Samples every GPU of this host as `gpu_*{job="gpu",instance,gpu,uuid}`.

    Where a stand-in speaks, every series carries `simulated="true"`. A driver that is missing or
    a GPU that is lost is reported by `health` and `up`; the driver is looked for again every 30 s.
    With `optional`, a missing driver is nothing wrong: `up` is None and no series is written.
    """

    def __init__(
        self,
        instance: str,
        driver: Driver,
        *,
        optional: bool = False,
        model_of: Callable[[int], str] = lambda _pid: "",
        problem: Callable[[], str] = lambda: "",
    ) -> None:
        self._instance = instance
        self._driver = driver
        self._optional = optional
        self._model_of = model_of
        self._problem = problem
        self._builder = BatchBuilder(marks_stale=True)
        self._devices: list[Device] = []
        self._opened = False
        self._ever_opened = False
        self._tried_ms: int | None = None
        self._simulated = False
        self._health = Health()
        for metadata in METADATA:
            self._builder.describe(metadata)

    def sample(self, now_ms: int) -> Batch:
        """Look at every GPU once."""
        if self._open(now_ms):
            readings = [(device.identity, device.read()) for device in self._devices]
            for identity, reading in readings:
                self._add_device(identity, reading, now_ms)
            self._judge([(identity, reading) for identity, reading in readings if reading.error])
        if self._health.up is not None:
            own = {"job": "gpu", "instance": self._instance} | (
                {"simulated": "true"} if self._simulated else {}
            )
            self._builder.add(labels_of("up", own), now_ms, float(self._health.up))
        return self._builder.batch(now_ms)

    def health(self) -> Health:
        """Return how the last look went."""
        return self._health

    def close(self) -> None:
        """Let the driver go; safe to call twice."""
        if self._opened:
            self._opened, self._devices = False, []
            self._driver.close()

    def _open(self, now_ms: int) -> bool:
        if self._opened:
            return True
        if self._tried_ms is not None and 0 <= now_ms - self._tried_ms < _REOPEN_MS:
            return False
        self._tried_ms = now_ms
        try:
            self._driver.open()
        except GpuUnavailableError as error:
            # A driver that was there and went is wrong even where none would not be.
            missing = self._optional and not self._ever_opened
            self._health = Health(up=None if missing else False, error=str(error))
            return False
        try:
            version = driver_version()
            self._devices = [Device(index, version) for index in range(device_count())]
        except DeviceLostError as error:
            self._driver.close()
            self._health = Health(up=False, error=f"the GPUs cannot be opened: {error}")
            return False
        self._opened = self._ever_opened = True
        self._simulated = any(device.identity.simulated for device in self._devices)
        return True

    def _judge(self, lost: list[tuple[DeviceIdentity, DeviceReading]]) -> None:
        problems = [f"GPU {identity.index} ({identity.uuid}): {reading.error}" for identity, reading in lost]
        problems += [problem for problem in (self._problem(),) if problem]
        if not self._devices:
            problems.append("the driver is there, but it has no GPU")
        self._health = Health(up=not lost and bool(self._devices), error="; ".join(problems))
        if lost and len(lost) == len(self._devices):
            # All at once is the driver's end (a reload, an upgrade), not theirs.
            self.close()

    def _add_device(self, identity: DeviceIdentity, reading: DeviceReading, now_ms: int) -> None:
        base = {"job": "gpu", "instance": self._instance, "gpu": str(identity.index), "uuid": identity.uuid}
        if identity.simulated:
            base["simulated"] = "true"

        def add(metric: str, value: float | None, /, **labels: str) -> None:
            if value is not None:
                self._builder.add(labels_of(metric, base | labels), now_ms, value)

        if reading.error:
            return
        add("gpu_info", 1.0, name=identity.name, driver=identity.driver)
        add("gpu_utilization_ratio", reading.utilization)
        add("gpu_memory_used_bytes", reading.memory_used_bytes)
        add("gpu_memory_total_bytes", reading.memory_total_bytes)
        add("gpu_power_watts", reading.power_watts)
        add("gpu_energy_joules_total", reading.energy_joules)
        add("gpu_temperature_celsius", reading.temperature_celsius)
        for clock, hertz in reading.clocks_hertz.items():
            add("gpu_clock_hertz", hertz, clock=clock)
        for reason, throttled in reading.throttled.items():
            add("gpu_throttled", float(throttled), reason=reason)
        for kind, errors in reading.ecc_errors.items():
            add("gpu_ecc_errors_total", errors, kind=kind)
        for direction, sent in reading.pcie_bytes.items():
            add("gpu_pcie_bytes_total", sent, direction=direction)
        for pid, process in reading.processes.items():
            who = {"pid": str(pid), "model": self._model_of(pid)}
            add("gpu_process_memory_bytes", process.memory_bytes, **who)
            add("gpu_process_utilization_ratio", process.utilization, **who)
