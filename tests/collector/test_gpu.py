"""The NVML sampler through the real binding: the same expectations of both stand-ins."""

import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import pynvml
import pytest
from ninesight_collector.config import ScenarioConfig
from ninesight_collector.errors import GpuUnavailableError
from ninesight_collector.gpu import (
    GpuLoad,
    GpuProcess,
    GpuSampler,
    NvmlDriver,
    Scenario,
    ScenarioFile,
    SimulatedDriver,
    StandinLibrary,
)
from ninesight_collector.testing import check_sampler, latest
from ninesight_store.contract import STALE_BITS, labels_of

T0 = 1_700_000_000_000


def _sibling(name):
    """Import a helper beside this file (tests are no package)."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


worlds = _sibling("gpu_worlds")


class Load:
    """A load that a test changes."""

    def __init__(self, *loads):
        self.loads = list(loads)

    def __call__(self, gpu, now_ms):
        return self.loads[gpu]


@pytest.fixture(scope="module")
def compile_once(tmp_path_factory):
    """`compile_once(compiler)` gives the C stand-in, one process for all tests of the module."""
    begun = []

    def begin(compiler):
        if not begun:
            begun.append(worlds.Compiled(compiler, tmp_path_factory.mktemp("nvml")))
        return begun[0]

    yield begin
    for compiled in begun:
        compiled.close()


@pytest.fixture(params=["callbacks", "compiled"])
def world(request, real, compile_once):
    """`world(config, load)`: a node of GPUs behind one of the two stand-ins."""
    open_worlds = []

    def begin(config, load):
        if request.param == "callbacks":
            begun = worlds.CallbackWorld(config, load)
        else:
            begun = worlds.CompiledWorld(config, load, compile_once(real("gcc")))
        open_worlds.append(begun)
        return begun

    yield begin
    for begun in open_worlds:
        begun.close()
    assert pynvml._nvmlLib_refcount == 0, "the binding was not given back"


def gpu(metric, index=0, /, **labels):
    """A series of one simulated GPU."""
    return labels_of(
        metric,
        {
            "job": "gpu",
            "instance": "node",
            "gpu": str(index),
            "uuid": f"GPU-simulated-{index:04d}",
            "simulated": "true",
            **labels,
        },
    )


def test_every_figure_comes_through_the_real_structs(world):
    """Two GPUs, one busy with two processes: canonical names, base units, simulated="true" on all."""
    busy = GpuLoad(0.5, 40 << 30, (GpuProcess(71, 30 << 30, 0.4), GpuProcess(72, 10 << 30, 0.1)))
    node = world(ScenarioConfig(gpus=2), Load(busy, GpuLoad()))
    node.look(T0)
    values, up, error = node.look(T0 + 10_000)
    assert (up, error) == (True, "")
    assert all(dict(labels)["simulated"] == "true" for labels in values)
    expected = {
        gpu("gpu_info", name="Simulated H100 80GB", driver="0.0-simulated"): 1.0,
        gpu("gpu_utilization_ratio"): 0.5,
        gpu("gpu_memory_used_bytes"): float(40 << 30),
        gpu("gpu_memory_total_bytes"): float(80 << 30),
        gpu("gpu_power_watts"): 385.0,
        gpu("gpu_energy_joules_total"): 3850.0,
        gpu("gpu_clock_hertz", clock="sm"): 1.98e9,
        gpu("gpu_clock_hertz", clock="memory"): 2.619e9,
        gpu("gpu_throttled", reason="sw_power_cap"): 0.0,
        gpu("gpu_throttled", reason="hw_thermal_slowdown"): 0.0,
        gpu("gpu_ecc_errors_total", kind="uncorrected"): 0.0,
        gpu("gpu_process_memory_bytes", pid="71"): float(30 << 30),
        gpu("gpu_process_utilization_ratio", pid="71"): 0.4,
        gpu("gpu_process_utilization_ratio", pid="72"): 0.1,
        gpu("gpu_utilization_ratio", 1): 0.0,
        gpu("gpu_power_watts", 1): 70.0,
        gpu("gpu_energy_joules_total", 1): 700.0,
        labels_of("up", {"job": "gpu", "instance": "node", "simulated": "true"}): 1.0,
    }
    assert {labels: values.get(labels) for labels in expected} == expected
    assert gpu("gpu_pcie_bytes_total", direction="transmit") in values
    assert 30 < values[gpu("gpu_temperature_celsius")] < 58


def test_energy_temperature_and_throttling_follow_the_load(world):
    """Energy is the integral of power, temperature lags, full power is a power cap."""
    load = Load(GpuLoad(0.0))
    node = world(ScenarioConfig(idle_watts=100, max_watts=500), load)
    node.look(T0)
    load.loads[0] = GpuLoad(1.0)
    values, _, _ = node.look(T0 + 1000)
    assert values[gpu("gpu_energy_joules_total")] == 300.0
    assert values[gpu("gpu_power_watts")] == 500.0
    assert values[gpu("gpu_throttled", reason="sw_power_cap")] == 1.0
    warm = values[gpu("gpu_temperature_celsius")]
    values, _, _ = node.look(T0 + 61_000)
    assert values[gpu("gpu_energy_joules_total")] == 30_300.0
    assert warm < values[gpu("gpu_temperature_celsius")] <= 80


def test_what_a_device_does_not_support_is_left_out(world):
    """No figure, no series; the power and energy of older devices come by the older calls."""
    lacking = frozenset(
        {
            "nvmlDeviceGetUtilizationRates",
            "nvmlDeviceGetMemoryInfo_v2",
            "nvmlDeviceGetTemperatureV",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlDeviceGetProcessUtilization",
            "field:186",
            "field:83",
            "field:197",
        }
    )
    node = world(ScenarioConfig(), Load(GpuLoad(0.5, None, (GpuProcess(7, 1, 0.1),), unsupported=lacking)))
    values, up, _ = node.look(T0)
    names = {dict(labels)["__name__"] for labels in values}
    assert up is True
    assert values[gpu("gpu_power_watts")] == 385.0
    assert values[gpu("gpu_energy_joules_total")] == 0.0
    assert gpu("gpu_pcie_bytes_total", direction="transmit") not in values
    assert gpu("gpu_pcie_bytes_total", direction="receive") in values
    assert not names & {
        "gpu_utilization_ratio",
        "gpu_temperature_celsius",
        "gpu_throttled",
        "gpu_process_memory_bytes",
        "gpu_process_utilization_ratio",
    }


def test_a_lost_gpu_is_reported_and_the_others_go_on(world):
    """up is 0 and says which; its series end; it comes back."""
    load = Load(GpuLoad(0.5), GpuLoad(0.25))
    node = world(ScenarioConfig(gpus=2), load)
    node.look(T0)
    load.loads[0] = GpuLoad(0.5, lost=True)
    values, up, error = node.look(T0 + 5000)
    assert up is False
    assert "GPU 0 (GPU-simulated-0000): GPU is lost" in error
    assert np.isnan(values[gpu("gpu_utilization_ratio")])
    assert values[gpu("gpu_utilization_ratio", 1)] == 0.25
    load.loads[0] = GpuLoad(0.5)
    values, up, error = node.look(T0 + 10_000)
    assert (up, error) == (True, "")
    assert values[gpu("gpu_utilization_ratio")] == 0.5


def test_a_process_that_ends_gets_a_stale_marker_and_many_fit(world):
    """More processes than the first buffer holds; then none."""
    many = tuple(GpuProcess(1000 + n, 1 << 20, 0.01) for n in range(150))
    load = Load(GpuLoad(0.5, None, many))
    node = world(ScenarioConfig(), load)
    values, _, _ = node.look(T0)
    assert sum(dict(labels)["__name__"] == "gpu_process_memory_bytes" for labels in values) == 150
    assert sum(dict(labels)["__name__"] == "gpu_process_utilization_ratio" for labels in values) == 150
    load.loads[0] = GpuLoad(0.5)
    values, _, _ = node.look(T0 + 5000)
    assert np.isnan(values[gpu("gpu_process_memory_bytes", pid="1000")])


@pytest.fixture
def no_driver(monkeypatch):
    """A machine without an NVIDIA driver, also where this one has it: the loader does not find the library."""

    def missing(name, *_args, **_kwargs):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "CDLL", missing)
    monkeypatch.setattr(pynvml, "nvmlLib", None)


@pytest.mark.usefixtures("no_driver")
def test_auto_without_a_driver_says_so_and_writes_nothing():
    """No series, no simulation, `up` None, and the way out in words."""
    sampler = GpuSampler("node", NvmlDriver(), optional=True)
    assert len(sampler.sample(T0)) == 0
    assert sampler.health().up is None
    assert "no NVIDIA driver here: libnvidia-ml.so.1 was not found" in sampler.health().error


@pytest.mark.usefixtures("no_driver")
def test_nvml_without_a_driver_is_down():
    """gpu.mode nvml asks for a driver: up is 0, without the simulated label."""
    sampler = GpuSampler("node", NvmlDriver())
    assert latest(check_sampler(sampler)) == {labels_of("up", {"job": "gpu", "instance": "node"}): 0.0}
    assert sampler.health().up is False


def test_a_driver_that_appears_later_is_found():
    """It is looked for again after 30 s, not at every look."""
    tries = []

    class Late(SimulatedDriver):
        def open(self):
            tries.append(1)
            if len(tries) == 1:
                raise GpuUnavailableError("not yet")
            super().open()

    library = StandinLibrary(Scenario(ScenarioConfig()), lambda: T0)
    sampler = GpuSampler("node", Late(library), optional=True)
    assert len(sampler.sample(T0)) == 0
    assert len(sampler.sample(T0 + 29_999)) == 0
    assert len(tries) == 1
    assert len(sampler.sample(T0 + 30_000)) > 10
    sampler.close()
    sampler.close()


def test_two_libraries_cannot_be_under_the_binding_at_once():
    """The second is refused with what must hold; closing the first lets it in."""
    first, second = (
        GpuSampler("node", SimulatedDriver(StandinLibrary(Scenario(ScenarioConfig()), lambda: T0)))
        for _ in range(2)
    )
    first.sample(T0)
    assert len(second.sample(T0)) == 1
    assert "a driver must not be in use where GPUs are simulated" in second.health().error
    first.close()
    assert len(second.sample(T0 + 60_000)) > 10
    second.close()


def test_the_samplers_contract_holds_with_models_named():
    """A pid's model becomes a label where somebody knows it."""
    load = GpuLoad(0.5, None, (GpuProcess(71, 1 << 30, 0.4),))
    now = [T0]
    library = StandinLibrary(Scenario(ScenarioConfig(), lambda _gpu, _now: load), lambda: now[0])
    sampler = GpuSampler("node", SimulatedDriver(library), model_of=lambda pid: {71: "bert"}.get(pid, ""))
    batch = check_sampler(sampler, T0)
    sampler.close()
    assert gpu("gpu_process_memory_bytes", pid="71", model="bert") in latest(batch)
    assert not (batch.values.view(np.uint64) == STALE_BITS).all()


