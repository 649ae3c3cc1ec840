"""Sample through the real binding and print what came: the process the C stand-in is loaded into.

Reads turns from standard input, one JSON `{"now_ms": ..., "standin": "text"}` a line (or `{"fresh": true}`
for a sampler of its own), and answers each with one line.
"""

import json
import os
import sys
from pathlib import Path

import pynvml
from ninesight_collector.gpu import GpuSampler, NvmlDriver
from ninesight_collector.testing import latest


def answer(what):
    """Write one line back."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


sampler = GpuSampler("node", NvmlDriver())
for line in sys.stdin:
    turn = json.loads(line)
    if "fresh" in turn:
        sampler.close()
        sampler = GpuSampler("node", NvmlDriver())
        answer({"open": pynvml._nvmlLib_refcount})
        continue
    Path(os.environ["NINESIGHT_NVML_STANDIN"]).write_text(turn["standin"])
    batch = sampler.sample(turn["now_ms"])
    health = sampler.health()
    found = [[list(map(list, labels)), value] for labels, value in latest(batch).items()]
    answer({"values": found, "up": health.up, "error": health.error})
