"""What recording one call costs: ours, prometheus_client's, OpenTelemetry's, on the same function in one run.

Rounds of all contestants are interleaved, so that a slow moment of the machine hits them all. Each
figure is the median over rounds of (time per call - time per bare call of the same round); the
spread printed beside it is the 10th and the 90th percentile. Time is the calling thread's CPU time: no
contestant waits for anything, so it equals wall time on an idle machine and leaves out what other
programs do on a shared one. Our aggregation thread runs as it does in a server.

The background's cost is told by how many calls come together in one pass, and by how many come a second:
there the thread's own rhythm decides when a pass is due, and its looks that find too few are counted in.
The last line is one JSON object in microseconds; its `background_us` is that of 10,000 calls together.

    python benchmarks/sdk_overhead.py [rounds]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, thread_time

import ninesight
from ninesight.api import RUNTIME
from ninesight.rhythm import INTERVAL_S_MAX, Rhythm

CALLS = 10_000
BATCHES = (100, 300, 1_000, 3_000, 10_000)
RATES = (100, 1_000, 10_000)


def predict(value):
    return value


async def predict_async(value):
    return value


def with_prometheus(*, cached):
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = CollectorRegistry()
    names = ("model", "version")
    duration = Histogram("duration_seconds", "d", names, registry=registry)
    requests = Counter("requests_total", "r", (*names, "outcome", "served_by"), registry=registry)
    child = duration.labels("bench", "1")
    ok = requests.labels("bench", "1", "ok", "model")

    def by_labels(*args, **kwargs):
        start = perf_counter()
        result = predict(*args, **kwargs)
        duration.labels("bench", "1").observe(perf_counter() - start)
        requests.labels("bench", "1", "ok", "model").inc()
        return result

    def by_children(*args, **kwargs):
        start = perf_counter()
        result = predict(*args, **kwargs)
        child.observe(perf_counter() - start)
        ok.inc()
        return result

    return by_children if cached else by_labels


def with_opentelemetry():
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("bench")
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("bench")
    duration = meter.create_histogram("duration", unit="s")
    attributes = {"model": "bench", "version": "1", "outcome": "ok", "served_by": "model"}

    def traced(*args, **kwargs):
        with tracer.start_as_current_span("predict", attributes=attributes):
            start = perf_counter()
            result = predict(*args, **kwargs)
            duration.record(perf_counter() - start, attributes)
            return result

    return traced


def loop(function: Callable, calls: int) -> float:
    """Seconds a call takes, the loop's own share included (it is in the bare call too)."""
    start = thread_time()
    for _ in range(calls):
        function(1)
    return (thread_time() - start) / calls


def loop_async(function: Callable, calls: int) -> float:
    """Drive coroutines that never wait, without an event loop: what is left is the wrapper's cost."""
    start = thread_time()
    for _ in range(calls):
        try:  # noqa: SIM105 - contextlib.suppress costs more than what is measured.
            function(1).send(None)
        except StopIteration:
            pass
    return (thread_time() - start) / calls


def call_block(value):
    with ninesight.call(model="bench", version="1"):
        return predict(value)


def staged():
    @ninesight.observe(model="staged")
    def predict_staged(value):
        with ninesight.stage("inference"):
            return value

    return predict_staged


def labelled():
    return ninesight.observe(model="labelled", labels={"tenant": lambda value: "a"})(predict)


def items(count):
    yield from range(count)


