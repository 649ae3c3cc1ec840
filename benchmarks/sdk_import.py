"""What `import ninesight` costs over bare Python: seconds, memory, threads. Each sample is a fresh interpreter.

Time is CPU time of the process, memory its peak resident set; the figure is the median difference.
The last line is one JSON object (`import_ms`, `import_mb`, `threads`).

    python benchmarks/sdk_import.py [samples]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

PROGRAM = """
import resource, sys, threading
{what}
usage = resource.getrusage(resource.RUSAGE_SELF)
scale = 1 if sys.platform == "darwin" else 1024
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale, threading.active_count())
"""


def sample(what: str) -> tuple[float, float, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(what=what)], capture_output=True, text=True, check=True
    )
    seconds, peak, threads = done.stdout.split()
    return float(seconds), float(peak), int(threads)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, nargs="?", default=30, help="processes started of each; 30")
    count = parser.parse_args().count
    pairs = [(sample("pass"), sample("import ninesight")) for _ in range(count)]
    milliseconds = [(ours[0] - bare[0]) * 1e3 for bare, ours in pairs]
    megabytes = [(ours[1] - bare[1]) / 1e6 for bare, ours in pairs]
    threads = max(ours[2] for _, ours in pairs)
    for name, values in (("ms of CPU", milliseconds), ("MB of memory", megabytes)):
        low, *_, high = statistics.quantiles(values, n=10)
        print(f"{name:14s}{statistics.median(values):9.2f}{low:9.2f}{high:9.2f}   (median, p10, p90)")
    told = {
        "import_ms": round(statistics.median(milliseconds), 1),
        "import_mb": round(statistics.median(megabytes), 2),
        "threads": threads,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
