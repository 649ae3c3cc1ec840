"""What `/api/v1/status/...` tells of this process: wiring of the parts to the API's questions."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ninesight_query.http import CardinalityCounter, Head, Runtime, ServerFacts

from ninesight_suite.published import published

if TYPE_CHECKING:
    from ninesight_suite.app import Suite
    from ninesight_suite.config import SuiteConfig

__all__ = ["facts_of"]

HEAD_MS = 3 * 3_600_000
"""What counts as alive: samples in the last three hours, about what Prometheus keeps in memory."""


def facts_of(suite: Suite, now_ms: Callable[[], int]) -> ServerFacts:
    """Return where the API finds them; nothing is read yet."""
    started_ms = now_ms()

    def runtime() -> Runtime:
        pool = suite.queries
        counts = {
            "pending": pool.pending,
            "done": pool.done_total,
            "refused": pool.refused_total,
            "timedOut": pool.timed_out_total,
            "cancelled": pool.cancelled_total,
        }
        return Runtime(
            started_ms=started_ms,
            config_ms=started_ms,
            now_ms=now_ms(),
            folder=str(Path.cwd()),
            host=socket.gethostname(),
            retention=_retention(suite.config),
            corruptions=len(suite.store.damage()),
            more={"queries": counts},
        )

    return ServerFacts(
        config=lambda: published(suite.config),
        flags=lambda: flags_of(suite.config),
        runtime=runtime,
        cardinality=CardinalityCounter(lambda: _head(suite, now_ms())),
    )


def _head(suite: Suite, at_ms: int) -> Head:
    stat = suite.store.stat()
    since_ms = at_ms - HEAD_MS
    return Head(
        suite.store.series((), since_ms, at_ms),
        stat.chunks + stat.hot_rows,
        max(stat.oldest_ms or 0, since_ms) if stat.newest_ms else 0,
        stat.newest_ms or 0,
        {"store": asdict(stat)},
    )


def _retention(config: SuiteConfig) -> str:
    size = config.store.size_max_mb
    return f"{config.store.retention} or {size}MiB" if size else config.store.retention


def flags_of(config: SuiteConfig) -> dict[str, str]:
    """Return our settings under the names of the Prometheus flags that people and tools look for."""
    query = config.query
    return {
        "enable-feature": "promql-delayed-name-removal" if query.delayed_name_removal else "",
        "query.lookback-delta": query.lookback,
        "query.max-concurrency": str(min(config.api.workers, query.queries_max)),
        "query.max-samples": str(query.samples_max),
        "query.timeout": query.deadline,
        "storage.tsdb.path": str(config.data_dir),
        "storage.tsdb.retention.size": f"{config.store.size_max_mb}MiB" if config.store.size_max_mb else "0B",
        "storage.tsdb.retention.time": config.store.retention,
        "web.cors.origin": "|".join(config.api.origins),
        "web.enable-admin-api": "false",
        "web.enable-lifecycle": "false",
        "web.enable-otlp-receiver": str(config.collector.otlp.enabled).lower(),
        "web.enable-remote-write-receiver": str(config.collector.remote_write_receiver.enabled).lower(),
        "web.listen-address": config.listen,
    }