def test_a_scenario_file_is_read_again_and_a_bad_one_keeps_the_last(tmp_path):
    """Values follow the file; an error names the file and the key; other GPUs have the default."""
    path = tmp_path / "load.json"
    file = ScenarioFile(path, GpuLoad(0.1))
    assert file(0, T0).utilization == 0.1
    assert "cannot be read" in file.error
    gpus = [{"utilization": 0.7, "processes": [{"pid": 5, "memory_bytes": 9, "utilization": 0.7}]}]
    path.write_text(json.dumps({"gpus": gpus}))
    assert file(0, T0) == GpuLoad(0.7, None, (GpuProcess(5, 9, 0.7),))
    assert file(1, T0).utilization == 0.1
    assert file.error == ""
    for bad, words in (
        ('{"gpus": [{"utilization": 7}]}', "gpus.0.utilization"),
        ("not json at all", "Invalid JSON"),
        (json.dumps({"gpu": []}), "Extra inputs"),
    ):
        path.write_text(bad)
        assert file(0, T0).utilization == 0.7
        assert words in file.error
        assert str(path) in file.error
    path.write_text(json.dumps({"gpus": []}))
    assert file(0, T0).utilization == 0.1
    assert file.error == ""


def test_sampling_eight_gpus_is_cheap():
    """One look at eight GPUs takes under 10 ms (1 % of a core at 1 Hz), the stand-in's own Python included."""
    load = GpuLoad(0.5)
    library = StandinLibrary(Scenario(ScenarioConfig(gpus=8), lambda _gpu, _now: load), lambda: T0)
    sampler = GpuSampler("node", SimulatedDriver(library))
    sampler.sample(T0)
    times = []
    for turn in range(10):
        began = time.thread_time()
        sampler.sample(T0 + turn)
        times.append(time.thread_time() - began)
    sampler.close()
    assert min(times) < 0.01
