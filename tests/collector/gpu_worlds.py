"""Two stand-ins, one scenario: the ctypes callbacks in this process, the C library in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from ninesight_collector.gpu import GpuSampler, Scenario, SimulatedDriver, StandinLibrary
from ninesight_collector.testing import latest

HERE = Path(__file__).parent


class CallbackWorld:
    """The stand-in of ctypes callbacks."""

    def __init__(self, config, load):
        self.now_ms = 0
        library = StandinLibrary(Scenario(config, load), lambda: self.now_ms)
        self.sampler = GpuSampler("node", SimulatedDriver(library))

    def look(self, now_ms):
        """Return ({labels: value}, health.up, health.error)."""
        self.now_ms = now_ms
        batch = self.sampler.sample(now_ms)
        health = self.sampler.health()
        return latest(batch), health.up, health.error

    def close(self):
        self.sampler.close()


class Compiled:
    """The C stand-in as libnvidia-ml.so.1, found by the loader as a driver would be, in one process."""

    def __init__(self, compiler, folder):
        library = folder / "libnvidia-ml.so.1"
        command = [
            compiler,
            "-shared",
            "-fPIC",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            library,
            HERE / "nvml_standin.c",
        ]
        subprocess.run(command, check=True, timeout=60)
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(folder),
            "NINESIGHT_NVML_STANDIN": str(folder / "standin.txt"),
        }
        self.process = subprocess.Popen(
            [sys.executable, HERE / "gpu_probe.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def ask(self, **turn):
        """Send one turn, return its answer."""
        self.process.stdin.write(json.dumps(turn) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()


class CompiledWorld:
    """A node behind the C stand-in."""

    def __init__(self, config, load, compiled):
        self.scenario = Scenario(config, load)
        self.compiled = compiled

    def look(self, now_ms):
        """Return ({labels: value}, health.up, health.error)."""
        answer = self.compiled.ask(now_ms=now_ms, standin=standin_text(self.scenario, now_ms))
        values = {tuple(tuple(pair) for pair in labels): value for labels, value in answer["values"]}
        return values, answer["up"], answer["error"]

    def close(self):
        assert self.compiled.ask(fresh=True) == {"open": 0}, "the driver was not let go"


def standin_text(scenario, now_ms):
    """Return the scenario at a time in the notation of nvml_standin.c."""
    lines = ["driver 0.0-simulated"]
    for gpu in range(scenario.config.gpus):
        state = scenario.state(gpu, now_ms)
        load = state.load
        lines.append(
            f"gpu {round(load.utilization * 100)} {scenario.config.memory_total_bytes} {state.memory_used_bytes} "
            f"{round(state.power_watts * 1000)} {round(state.energy_joules * 1000)} "
            f"{round(state.temperature_celsius)} {state.clock_mhz} {state.reasons} {int(load.lost)} "
            f"{scenario.config.name}"
        )
        lines += [
            f"process {gpu} {p.pid} {p.memory_bytes} {round(p.utilization * 100)} {now_ms * 1000}"
            for p in load.processes
        ]
        lines += [f"unsupported {name}" for name in sorted(load.unsupported)]
    return "\n".join(lines) + "\n"
