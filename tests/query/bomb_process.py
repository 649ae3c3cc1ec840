"""A process of its own that is asked query bombs, one JSON line each, and tells how each ended.

Reads lines [name, step_ms or 0 for an instant, query]; writes [name, outcome, CPU seconds, MiB above the start].
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

import numpy as np
from ninesight_query import EngineSettings, LocalEngine
from ninesight_query.errors import QueryError
from ninesight_store.contract import Batch, SeriesTable, labels_of
from ninesight_store.memory import MemoryStore

SERIES, SAMPLES, HOUR_MS = 2_000, 120, 3_600_000
# Whatever goes wrong stays in this process.
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def engine(samples_max: int, deadline_s: float) -> LocalEngine:
    """An hour of 2,000 series, and 50 classic histograms."""
    names = [
        labels_of("m", {"k": str(k), "g": str(k % 7), "long": "ab" * 20 + str(k)}) for k in range(SERIES)
    ]
    names += [
        labels_of("h_bucket", {"k": str(k), "le": le}) for k in range(50) for le in ("0.1", "1", "10", "+Inf")
    ]
    store, rng = MemoryStore(), np.random.default_rng(1)
    store.write(
        Batch(
            SeriesTable(tuple(names)),
            np.repeat(np.arange(len(names)), SAMPLES).astype(np.int32),
            np.tile(np.arange(SAMPLES) * 30_000, len(names)),
            rng.normal(size=len(names) * SAMPLES).round(6),
        )
    )
    store.select([], 0, 1)
    return LocalEngine(store, EngineSettings(samples_max=samples_max, deadline_s=deadline_s))


def memory_mib(field: str) -> int:
    """VmRSS is now, VmHWM the most since it was last reset."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found.group(1)) // 1024


def main() -> None:
    """Ask each, in order."""
    asked = engine(int(sys.argv[1]), float(sys.argv[2]))
    for line in sys.stdin:
        name, step_ms, query = json.loads(line)
        Path("/proc/self/clear_refs").write_text("5")
        before, began = memory_mib("VmRSS"), time.process_time()
        try:
            if step_ms:
                asked.range(query, 0, HOUR_MS, step_ms)
            else:
                asked.instant(query, HOUR_MS)
            outcome = "answered"
        except QueryError as error:
            outcome = f"{type(error).__name__}: {error}"
        spent = round(time.process_time() - began, 2)
        sys.stdout.write(json.dumps([name, outcome, spent, memory_mib("VmHWM") - before]) + "\n")
        sys.stdout.flush()


main()
