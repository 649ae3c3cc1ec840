"""A fleet of model servers, GPU hosts and web handlers: real label sets, seeded values, an hour at a time.

One *replica* is 37 float series and one native histogram; a GPU host is 80. Timestamps are one a target
(37 ms apart, 30 % of the targets jittered by a few ms), so that no sample stands on a step of a query:
Prometheus 2 counts both ends of a window, ours and Prometheus 3 only the later one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from ninesight_store import Batch, HistogramColumns, Labels, SeriesTable, labels_of

TICK_MS, HOUR_MS = 10_000, 3_600_000
TICKS = HOUR_MS // TICK_MS
START_MS = 1_763_856_000_000 // (24 * HOUR_MS) * (24 * HOUR_MS)
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf")
STAGES = ("preprocess", "queue", "batch", "inference", "postprocess")
BUCKETS = 40
"""Buckets of a native histogram, schema 3."""
FIRST_BUCKET = -48
OUTCOMES = (
    ("ok", "model", 0.90),
    ("ok", "cache", 0.06),
    ("error", "model", 0.02),
    ("timeout", "model", 0.01),
    ("shed", "model", 0.01),
)


@dataclass
class _Columns:
    """Series of one kind while they are collected."""

    labels: list[Labels] = field(default_factory=list)
    target: list[int] = field(default_factory=list)
    size: list[float] = field(default_factory=list)
    """Events per tick of a counter, level of a gauge."""

    def add(self, target: int, size: float, name: str, **labels: str) -> None:
        self.labels.append(labels_of(name, labels))
        self.target.append(target)
        self.size.append(size)


class Fleet:
    """The data. `hours` yields values [360, S] and timestamps [360, S], and the histograms of each hour."""

    def __init__(self, series: int, seed: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.counters, self.seconds, self.gauges, self.levels = (_Columns() for _ in range(4))
        self.histogram_labels: list[Labels] = []
        self.histogram_target: list[int] = []
        self.rates: list[float] = []
        self._bins: list[np.ndarray] = []
        replicas, hosts = max(2, round(series * 73 / 5000)), max(1, round(series * 26 / 5000))
        target = 0
        for number in range(replicas):
            self._replica(target, number)
            target += 1
        for number in range(hosts):
            self._host(target, number)
            target += 1
        for number in range(max(1, round(series * 8 / 5000))):
            self._web(target, number)
            target += 1
        self.targets = target
        self._finish(replicas)

    def _replica(self, target: int, number: int) -> None:
        rng = self.rng
        base = {
            "model": f"model-{number // 3 % 24}",
            "version": str(1 + number % 2),
            "instance": f"serve-{number}:8000",
            "job": "serve",
        }
        rate = float(rng.lognormal(2.5, 1.0)) * TICK_MS / 1000
        for outcome, by, share in OUTCOMES:
            self.counters.add(
                target, rate * share, "model_requests_total", outcome=outcome, served_by=by, **base
            )
        self.counters.add(target, rate * 1.7, "model_predictions_total", **base)
        for direction, size in (("input", 300), ("output", 120)):
            self.counters.add(target, rate * size, "model_tokens_total", direction=direction, **base)
        gpu = {"gpu": str(number % 8)}
        self.seconds.add(target, rate * 0.02, "model_accelerator_seconds_total", **gpu, **base)
        self.seconds.add(target, rate * 0.08, "model_request_duration_seconds_sum", **base)
        for stage in STAGES:
            self.counters.add(target, rate, "model_stage_duration_seconds_count", stage=stage, **base)
            self.seconds.add(target, rate * 0.015, "model_stage_duration_seconds_sum", stage=stage, **base)
        self.gauges.add(target, float(rng.uniform(0, 20)), "model_queue_depth", **base)
        self.gauges.add(target, float(rng.uniform(1, 60)), "model_requests_in_flight", **base)
        self.levels.add(target, 1.0, "model_ready", **base)
        self.levels.add(target, 1.0, "up", instance=base["instance"], job="serve")
        self.levels.add(
            target, 1_763_000_000.0, "process_start_time_seconds", instance=base["instance"], job="serve"
        )
        self.histogram_labels.append(labels_of("model_request_duration_seconds", base))
        self.histogram_target.append(target)
        self.rates.append(rate)
        edges = np.array([float(bound) for bound in BOUNDS])
        middle = float(rng.uniform(0.03, 0.2))
        with np.errstate(divide="ignore"):
            below = 1 / (1 + (edges / middle) ** -2.5)
        self._bins.append(np.diff(np.concatenate(([0.0], below))))

    def _host(self, target: int, number: int) -> None:
        rng, base = self.rng, {"instance": f"gpu-{number}:9100", "job": "node"}
        for gpu in range(8):
            own = {"gpu": str(gpu), "gpu_model": "H100"} | base
            self.gauges.add(target, float(rng.uniform(0.1, 0.95)), "gpu_utilization_ratio", **own)
            self.gauges.add(target, float(rng.uniform(10e9, 75e9)), "gpu_memory_used_bytes", **own)
            self.levels.add(target, 80e9, "gpu_memory_total_bytes", **own)
            self.gauges.add(target, float(rng.uniform(150, 650)), "gpu_power_watts", **own)
            self.gauges.add(target, float(rng.uniform(30, 80)), "gpu_temperature_celsius", **own)
        for cpu in range(6):
            for mode, share in (("idle", 6.0), ("user", 3.0), ("system", 0.8), ("iowait", 0.2)):
                self.seconds.add(target, share, "node_cpu_seconds_total", cpu=str(cpu), mode=mode, **base)
        for device in ("/dev/nvme0n1", "/dev/nvme1n1"):
            own = {
                "device": device,
                "fstype": "ext4",
                "mountpoint": "/" if device[-3] == "0" else "/data",
            } | base
            self.gauges.add(target, float(rng.uniform(1e11, 9e11)), "node_filesystem_avail_bytes", **own)
            self.levels.add(target, 1e12, "node_filesystem_size_bytes", **own)
        for name, size in (("node_memory_MemAvailable_bytes", 2e11), ("node_load1", 12.0)):
            self.gauges.add(target, size, name, **base)
        for name, size in (
            ("node_memory_MemTotal_bytes", 5e11),
            ("up", 1.0),
            ("node_boot_time_seconds", 1.7e9),
        ):
            self.levels.add(target, size, name, **base)
        for device in ("eth0", "eth1"):
            for name in ("node_network_receive_bytes_total", "node_network_transmit_bytes_total"):
                self.counters.add(target, 5e6, name, device=device, **base)

    def _web(self, target: int, number: int) -> None:
        base = {"instance": f"web-{number}:8080", "job": "web"}
        for handler in range(10):
            for code, share in (("200", 40.0), ("404", 2.0), ("500", 0.3)):
                own = {"handler": f"/api/v1/h{handler}", "code": code, "method": "GET"} | base
                self.counters.add(target, share, "http_requests_total", **own)
        self.levels.add(target, 1.0, "up", **base)

    def _finish(self, replicas: int) -> None:
        kinds = (self.counters, self.seconds, self.gauges, self.levels)
        bucket_labels, bucket_target = [], []
        for row, labels in enumerate(self.histogram_labels):
            own = dict(labels)
            own.pop("__name__")
            name = "model_request_duration_seconds_bucket"
            bucket_labels += [labels_of(name, own | {"le": bound}) for bound in BOUNDS]
            bucket_labels.append(labels_of("model_request_duration_seconds_count", own))
            bucket_target += [self.histogram_target[row]] * (len(BOUNDS) + 1)
        labels = [each for kind in kinds for each in kind.labels] + bucket_labels
        targets = [each for kind in kinds for each in kind.target] + bucket_target
        # As senders do it: one scrape target after another.
        self.order = np.argsort(np.array(targets), kind="stable")
        self.labels = [labels[k] for k in self.order.tolist()]
        self.target = np.array(targets)[self.order]
        self.table = SeriesTable(tuple(self.labels + self.histogram_labels))
        self.series = len(self.labels)
        self.jittered = np.arange(self.targets) % 10 < 3
        self._totals = {"c": np.zeros(len(self.counters.size)), "s": np.zeros(len(self.seconds.size))}
        self._gauge = np.array(self.gauges.size)
        self._base = self._gauge.copy()
        self._bins_total = np.zeros((replicas, len(BOUNDS)))
        self.points_total = np.zeros((replicas, BUCKETS))
        self.points_sum = np.zeros(replicas)
        weights = np.exp(-0.5 * ((np.arange(BUCKETS) - 24) / 6) ** 2)
        self._weights = weights / weights.sum()
        # A fifth of the replicas restarts once, at a tick of its own within the first day.
        self.restart = np.where(np.arange(replicas) % 5 == 0, self.rng.integers(1, 24 * TICKS, replicas), -1)

    def _counted(self, totals: np.ndarray, steps: np.ndarray, restart: np.ndarray, first: int) -> np.ndarray:
        """Sum up [T, S] from `totals`; a series starts again from 0 at its restart tick."""
        out = totals + np.cumsum(steps, axis=0)
        at = restart - first
        for column in np.flatnonzero((restart >= 0) & (at >= 0) & (at < len(steps))).tolist():
            out[at[column] :, column] -= out[at[column], column]
        totals[:] = out[-1]
        return out

    def hours(self, count: int) -> Iterator[Hour]:
        """Yield the hours one after another."""
        for number in range(count):
            yield self._hour(number)

    def _hour(self, number: int) -> Hour:
        rng, first = self.rng, number * TICKS
        restart_of = np.full(self.targets, -1)
        restart_of[self.histogram_target] = self.restart
        counters = np.array(self.counters.size)
        # Traffic swells and ebbs over the day.
        swing = 1 + 0.5 * np.sin(2 * np.pi * (first + np.arange(TICKS)) / (24 * TICKS))[:, None]
        steps = rng.poisson(counters * swing).astype(float)
        c = self._counted(self._totals["c"], steps, restart_of[self.counters.target], first)
        sizes = np.array(self.seconds.size)
        spent = sizes * swing * rng.uniform(0.7, 1.3, (TICKS, len(sizes)))
        s = self._counted(self._totals["s"], spent, restart_of[self.seconds.target], first)
        walk = self._gauge + np.cumsum(rng.normal(0, 0.01, (TICKS, len(self._gauge))) * self._base, axis=0)
        self._gauge = np.clip(walk[-1], 0.2 * self._base, 2 * self._base)
        g = np.clip(walk, 0, None)
        decimals = np.where(self._base > 1000, 0, np.where(self._base > 20, 1, 3))
        g = np.round(g * 10.0**decimals) / 10.0**decimals
        levels = np.broadcast_to(np.array(self.levels.size), (TICKS, len(self.levels.size)))
        bins = np.array(self._bins) * np.array(self.rates)[:, None]
        grown = rng.poisson(bins[None] * swing[:, :, None]).reshape(TICKS, -1).astype(float)
        each = np.repeat(self.restart, len(BOUNDS))
        flat = self._bins_total.reshape(-1)
        b = self._counted(flat, grown, each, first).reshape(TICKS, -1, len(BOUNDS)).cumsum(axis=2)
        self._bins_total = flat.reshape(self._bins_total.shape)
        buckets = np.concatenate([b, b[:, :, -1:]], axis=2).reshape(TICKS, -1)
        values = np.concatenate([c, s, g, levels, buckets], axis=1)[:, self.order]
        base = START_MS + (first + np.arange(TICKS)) * TICK_MS
        offsets = rng.integers(0, 6, (TICKS, self.targets)) * self.jittered + 3 + np.arange(self.targets) * 37
        times = base[:, None] + offsets
        rate = np.array(self.rates)
        points = rng.poisson(rate[:, None] * self._weights * np.ones((TICKS, 1, 1))).astype(float)
        p = self._counted(
            self.points_total.reshape(-1), points.reshape(TICKS, -1), np.repeat(self.restart, BUCKETS), first
        ).reshape(points.shape)
        sums = self._counted(self.points_sum, points.sum(axis=2) * 0.08, self.restart, first)
        return Hour(self, number, times, values, p, sums)


@dataclass(frozen=True)
class Hour:
    """One hour of a fleet."""

    fleet: Fleet
    number: int
    target_times: np.ndarray
    """[360, targets] milliseconds."""
    values: np.ndarray
    """[360, S]"""
    points: np.ndarray
    """[360, H, BUCKETS] absolute counts."""
    sums: np.ndarray
    """[360, H]"""

    @property
    def times(self) -> np.ndarray:
        """[360, S] milliseconds."""
        return self.target_times[:, self.fleet.target]

    def whole(self) -> Batch:
        """Return the float samples of the hour as one batch, for histories that nobody waits to see arrive."""
        ticks, series = self.values.shape
        rows = np.tile(np.arange(series, dtype=np.int32), ticks)
        return Batch(self.fleet.table, rows, self.times.ravel().astype(np.int64), self.values.ravel())

    def histograms(self) -> HistogramColumns:
        """Return all native histograms of the hour, for the same use."""
        fleet = self.fleet
        ticks, held, _ = self.points.shape
        number = ticks * held
        zeros = np.zeros(number)
        rows = np.arange(fleet.series, fleet.series + held, dtype=np.int32)
        counts = self.points.reshape(number, BUCKETS)
        return HistogramColumns(
            series=np.tile(rows, ticks),
            timestamps=self.target_times[:, fleet.histogram_target].ravel().astype(np.int64),
            schema=np.full(number, 3, np.int32),
            hint=np.zeros(number, np.int32),
            count=counts.sum(axis=1),
            sum=self.sums.ravel(),
            zero_threshold=zeros,
            zero_count=zeros,
            positive_offsets=np.arange(number + 1, dtype=np.int64) * BUCKETS,
            positive_index=np.tile(np.arange(FIRST_BUCKET, FIRST_BUCKET + BUCKETS, dtype=np.int32), number),
            positive_count=counts.ravel(),
            negative_offsets=np.zeros(number + 1, np.int64),
            bounds_offsets=np.zeros(number + 1, np.int64),
        )

    def batches(self) -> Iterator[Batch]:
        """Yield one batch a tick."""
        fleet, times = self.fleet, self.times
        held = len(fleet.histogram_labels)
        rows = np.arange(fleet.series, dtype=np.int32)
        histogram_rows = np.arange(fleet.series, fleet.series + held, dtype=np.int32)
        at = self.target_times[:, fleet.histogram_target]
        zeros = np.zeros(held)
        index = np.tile(np.arange(FIRST_BUCKET, FIRST_BUCKET + BUCKETS, dtype=np.int32), held)
        for tick in range(len(times)):
            counts = self.points[tick]
            columns = HistogramColumns(
                series=histogram_rows,
                timestamps=at[tick].astype(np.int64),
                schema=np.full(held, 3, np.int32),
                hint=np.zeros(held, np.int32),
                count=counts.sum(axis=1),
                sum=self.sums[tick].copy(),
                zero_threshold=zeros,
                zero_count=zeros,
                positive_offsets=np.arange(held + 1, dtype=np.int64) * BUCKETS,
                positive_index=index,
                positive_count=counts.ravel().copy(),
                negative_offsets=np.zeros(held + 1, np.int64),
                bounds_offsets=np.zeros(held + 1, np.int64),
            )
            yield Batch(fleet.table, rows, times[tick].astype(np.int64), self.values[tick].copy(), columns)
