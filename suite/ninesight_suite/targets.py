"""`/api/v1/targets`, `targets/metadata` and `scrape_pools`, as Prometheus answers them.

What we watch beyond scrape targets (GPUs, the host, receivers) stands among the active targets with a `kind`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from ninesight_collector.contract import TargetView
from ninesight_query.encode import encode_success
from ninesight_query.errors import ParseError
from ninesight_query.http.handler import Answering
from ninesight_query.http.params import Params
from ninesight_query.http.times import rfc3339
from ninesight_query.parse import parse_matchers
from ninesight_store.contract import Matcher
from ninesight_store.matchers import compile_matchers, labels_match

__all__ = ["target_answers", "targets_body"]

_HEALTH = {True: "up", False: "down", None: "unknown"}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def target_answers(targets: Callable[[], Sequence[TargetView]]) -> dict[str, Answering]:
    """Return the answering function of each path below `/api/v1/`."""
    return {
        "targets": lambda asked: _targets(targets(), asked.params),
        "targets/metadata": lambda asked: _metadata(targets(), asked.params),
        "scrape_pools": lambda _: _pools(targets()),
    }


def _targets(found: Sequence[TargetView], params: Params) -> bytes:
    return targets_body(found, params.first("state").lower(), params.first("scrapePool"))


def targets_body(found: Sequence[TargetView], state: str = "", pool: str = "") -> bytes:
    """Answer with what is active. We have no relabelling, so nothing is ever dropped."""
    active = [_target(view) for view in found if state in ("", "any", "active") and pool in ("", view.name)]
    dropped = {"droppedTargets": [], "droppedTargetCounts": {view.name: 0 for view in _scraped(found)}}
    return encode_success(orjson.dumps({"activeTargets": active, **dropped}))


def _target(view: TargetView) -> dict[str, Any]:
    labels = dict(view.labels) or {"job": view.name}
    return {
        "discoveredLabels": _discovered(view) if view.kind == "scrape" else {},
        "labels": labels,
        "scrapePool": view.name,
        "scrapeUrl": view.url,
        "globalUrl": _global(view.url),
        "lastError": view.error,
        "lastScrape": rfc3339(view.last_ms),
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


def _metadata(found: Sequence[TargetView], params: Params) -> bytes:
    """Answer with what targets said of their metrics; `match_target` picks targets, `metric` one metric."""
    limit, metric = params.whole("limit", -1), params.first("metric")
    matchers = compile_matchers(_matchers(params.first("match_target")))
    rows = []
    for view in _scraped(found):
        if not labels_match(matchers, view.labels):
            continue
        for entry in view.metadata:
            if metric in ("", entry.metric):
                named = {} if metric else {"metric": entry.metric}
                told = {"type": entry.kind, "help": entry.help, "unit": entry.unit}
                rows.append({"target": dict(view.labels), **named, **told})
    return encode_success(orjson.dumps(rows[:limit] if limit >= 0 else rows))


def _matchers(text: str) -> tuple[Matcher, ...]:
    if not text:
        return ()
    try:
        return parse_matchers(text)
    except ParseError as error:
        raise ParseError(f'invalid parameter "match_target": {error}') from error


def _pools(found: Sequence[TargetView]) -> bytes:
    names = sorted({view.name for view in _scraped(found)})
    return encode_success(orjson.dumps({"scrapePools": names}))


def _scraped(found: Sequence[TargetView]) -> list[TargetView]:
    return [view for view in found if view.kind == "scrape"]
