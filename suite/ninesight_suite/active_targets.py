"""The body of `/api/v1/targets`, as Prometheus answers it; an agent has it without the queries.

What we watch beyond scrape targets (GPUs, the host, receivers) stands among the active targets with a `kind`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from ninesight_collector.contract import TargetView

__all__ = ["scraped", "targets_body"]

_HEALTH = {True: "up", False: "down", None: "unknown"}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NEVER = "0001-01-01T00:00:00Z"


def targets_body(found: Sequence[TargetView], state: str = "", pool: str = "") -> bytes:
    """Answer with what is active. We have no relabelling, so nothing is ever dropped."""
    active = [_target(view) for view in found if state in ("", "any", "active") and pool in ("", view.name)]
    dropped = {"droppedTargets": [], "droppedTargetCounts": {view.name: 0 for view in scraped(found)}}
    return orjson.dumps({"status": "success", "data": {"activeTargets": active, **dropped}})


def _target(view: TargetView) -> dict[str, Any]:
    labels = dict(view.labels) or {"job": view.name}
    return {
        "discoveredLabels": _discovered(view) if view.kind == "scrape" else {},
        "labels": labels,
        "scrapePool": view.name,
        "scrapeUrl": view.url,
        "globalUrl": _global(view.url),
        "lastError": view.error,
        "lastScrape": _moment(view.last_ms),
        "lastScrapeDuration": view.duration_s,
        "health": _HEALTH[view.up],
        "scrapeInterval": f"{view.interval_s:g}s",
        "scrapeTimeout": f"{view.timeout_s:g}s",
        "kind": view.kind,
        "samples": view.samples,
    }


def _discovered(view: TargetView) -> dict[str, str]:
    url = urlsplit(view.url)
    return {
        "__address__": url.netloc,
        "__metrics_path__": url.path or "/",
        "__scheme__": url.scheme,
        "__scrape_interval__": f"{view.interval_s:g}s",
        "__scrape_timeout__": f"{view.timeout_s:g}s",
        **{name: value for name, value in view.labels if name != "instance"},
    }


def _global(url: str) -> str:
    """Return the address as others reach it: a loopback address under this host's name."""
    parts = urlsplit(url)
    if parts.hostname not in _LOOPBACK:
        return url
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"{socket.gethostname()}{port}"))


def _moment(at_ms: int) -> str:
    """Return a time as Go's JSON writes it; 0 is Go's zero time."""
    if not at_ms:
        return _NEVER
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def scraped(found: Sequence[TargetView]) -> list[TargetView]:
    """Return the scrape targets among them."""
    return [view for view in found if view.kind == "scrape"]
