"""A FastAPI app under load, with and without the SDK: throughput, p99, and what the SDK adds to a request.

One uvicorn process holds the same app in six shapes, each behind its own path: bare; `control`, the same
again; `decorator`, with `@ninesight.observe` on the model's function; `coroutine`, with it on a coroutine;
`stages`, on a coroutine whose predictions are counted and that holds a stage; and `middleware`, with the
ASGI middleware. Two processes differ by more than the SDK costs (memory layout, hash seeds), two paths of
one process do not: how far they do is what `control` says, and what the others are to be compared with.

Two requests. `model` is what a model server does: 64 candidates through pydantic, a network of three layers
in numpy, an answer through pydantic. The promise of 1 % is of this one. `rows` is the hardest case there
is: four short lists summed, nearly nothing but the framework.

Eight connections load the server in short bursts of one shape, all shapes in turn and in changing order, so
that a slow moment of the machine hits all. Keys of the JSON object in the last line, for `model` by shape, for
`rows` below that name; `_low` and `_high` bound the 95 % confidence interval:

- `throughput_ratio`: requests a second over the bare shape's. Median over the rounds of the ratio of two bursts,
  then lowered by the aggregation thread's CPU for a request (`background_us`), as if it took that time from
  the server: its passes hit the bursts of all shapes alike. Interval by order statistics.
- `p99_ratio`: of the latencies of all bursts of a shape over the bare shape's. Interval by a bootstrap over
  stretches of the run. A pass of the aggregation hits all shapes alike: it holds one in 2,048 requests and
  those beside it, 8 connections at most, for as long as a pass takes (`background_us` times 2,048, half a millisecond); 0.4 % of requests at most.
- `p99_calm_ratio`: the same of the calmest quarter of each shape's bursts, those in which server and client waited
  least for a processor. Where others use the machine, the tail of all latencies is theirs.
- `added_us`: CPU that the SDK adds to a request on the clock of the loop's thread, timed in the server over one
  connection, a few requests of each shape in turn. Difference of medians; interval from those of both.
- `added_cpu_ratio`: `added_us` and `background_us` over `bare_request_us`, the CPU that the whole server process
  spends on a request of the bare shape.

While an interval is wider than 1 %, 1 % is not resolved, and more seconds are due.

    python benchmarks/sdk_server.py [seconds, 150]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import time
from dataclasses import dataclass, field

import numpy as np
from served.load import CONNECTIONS, ROWS, Server, request_of

SHAPES = ("bare", "control", "decorator", "coroutine", "stages", "middleware")
EACH = {"model": 2, "rows": 6}
"""Requests of each connection in one burst."""

SAME = 10
"""Requests of one shape after each other when their CPU is timed; the first two warm the caches and are left out."""

STRETCHES = 40
DRAWS = 200


@dataclass
class Seen:
    """What was seen of one kind of request."""

    rounds: int = 0
    burst_s: dict[str, list[float]] = field(default_factory=lambda: {shape: [] for shape in SHAPES})
    latency_s: dict[str, list[list[float]]] = field(default_factory=lambda: {shape: [] for shape in SHAPES})
    waited_s: dict[str, list[float]] = field(default_factory=lambda: {shape: [] for shape in SHAPES})
    """How long server and client waited for a processor during a burst."""
    cpu_us: dict[str, list[float]] = field(default_factory=lambda: {shape: [] for shape in SHAPES})
    bare_s: float = 0.0
    """CPU seconds of the whole server in bare bursts."""
    background_us: float = 0.0
    """CPU of the aggregation thread for an observed request."""


def load(server: Server, kind: str, seconds: float, order: random.Random) -> Seen:
    """Rounds of bursts for so long."""
    seen = Seen()
    requests = {shape: request_of(f"/{kind}/{shape}", ROWS[kind]) for shape in SHAPES}
    for request in requests.values():
        for _ in range(5):
            server.burst(request, EACH[kind])
    before = server.told()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for shape in order.sample(SHAPES, len(SHAPES)):
            cpu_s, waited_s = server.scheduled()
            took_s, latencies = server.burst(requests[shape], EACH[kind])
            cpu_after_s, waited_after_s = server.scheduled()
            if shape == "bare":
                seen.bare_s += cpu_after_s - cpu_s
            seen.waited_s[shape].append(waited_after_s - waited_s)
            seen.burst_s[shape].append(took_s)
            seen.latency_s[shape].append(latencies)
        seen.rounds += 1
    after = server.told()
    observed = after["recorded"] - before["recorded"]
    seen.background_us = (after["background_s"] - before["background_s"]) / observed * 1e6
    return seen


def timed(server: Server, kind: str, seconds: float, order: random.Random) -> dict[str, list[float]]:
    """CPU microseconds on the loop's thread of single requests, by shape."""
    connection = server.connections[0]
    requests = {shape: request_of(f"/timed/{kind}/{shape}", ROWS[kind]) for shape in SHAPES}
    server.told()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for shape in order.sample(SHAPES, len(SHAPES)):
            for _ in range(SAME):
                connection.ask(requests[shape])
    spent = server.told()["spent_us"]
    return {
        shape: [value for place, value in enumerate(spent[f"/{kind}/{shape}"]) if place % SAME >= 2]
        for shape in SHAPES
    }


