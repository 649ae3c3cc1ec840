"""Everything the configuration asks for, running.

scrape targets, GPUs, host, ourselves ─► Schedule ─► Delivery ─► sink
OTLP and remote-write senders ─► routes() ─────────────────────► sink
                                                      sink = own store, remote-write queues, or both
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote

from ninesight_store.contract import Sink
from starlette.routing import Route

from ninesight_collector.config import CollectorConfig, GpuConfig
from ninesight_collector.contract import Sampler, TargetView
from ninesight_collector.counters import Counters
from ninesight_collector.delivery import Delivery
from ninesight_collector.errors import ConfigError
from ninesight_collector.forward import FanOut, RemoteWriter, SenderSettings
from ninesight_collector.gpu import (
    GpuLoad,
    GpuSampler,
    LoadSource,
    NvmlDriver,
    Scenario,
    ScenarioFile,
    SimulatedDriver,
    StandinLibrary,
)
from ninesight_collector.host_sampler import HostSampler
from ninesight_collector.otlp import OtlpSettings, Receiver
from ninesight_collector.remote_write import ReceiverSettings, WriteReceiver
from ninesight_collector.remote_write.receiver import PATH as WRITE_PATH
from ninesight_collector.schedule import Schedule, Task, offset_s
from ninesight_collector.scrape import Scraper, scrape_client, scrape_settings
from ninesight_collector.self_sampler import SelfSampler

__all__ = ["Collector"]

_SELF_S = 10.0
_RETRY_S = 1.0


@dataclass(slots=True)
class _Watched:
    """One sampler and how its last look went. Written by its own task alone."""

    kind: str
    name: str
    url: str
    sampler: Sampler
    interval_s: float
    last_ms: int = 0
    duration_s: float = 0.0
    samples: int = 0

    def view(self) -> TargetView:
        health = self.sampler.health()
        view = TargetView(
            self.kind,
            self.name,
            self.url,
            health.up,
            self.last_ms,
            self.duration_s,
            self.samples,
            health.error,
            interval_s=self.interval_s,
        )
        if not isinstance(self.sampler, Scraper):
            return view
        return replace(
            view,
            labels=self.sampler.labels,
            timeout_s=self.sampler.settings.timeout_s,
            metadata=self.sampler.metadata(),
        )


class Collector:
    """Runs every sampler and offers the receiver's routes. Start and stop once.

    `gpu_load` drives the simulated GPUs (mode simulated only), before the scenario's file.
    `model_of` names the model that a process id serves; "" where it is not known. What `config.remote_write`
    names is sent on through queues in `spool_dir`; with a `sink` of None, only there.
    """

    def __init__(
        self,
        config: CollectorConfig,
        sink: Sink | None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        *,
        spool_dir: Path | None = None,
        gpu_load: LoadSource | None = None,
        model_of: Callable[[int], str] = lambda _pid: "",
    ) -> None:
        self.config = config
        self.counters = Counters()
        self._now_ms = now_ms
        self._instance = config.instance or socket.gethostname()
        self._senders = _senders(config, spool_dir, self.counters, now_ms)
        self.sink: Sink = _all_of(sink, self._senders)
        """Everything that is kept or sent on: hand it to others who write."""
        sink = self.sink
        self._delivery = Delivery(sink, self.counters, batches_max=config.retry_batches_max)
        self._receiver = Receiver(sink, OtlpSettings.of(config.otlp), self.counters, now_ms)
        self._writes = WriteReceiver(
            sink, ReceiverSettings.of(config.remote_write_receiver), self.counters, now_ms
        )
        self._client = scrape_client()
        self._gpu = _gpu_sampler(config.gpu, self._instance, now_ms, gpu_load, model_of)
        self._watched = self._watch()
        tasks = [
            Task(f"{w.kind} {w.name} {w.url}".strip(), w.interval_s, self._task(w), self._offset(w))
            for w in self._watched
        ]
        tasks.append(Task("retry", _RETRY_S, self._retry, _RETRY_S))
        self._schedule = Schedule(tasks, self.counters, workers=config.workers)

    def start(self) -> Self:
        """Begin to sample and to send."""
        for sender in self._senders:
            sender.start()
        self._schedule.start()
        return self

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End: no new looks, those under way finish, what waits is tried once more. False past the timeout.

        What waits for a remote-write receiver stays in its queue on the disk.
        """
        deadline = time.monotonic() + timeout_s
        finished = self._schedule.stop(timeout_s)
        if finished:
            # What still runs would find its client and its driver gone, and a sink that hangs would hang us.
            self._delivery.flush()
            self._client.close()
            if self._gpu is not None:
                self._gpu.close()
        self._delivery.abandon()
        for sender in self._senders:
            finished &= sender.stop(max(0.1, deadline - time.monotonic()))
        return finished

    def routes(self) -> list[Route]:
        """Return the routes of the receivers that are on."""
        found = []
        if self.config.otlp.enabled:
            found.append(Route("/v1/metrics", self._receiver.answer, methods=["POST"]))
        if self.config.remote_write_receiver.enabled:
            found.append(Route(WRITE_PATH, self._writes.answer, methods=["POST"]))
        return found

    def guarded_paths(self) -> frozenset[str]:
        """Return the receivers' paths that ask for a token of their own."""
        own = {"/v1/metrics": self.config.otlp.token, WRITE_PATH: self.config.remote_write_receiver.token}
        return frozenset(path for path, token in own.items() if token is not None)

    def targets(self) -> tuple[TargetView, ...]:
        """Return everything watched, for a status page. Safe to call from any thread."""
        views = [watched.view() for watched in self._watched]
        if self.config.otlp.enabled:
            views.append(self._receiver.view())
        if self.config.remote_write_receiver.enabled:
            views.append(self._writes.view())
        views += [sender.view() for sender in self._senders]
        return tuple(views)

    def _watch(self) -> list[_Watched]:
        config = self.config
        watched = [
            _Watched(
                "scrape",
                settings.job,
                settings.url,
                Scraper(settings, self._client, self.counters),
                settings.interval_s,
            )
            for scrape in config.scrape
            for settings in scrape_settings(scrape)
        ]
        if self._gpu is not None:
            watched.append(_Watched("gpu", config.gpu.mode, "", self._gpu, config.gpu.interval))
        if config.host.enabled:
            watched.append(
                _Watched("host", self._instance, "", HostSampler(self._instance), config.host.interval)
            )
        own = SelfSampler(self.counters, self._instance, self._measure)
        watched.append(_Watched("self", "collector", "", own, _SELF_S))
        return watched

    def _offset(self, watched: _Watched) -> float:
        return offset_s(watched.url, watched.interval_s) if watched.kind == "scrape" else 0.0

    def _task(self, watched: _Watched) -> Callable[[], None]:
        def look() -> None:
            began = time.monotonic()
            now_ms = self._now_ms()
            batch = watched.sampler.sample(now_ms)
            watched.duration_s = time.monotonic() - began
            watched.last_ms, watched.samples = now_ms, len(batch)
            if watched.sampler.health().up is False:
                self.counters.add("sampler_errors_total", task=f"{watched.kind} {watched.name}")
            self._delivery.deliver(batch, source=watched.kind)

        return look

    def _measure(self) -> None:
        for sender in self._senders:
            sender.measure()

    def _retry(self) -> None:
        if self._delivery.waiting:
            self._delivery.flush()


