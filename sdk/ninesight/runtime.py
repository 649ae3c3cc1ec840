"""The one running SDK of a process: settings, series, buffers, threads, and how they live and die.

nothing ──first call or configure──► running ──shutdown──► off ──configure──► running
                 fork: the child counts from zero and starts its threads on its own first call
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

from ninesight.aggregate import Aggregator
from ninesight.background import Periodic
from ninesight.config import SdkConfig, config_from, usable_config
from ninesight.contract import Exporter, Family, Kind, NumberPoint, Snapshot, Stats
from ninesight.delta import Deliveries
from ninesight.errors import ConfigError
from ninesight.faults import Faults
from ninesight.forks import importing
from ninesight.keeper import Keeper, TraceCounts
from ninesight.metrics import METRICS
from ninesight.outlets import Outlets
from ninesight.own import OwnMetrics
from ninesight.partial import Rejections
from ninesight.registry import Registry
from ninesight.rhythm import INTERVAL_S_MIN, Rhythm
from ninesight.series import ModelSeries
from ninesight.slots import Buffers
from ninesight.snapshot import families_of, gauges_of, histograms_of
from ninesight.traces import reseed

if TYPE_CHECKING:
    from ninesight.workers import Workers

__all__ = ["Runtime"]

_EXIT_TIMEOUT_S = 2.0


class Runtime:
    """Holds the parts together. Methods may be called from any thread, unless they say otherwise."""

    def __init__(self, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._config: SdkConfig | None = None
        self._fallback: SdkConfig | None = None
        self._lock = threading.RLock()
        self._outlets: Outlets | None = None
        self._own_exporter: Exporter | None = None
        self._kept_as: tuple[float, float, int] | None = None
        self._off = False
        self._registered = False
        self._registered_child = False
        self._sharing_lock = threading.Lock()
        self._workers: Workers | None = None
        self.faults = Faults()
        self.buffers = Buffers(SdkConfig.buffer_records_max, on_use=self._start_unless_busy)
        self.registry = Registry(self.buffers, self.faults, lambda: self.config)
        self.flights = self.buffers.flights
        self.buffers.relabel = self.registry.relabel
        self.own = OwnMetrics(self.buffers, self.registry)
        self._begin()

    def _begin(self) -> None:
        self.start_ns = self._now_ns()
        self.aggregator = Aggregator(self.buffers, self.faults)
        self._rhythm = Rhythm()
        self._trace_counts = TraceCounts()
        self._rejections = Rejections()
        self._deliveries = Deliveries(self._sharing)
        self._exports = 0
        self._export_failures = 0
        self._export_ok = True
        self._aggregation: Periodic | None = None
        self._export: Periodic | None = None

    @property
    def config(self) -> SdkConfig:
        """The settings; read from the environment on first use, without what is wrong there (told once)."""
        config = self._config or self._fallback
        if config is None:
            # This may be a request: it must not fail. `configure` reads again, and raises.
            config, wrong = usable_config(os.environ)
            for error in wrong:
                self.faults.pass_over("a variable of the environment", error)
            if wrong:
                self._fallback = config
            else:
                self._config = config
            self._apply(config)
        return config

    def configure(self, **given: Any) -> None:
        """Set what is given, keep the rest, and run. Raises ConfigError and changes nothing if a value is wrong."""
        with self._lock:
            config = config_from(os.environ, self._config, **given)
            self.aggregator.drain()
            with self.aggregator.lock:
                self._adjust(config)
            self._stop_threads(_EXIT_TIMEOUT_S)
            self._config = config
            self._off = False
            self._apply(config)
            self.start()

    def _adjust(self, config: SdkConfig) -> None:
        """Have the series follow the settings. Raises ConfigError, before any of them changed."""
        known = self.registry.known()
        counted = [series for series in known if series.counted]
        if counted and config.buckets != self.config.buckets:
            raise ConfigError(
                f"buckets must be set before the first recorded call, but {counted[0].model!r} has "
                f"{counted[0].counted}; call configure(buckets=...) at start"
            )
        for series in known:
            series.adjust(
                bounds=config.buckets,
                buckets_max=config.histogram_buckets_max,
                stages_max=config.stages_max,
            )

    def export_to(self, exporter: Exporter) -> None:
        """Hand snapshots to an exporter of one's own instead of OTLP, every `export_interval_s`, until `shutdown`."""
        with self._lock:
            self._stop_threads(_EXIT_TIMEOUT_S)
            self._own_exporter = exporter
            self._off = False
            self.start()

    @property
    def enabled(self) -> bool:
        """False when recording is switched off by settings or after `shutdown`."""
        return (self._config or self.config).enabled and not self._off

    def series(self, model: str, version: str, labels: tuple[tuple[str, object], ...] = ()) -> ModelSeries:
        """Return the totals of a model version and own labels, made on first use; `__other__` beyond the budgets."""
        return self.registry.series(model, version, labels)

    def start(self) -> None:
        """Start the threads that are due and do not run. Cheap when all is running."""
        if self._off or (self._aggregation is not None and self._aggregation.running):
            return
        with self._lock:
            if not self.enabled or self._aggregation is not None:
                return
            self._outlets = Outlets(
                self.config, self._own_exporter, self.faults, self._rejections, self._deliveries
            )
            self._aggregation = Periodic(
                "ninesight-aggregation", self._aggregate, interval_s=INTERVAL_S_MIN, faults=self.faults
            )
            self._aggregation.start()
            if self._outlets.used:
                self._export = Periodic(
                    "ninesight-export",
                    self._export_once,
                    interval_s=self.config.export_interval_s,
                    faults=self.faults,
                )
                self._export.start()
            self._register_exit()

    def _register_exit(self) -> None:
        """Flush when the process ends: by atexit, which a child of `multiprocessing` does not run, or by its own way."""
        if not self._registered:
            self._registered = True
            atexit.register(self.shutdown)
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._registered_child:
            self._registered_child = True
            util.Finalize(None, self.shutdown, exitpriority=0)

    def _start_unless_busy(self) -> None:
        """Start from a request: whoever holds the lock is starting or stopping, and a request never waits."""
        if self._lock.acquire(blocking=False):
            try:
                self.start()
            finally:
                self._lock.release()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Bring everything recorded so far into the totals and out; False if an export failed or took too long."""
        self.aggregator.drain()
        published = self._publish()
        export = self._export
        if export is None or not published:
            return published
        return export.ask(timeout_s) and self._export_ok

    def shutdown(self, timeout_s: float = _EXIT_TIMEOUT_S) -> None:
        """Flush, stop the threads, record nothing from now on. Safe to call twice, and before any call."""
        with self._lock:
            if self._off:
                return
            deadline = time.monotonic() + timeout_s
            if self.buffers.keeper is not None:
                self.buffers.keeper.end_window()
            self.flush(timeout_s)
            self._halt(max(0.0, deadline - time.monotonic()))

    def snapshot(self) -> Snapshot:
        """Return everything known now: of this process, or of all workers that share `multiprocess_dir`.

        Raises RetryableError where that folder cannot be read.
        """
        workers = self._sharing()
        return self.local_snapshot() if workers is None else workers.merged(self.local_snapshot)

    def local_snapshot(self) -> Snapshot:
        """Return everything this process knows, after bringing in what its threads have buffered."""
        config = self.config
        if not config.enabled:
            return Snapshot(self.start_ns, self._now_ns(), config.resource)
        self.aggregator.drain()
        known = self.registry.known()
        gauges = gauges_of(known)
        with self.aggregator.lock:
            families = families_of(known, self.buffers, gauges) + self.own.families()
        families += self._self_families()
        return Snapshot(self.start_ns, self._now_ns(), config.resource, tuple(families))

    def stats(self) -> Stats:
        """Return what the SDK knows of itself."""
        with self.aggregator.lock:
            errors = {
                name + "{" + ",".join(f'{key}="{value}"' for key, value in labels) + "}": item.relative_error
                for series in self.registry.known()
                for name, labels, item in histograms_of(series)
            }
        return Stats(
            recorded=self.aggregator.recorded,
            dropped=self.buffers.dropped(),
            invalid=self.faults.invalid,
            internal_errors=self.faults.internal_errors,
            over_budget=self.faults.over_budget,
            exports=self._exports,
            export_failures=self._export_failures,
            points_rejected=self._rejections.points,
            spans_rejected=self._rejections.spans,
            traces_waiting=0 if self.buffers.keeper is None else self.buffers.keeper.waiting,
            traces_dropped=self._trace_counts.dropped,
            threads=len(self.buffers.threads),
            buffered=self.buffers.buffered(),
            relative_error=errors,
        )

    def reset(self) -> None:
        """Stop, forget all counts, gauges and settings. For tests; series stay known, at zero."""
        with self._lock:
            self._halt(_EXIT_TIMEOUT_S)
            self.aggregator.drain()
            self._leave_workers()
            self._kept_as = None
            self._config = self._fallback = None
            self._off = False
            self.faults.clear()
            self.buffers.forget_drops()
            self._begin()
            self.registry.reset()
            self.own.clear()
            self.buffers.resize(SdkConfig.buffer_records_max)

    def _self_families(self) -> list[Family]:
        values = {
            "ninesight_sdk_recorded_total": self.aggregator.recorded,
            "ninesight_sdk_dropped_total": self.buffers.dropped(),
            "ninesight_sdk_invalid_total": self.faults.invalid,
            "ninesight_sdk_over_budget_total": self.faults.over_budget,
            "ninesight_sdk_internal_errors_total": self.faults.internal_errors,
            "ninesight_sdk_export_failures_total": self._export_failures,
            "ninesight_sdk_points_rejected_total": self._rejections.points,
            "ninesight_sdk_spans_rejected_total": self._rejections.spans,
            "ninesight_sdk_traces_kept_total": self._trace_counts.kept,
            "ninesight_sdk_traces_dropped_total": self._trace_counts.dropped,
        }

        return [
            Family(
                name, Kind.COUNTER, METRICS[name].unit, METRICS[name].help, (NumberPoint((), float(value)),)
            )
            for name, value in values.items()
        ]

    def _apply(self, config: SdkConfig) -> None:
        self.buffers.outcomes.named = dict(config.outcomes)
        self._keep_traces(config)
        self.own.sets_max = config.label_sets_max
        self.own.buckets_max = config.histogram_buckets_max
        self.buffers.resize(config.buffer_records_max if config.enabled and not self._off else 0)

    def _keep_traces(self, config: SdkConfig) -> None:
        """Turn the keeping of traces on or off, as the settings say; what waits stays when nothing changes."""
        on = config.traces and config.enabled and not self._off
        if not on:
            self.buffers.keep(None)
        else:
            wanted = (config.trace_share, config.trace_window_s, config.traces_waiting_max)
            if self.buffers.keeper is None or wanted != self._kept_as:
                self._kept_as = wanted
                self.buffers.keep(
                    Keeper(
                        share=config.trace_share,
                        window_s=config.trace_window_s,
                        waiting_max=config.traces_waiting_max,
                        counts=self._trace_counts,
                    )
                )
        self.registry.slow_s = 0.0 if on else inf

    def _aggregate(self) -> float:
        """Drain when it is due: at once where other processes, or the search for slow calls, wait for it."""
        workers = self._sharing()
        due = self._rhythm.due(self.buffers.longest(), max(1, self.buffers.limit_least()))
        if due or workers is not None or self.buffers.keeper is not None:
            self.aggregator.drain()
        if workers is not None:
            workers.publish_when_due(self.local_snapshot, self.aggregator.taken)
        return self._rhythm.interval_s

    def _export_once(self) -> float:
        outlets = self._outlets
        assert outlets is not None, "the export thread runs only with somewhere to send to"
        workers = self._sharing()
        spans_ok = outlets.send_spans(self.buffers.keeper, self.config.resource)
        metrics_ok = True
        if outlets.metrics is not None and (workers is None or workers.elected()):
            metrics_ok = outlets.send_metrics(self.snapshot)
            self._exports += metrics_ok
            self._export_failures += not metrics_ok
        self._export_failures += not spans_ok
        self._export_ok = metrics_ok and spans_ok
        return self.config.export_interval_s

    def _sharing(self) -> Workers | None:
        """Return this process' place among the workers; None where it works alone."""
        config = self.config
        if config.multiprocess_dir is None or not config.enabled:
            return None
        with self._sharing_lock:
            if self._workers is None or self._workers.folder != config.multiprocess_dir:
                with importing():
                    from ninesight.workers import Workers

                self._workers = Workers(
                    config.multiprocess_dir, self.faults, buckets_max=config.histogram_buckets_max
                )
            return self._workers

    def _publish(self) -> bool:
        workers = self._sharing()
        if workers is None:
            return True
        try:
            workers.publish(self.local_snapshot)
        except OSError as error:
            self.faults.internal("writing to multiprocess_dir", error)
            return False
        return True

    def _stop_threads(self, timeout_s: float) -> None:
        """Stop both threads; a push under way is given up, its totals are in the next."""
        deadline = time.monotonic() + timeout_s
        threads = [item for item in (self._aggregation, self._export) if item is not None]
        self._aggregation = None
        self._export = None
        outlets, self._outlets = self._outlets, None
        for periodic in threads:
            periodic.stop()
        if outlets is not None:
            outlets.close()
        for periodic in threads:
            periodic.join(max(0.1, deadline - time.monotonic()))

    def _halt(self, timeout_s: float) -> None:
        self._off = True
        self.buffers.resize(0)
        self._keep_traces(self.config)
        self._stop_threads(timeout_s)
        own, self._own_exporter = self._own_exporter, None
        if own is not None:
            with suppress(Exception):
                own.close()
        if self._workers is not None:
            self._workers.resign()

    def _leave_workers(self) -> None:
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.forget()

    def after_fork(self) -> None:
        """Make the child its own: nothing of the parent's counts, fresh locks, threads on first use."""
        self._lock = threading.RLock()
        self._sharing_lock = threading.Lock()
        self._leave_workers()
        self._registered_child = False
        self.buffers.clear()
        self._outlets = None
        reseed()
        self.faults.clear()
        self._begin()
        if self.buffers.keeper is not None:
            # What waits is the parent's to send.
            self._kept_as = None
            self._keep_traces(self.config)
        self.registry.after_fork()
        self.own.clear()
