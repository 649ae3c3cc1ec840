"""The wiring: which part is given to which. No logic lives here."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ninesight_alerts import Alerting
from ninesight_collector import Collector, CollectorError
from ninesight_query.http import EnginePool
from ninesight_store import LocalStore, Maintenance
from ninesight_store.contract import Sink
from starlette.types import ASGIApp

from ninesight_suite.api import api_app
from ninesight_suite.config import SuiteConfig
from ninesight_suite.documents import load_figures, sla_rule_groups
from ninesight_suite.engines import api_token, close_engine, engine_for
from ninesight_suite.errors import ConfigError
from ninesight_suite.recording import recorder_into

__all__ = ["Suite", "store_url"]


_LOOKS_MAX = 2
"""Status pages answered at the same time."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def store_url(config: SuiteConfig) -> str:
    """Return the database URL: the one a person wrote, or a file in `data_dir`."""
    if config.store.url:
        return config.store.url
    return f"sqlite:///{Path(config.data_dir).resolve() / 'ninesight.db'}"


def collector_for(config: SuiteConfig, sink: Sink | None, *, now_ms: Callable[[], int]) -> Collector:
    """Return the collector; with a `sink` of None it only sends on. Raises ConfigError."""
    try:
        return Collector(config.collector, sink, now_ms, spool_dir=config.spool_dir)
    except CollectorError as error:
        raise ConfigError(str(error)) from error


class Suite:
    """Everything but the pages, in this process. Fulfils `contract.Lifecycle`."""

    def __init__(self, config: SuiteConfig, *, now_ms: Callable[[], int] = _now_ms) -> None:
        """Open the store and read the documents. Raises ConfigError, StoreError."""
        self.config = config
        token = api_token(config)
        figures = load_figures(config.analytics)
        groups = sla_rule_groups(figures.slas)
        url = store_url(config)
        if not config.store.url:
            Path(config.data_dir).mkdir(parents=True, exist_ok=True)
        self.store = LocalStore(url, settings=config.store.settings(), now_ms=now_ms)
        self.engine = engine_for(config, lambda: self.store, now_ms=now_ms)
        self.maintenance = Maintenance(self.store)
        self.collector = collector_for(config, self.store if config.keeps else None, now_ms=now_ms)
        self.alerting = Alerting(
            config.alerts,
            self.engine,
            url,
            groups=groups,
            record=recorder_into(self.collector.sink),
            now_ms=now_ms,
        )
        self.alerts = self.alerting.reader()
        self.queries = EnginePool(config.api.workers, config.api.waiting_max)
        self.looks = EnginePool(_LOOKS_MAX, config.api.waiting_max)
        self.app: ASGIApp = api_app(self, token=token, now_ms=now_ms)

    def start(self) -> None:
        """Start the threads: readers and writers of the store last opened, first used."""
        self.maintenance.start()
        self.alerting.start()
        self.collector.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop in reverse order; what the others write into closes last."""
        self.alerting.stop()
        self.collector.stop(timeout_s)
        self.alerts.close()
        self.queries.close()
        self.looks.close()
        close_engine(self.engine)
        self.maintenance.stop()
        self.store.close()