def _senders(
    config: CollectorConfig, spool_dir: Path | None, counters: Counters, now_ms: Callable[[], int]
) -> list[RemoteWriter]:
    if config.remote_write and spool_dir is None:
        raise ConfigError("remote_write needs a folder for its queues; give spool_dir")
    return [
        RemoteWriter(SenderSettings.of(one), spool_dir / quote(one.target, safe=":"), counters, now_ms)
        for one in config.remote_write
        if spool_dir is not None
    ]


def _all_of(sink: Sink | None, senders: list[RemoteWriter]) -> Sink:
    if not senders and sink is None:
        raise ConfigError("samples must go somewhere; give a sink, or set remote_write")
    if not senders and sink is not None:
        return sink
    return FanOut([*([] if sink is None else [sink]), *senders])


def _gpu_sampler(
    config: GpuConfig,
    instance: str,
    now_ms: Callable[[], int],
    load: LoadSource | None,
    model_of: Callable[[int], str],
) -> GpuSampler | None:
    if config.mode == "off":
        return None
    if config.mode != "simulated":
        return GpuSampler(instance, NvmlDriver(), optional=config.mode == "auto", model_of=model_of)
    file = None
    if load is None and config.scenario.file is not None:
        load = file = ScenarioFile(config.scenario.file, GpuLoad(utilization=config.scenario.utilization))
    library = StandinLibrary(Scenario(config.scenario, load), now_ms)
    return GpuSampler(
        instance,
        SimulatedDriver(library),
        model_of=model_of,
        problem=lambda: file.error if file else "",
    )
