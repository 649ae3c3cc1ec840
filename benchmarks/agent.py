"""What `ninesight agent` costs its node: CPU and memory, with eight GPUs and the host looked at every second.

The agent is started as a person starts it, in a process of its own, and sends to a receiver in this one, over the
loopback; the GPUs are simulated at the driver's interface unless `--gpu auto` takes those of the machine. Once it has
been at work for some seconds it is looked at in windows: its share of one core in each, and its resident memory at
the end of each. Started anew every round, because memory depends on how a start went. A first start that is not
counted compiles the modules, as an installation does: what compiles them itself holds 10 MB more (`--compiling`).

The promise is 1 % of a core and 80 MB. The simulated driver's own work is in both, a real driver's instead of it on
a node. The last line is one JSON object (`core_percent`, `rss_mb`, `rss_mb_max`, `samples_per_s`).

    python benchmarks/agent.py --rounds 3 --windows 6
    python benchmarks/agent.py --shards 1
    python benchmarks/agent.py --gpu auto
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import uvicorn
from ninesight_collector import Counters
from ninesight_collector.remote_write import ReceiverSettings, routes
from ninesight_store import Batch
from starlette.applications import Starlette

SETTLE_S = 5.0
CONFIG = {
    "listen": "127.0.0.1:0",
    "collector": {"host": {"interval": "1s"}, "gpu": {"interval": "1s", "scenario": {"utilization": 0.5}}},
}


class CountingSink:
    """Takes every batch and counts its samples."""

    def __init__(self) -> None:
        self.samples = 0

    def write(self, batch: Batch) -> None:
        self.samples += len(batch)


@contextlib.contextmanager
def running_receiver(sink: CountingSink) -> Iterator[str]:
    """Take remote write in a thread; yields the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=routes(sink, ReceiverSettings(), Counters(), lambda: time.time_ns() // 10**6))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1/write"
    finally:
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def running_agent(
    folder: Path, url: str, arguments: argparse.Namespace, environment: dict[str, str]
) -> Iterator[psutil.Process]:
    """Run the agent; yields its process once it says that it is ready."""
    config = json.loads(json.dumps(CONFIG))
    config["collector"]["gpu"] |= {"mode": arguments.gpu}
    config["collector"]["gpu"]["scenario"] |= {"gpus": arguments.gpus}
    config["collector"]["remote_write"] = [{"url": url, "shards": arguments.shards}]
    config |= {"data_dir": str(folder)}
    (folder / "agent.yaml").write_text(json.dumps(config))  # JSON is YAML.
    words = ["agent", "--config", str(folder / "agent.yaml")]
    command = [sys.executable, "-m", "ninesight_suite.cli", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        assert "API" in process.stdout.readline(), "the agent did not start"
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def environment_of(folder: str, *, compiling: bool) -> dict[str, str]:
    """Return an environment where compiled modules are kept in `folder`, or nowhere."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = folder
    return environment | ({"PYTHONDONTWRITEBYTECODE": "1"} if compiling else {})


def one_round(
    arguments: argparse.Namespace, environment: dict[str, str], windows: int
) -> dict[str, list[float]]:
    """Return the figures of each window of one start."""
    found: dict[str, list[float]] = {"core_percent": [], "rss_mb": [], "samples_per_s": []}
    sink = CountingSink()
    with (
        running_receiver(sink) as url,
        tempfile.TemporaryDirectory() as folder,
        running_agent(Path(folder), url, arguments, environment) as agent,
    ):
        time.sleep(SETTLE_S)
        for _ in range(windows):
            began, spent, samples = time.perf_counter(), agent.cpu_times(), sink.samples
            time.sleep(arguments.window)
            lasted, now = time.perf_counter() - began, agent.cpu_times()
            busy = now.user + now.system - spent.user - spent.system
            found["core_percent"].append(100 * busy / lasted)
            found["rss_mb"].append(agent.memory_info().rss / 1e6)
            found["samples_per_s"].append((sink.samples - samples) / lasted)
        if not windows:
            return found
        print(f"threads {agent.num_threads()}, resident {found['rss_mb'][-1]:.1f} MB", flush=True)
    return found


def main() -> None:
    """Run the rounds, print their spread, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpus", type=int, default=8, help="simulated GPUs; 8")
    parser.add_argument("--gpu", choices=("simulated", "auto", "off"), default="simulated", help="gpu.mode")
    parser.add_argument("--shards", type=int, default=4, help="requests under way at once; 4, as the default")
    parser.add_argument("--rounds", type=int, default=3, help="starts of the agent; 3")
    parser.add_argument("--windows", type=int, default=4, help="windows of a start; 4")
    parser.add_argument("--window", type=float, default=5.0, help="seconds of a window; 5")
    parser.add_argument(
        "--compiling", action="store_true", help="every start compiles all modules: nowhere to keep them"
    )
    arguments = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, {psutil.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as kept:
        environment = environment_of(kept, compiling=arguments.compiling)
        one_round(arguments, environment, 0)
        rounds = [one_round(arguments, environment, arguments.windows) for _ in range(arguments.rounds)]
    told: dict[str, float] = {}
    for name, digits in (("core_percent", 2), ("rss_mb", 1), ("samples_per_s", 0)):
        values = [value for one in rounds for value in one[name]]
        middle = statistics.median(values)
        print(f"{name:16s}{middle:10.2f}{min(values):10.2f}{max(values):10.2f}   (median, least, most)")
        told[name] = round(middle, digits)
    told["rss_mb_max"] = round(max(value for one in rounds for value in one["rss_mb"]), 1)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