def middle(values: list[float]) -> tuple[float, float, float]:
    """Return the median and the bounds of its 95 % confidence interval."""
    ordered = sorted(values)
    half = len(ordered) / 2
    reach = 0.98 * math.sqrt(len(ordered))
    low, high = max(0, math.floor(half - reach)), min(len(ordered) - 1, math.ceil(half + reach))
    return statistics.median(ordered), ordered[low], ordered[high]


def throughput(seen: Seen, shape: str) -> tuple[float, float, float]:
    bare = seen.burst_s["bare"]
    ratios = [one / other for one, other in zip(bare, seen.burst_s[shape], strict=True)]
    if shape == "control":
        return middle(ratios)
    count = len(seen.latency_s["bare"][0])
    behind = seen.background_us * 1e-6 * count / statistics.median(bare)
    median, low, high = (1 / (1 / ratio + behind) for ratio in middle(ratios))
    return median, low, high


def p99(seen: Seen, shape: str, source: np.random.Generator) -> tuple[float, float, float]:
    return tails([np.array(seen.latency_s[one]) for one in (shape, "bare")], source)


def p99_calm(seen: Seen, shape: str, source: np.random.Generator) -> tuple[float, float, float]:
    calm = []
    for one in (shape, "bare"):
        chosen = np.sort(np.argsort(seen.waited_s[one])[: max(1, seen.rounds // 4)])
        calm.append(np.array(seen.latency_s[one])[chosen])
    return tails(calm, source)


def tails(values: list[np.ndarray], source: np.random.Generator) -> tuple[float, float, float]:
    """Return the ratio of two 99th percentiles, and the interval by drawing stretches of the run."""
    stretches = min(STRETCHES, len(values[0]))
    pairs = [[part.ravel() for part in np.array_split(each, stretches)] for each in values]

    def ratio(chosen: np.ndarray) -> float:
        found = []
        for parts in pairs:
            drawn = np.concatenate([parts[place] for place in chosen])
            place = int(len(drawn) * 0.99)
            found.append(float(np.partition(drawn, place)[place]))
        return found[0] / found[1]

    drawn = [ratio(source.integers(0, stretches, stretches)) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return ratio(np.arange(stretches)), float(low), float(high)


def added(seen: Seen, shape: str) -> tuple[float, float, float]:
    medians = [middle(seen.cpu_us[name]) for name in (shape, "bare")]
    difference = medians[0][0] - medians[1][0]
    reach = math.hypot(*[(high - low) / 2 for _, low, high in medians])
    return difference, difference - reach, difference + reach


def figures(kind: str, seen: Seen) -> dict[str, object]:
    """Print the table of one kind of request, and return what is told of it."""
    source = np.random.default_rng(5)
    bare_us = seen.bare_s / sum(map(len, seen.latency_s["bare"])) * 1e6
    tail_ms = np.quantile(np.concatenate(seen.latency_s["bare"]), 0.99) * 1e3
    waited = statistics.median(seen.waited_s["bare"]) / statistics.median(seen.burst_s["bare"])
    print(
        f"\n{kind}: {seen.rounds} rounds; bare: {bare_us:.0f} us of CPU a request, p99 {tail_ms:.2f} ms at "
        f"{CONNECTIONS} connections; background {seen.background_us:.2f} us a request; "
        f"waiting for a processor: {waited:.2f} of a burst's time"
    )
    print(f"{'':28s}{'':>9s}{'low':>9s}{'high':>9s}")
    told: dict[str, object] = {
        "bare_request_us": round(bare_us, 1),
        "background_us": round(seen.background_us, 3),
    }
    for shape in SHAPES[1:]:
        cpu = added(seen, shape)
        behind = 0.0 if shape == "control" else seen.background_us
        found = {
            "throughput_ratio": throughput(seen, shape),
            "p99_ratio": p99(seen, shape, source),
            "p99_calm_ratio": p99_calm(seen, shape, source),
            "added_us": cpu,
            "added_cpu_ratio": tuple((value + behind) / bare_us for value in cpu),
        }
        for name, values in found.items():
            print(f"{shape + ' ' + name:28s}" + "".join(f"{value:9.4f}" for value in values))
        told[shape] = {
            name + end: round(value, 4)
            for name, values in found.items()
            for end, value in zip(("", "_low", "_high"), values, strict=True)
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seconds", type=float, nargs="?", default=150.0, help="seconds of load in all; 150")
    seconds = parser.parse_args().seconds
    print(f"load {os.getloadavg()[0]:.2f}; {seconds:.0f} s in short bursts, all shapes in turn")
    order = random.Random(3)
    server = Server()
    found = {}
    try:
        server.connect()
        for kind, share in (("model", 0.6), ("rows", 0.4)):
            found[kind] = load(server, kind, seconds * share * 0.7, order)
            found[kind].cpu_us = timed(server, kind, seconds * share * 0.3, order)
    finally:
        server.stop()
    told = {kind: figures(kind, seen) for kind, seen in found.items()}
    print(json.dumps({**told["model"], "rows": told["rows"]}))


if __name__ == "__main__":
    main()