def loop_stream(function: Callable, calls: int) -> float:
    """Seconds an item of a generator takes; the call around it is spread over a thousand items."""
    start = thread_time()
    for _ in range(calls // 1_000):
        for _ in function(1_000):
            pass
    return (thread_time() - start) / calls


def loop_threads(function: Callable, calls: int) -> float:
    """Seconds of CPU a call takes with 8 threads at it; each reads its own CPU clock."""
    spent: list[float] = []
    threads = [
        threading.Thread(target=lambda: spent.append(loop(function, calls // 8) * (calls // 8)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(spent) / calls


async def predict_yielding(value):
    await asyncio.sleep(0)
    return value


def loop_tasks(function: Callable, calls: int) -> float:
    """Seconds of the loop's CPU a call takes among 1,000 tasks that all wait once, the loop's own share included."""

    async def task():
        for _ in range(calls // 1_000):
            await function(1)

    async def main():
        start = thread_time()
        await asyncio.gather(*(task() for _ in range(1_000)))
        return (thread_time() - start) / calls

    return asyncio.run(main())


def contestants() -> dict[str, tuple[Callable, Callable, Callable, int]]:
    """Name: (way to measure, bare function, contestant, calls)."""
    observed = ninesight.observe(model="bench", version="1")
    return {
        "sync": (loop, predict, observed(predict), CALLS),
        "async": (loop_async, predict_async, observed(predict_async), CALLS),
        "stream_item": (loop_stream, items, observed(items), CALLS),
        "threads_8": (loop_threads, predict, observed(predict), CALLS),
        "tasks_1000": (loop_tasks, predict_yielding, observed(predict_yielding), CALLS),
        "call_block": (loop, predict, call_block, CALLS // 4),
        "staged": (loop, predict, staged(), CALLS // 4),
        "labelled": (loop, predict, labelled(), CALLS // 4),
        "prometheus_cached": (loop, predict, with_prometheus(cached=True), CALLS // 4),
        "prometheus": (loop, predict, with_prometheus(cached=False), CALLS // 4),
        "opentelemetry": (loop, predict, with_opentelemetry(), CALLS // 20),
    }


def rounds_of(count: int) -> dict[str, list[float]]:
    """Run all contestants in turn; return the overhead in microseconds of each round."""
    found = contestants()
    for way, bare, function, _ in found.values():
        way(bare, 1_000)
        way(function, 1_000)
    figures: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(count):
        bare_s = {(way, bare): way(bare, CALLS) for way, bare, *_ in found.values()}
        for name, (way, bare, function, calls) in found.items():
            figures[name].append((way(function, calls) - bare_s[way, bare]) * 1e6)
    return figures


class Background:
    """The aggregation of calls with lognormal durations (2 ms to 200 ms), on this thread's CPU clock."""

    def __init__(self) -> None:
        self.slot = RUNTIME.buffers.slot(RUNTIME.buffers.point(RUNTIME.series("background", "1"), 1))
        self.source = random.Random(9)

    def come(self, calls: int) -> None:
        durations = [self.source.lognormvariate(-4.0, 0.8) for _ in range(calls)]
        with RUNTIME.aggregator.lock:
            self.slot.values += durations

    def together(self, batch: int, count: int) -> list[float]:
        """Microseconds a call of passes that find `batch` calls each."""
        figures = []
        for _ in range(count):
            self.come(batch)
            start = thread_time()
            RUNTIME.aggregator.drain()
            figures.append((thread_time() - start) / batch * 1e6)
        return figures

    def at_rate(self, calls_per_s: int, count: int) -> list[float]:
        """Microseconds a call where so many come a second, over stretches that end with a pass."""
        figures = []
        rhythm = Rhythm()
        for _ in range(count):
            spent = calls = 0.0
            due = False
            while not due:
                self.come(int(calls_per_s * INTERVAL_S_MAX))
                calls += int(calls_per_s * INTERVAL_S_MAX)
                start = thread_time()
                due = rhythm.due(RUNTIME.buffers.longest(), RUNTIME.buffers.limit_least())
                if due:
                    RUNTIME.aggregator.drain()
                spent += thread_time() - start
            figures.append(spent / calls * 1e6)
        return figures


def middle(figures: list[float]) -> float:
    return round(statistics.median(figures), 3)


def line(name: str, figures: list[float]) -> str:
    low, *_, high = statistics.quantiles(figures, n=10)
    return f"{name:24s}{middle(figures):9.3f}{low:12.3f}{high:9.3f}"


def machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [text.split(":", 1)[1].strip() for text in info.read_text().splitlines() if "model name" in text]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, nargs="?", default=60, help="rounds of each measure; 60")
    count = parser.parse_args().count
    load = os.getloadavg()[0]
    print(f"{machine()}; load {load:.2f}; {count} interleaved rounds")
    if load > (os.cpu_count() or 1):
        print("the machine is busy: figures are too high, ratios still hold")
    figures = rounds_of(count)
    print(f"{'us over the bare call':24s}{'median':>9s}{'p10':>12s}{'p90':>9s}")
    for name, values in figures.items():
        print(line(name, values))
    background = Background()
    for batch in BATCHES:
        figures[f"background_{batch}"] = background.together(batch, 60)
        print(line(f"background, {batch} a time", figures[f"background_{batch}"]))
    for rate in RATES:
        figures[f"background_at_{rate}_per_s"] = background.at_rate(rate, 60)
        print(line(f"background, {rate} a s", figures[f"background_at_{rate}_per_s"]))
    stats = ninesight.stats()
    print(f"recorded {stats.recorded}, dropped {stats.dropped}, internal errors {stats.internal_errors}")
    told = {f"{name}_us": middle(values) for name, values in figures.items()}
    told["background_us"] = middle(figures[f"background_{BATCHES[-1]}"])
    first = ("sync_us", "async_us", "stream_item_us", "background_us", "prometheus_us", "opentelemetry_us")
    print(json.dumps({key: told[key] for key in (*first, *sorted(set(told) - set(first)))}))


if __name__ == "__main__":
    main()
