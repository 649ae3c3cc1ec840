"""`/api/v1/status/...`: what the server is, how it is set up, what it holds.

Who serves the API gives the facts; without them only `buildinfo` is there. Nothing here may hold a secret.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from ninesight_query.encode import encode_success
from ninesight_query.errors import ParseError
from ninesight_query.http.cardinality import LIMIT_MAX, CardinalityCounter
from ninesight_query.http.handler import Answering
from ninesight_query.http.params import Params
from ninesight_query.http.settings import HttpSettings
from ninesight_query.http.times import rfc3339

__all__ = ["Runtime", "ServerFacts", "build_info", "status_answers"]

_LIMIT = 10


@dataclass(frozen=True, slots=True)
class Runtime:
    """How the process goes."""

    started_ms: int
    config_ms: int
    """When the configuration was read."""
    now_ms: int
    folder: str
    host: str
    retention: str
    """As Prometheus writes it: `15d`, or `15d or 10GiB`."""
    corruptions: int = 0
    """Damaged parts of the store met since the start."""
    more: Mapping[str, object] = field(default_factory=dict)
    """What we tell beyond Prometheus."""


@dataclass(frozen=True)
class ServerFacts:
    """Where the facts come from; each is asked anew for every request."""

    config: Callable[[], str]
    """The configuration in force as YAML, secrets masked."""
    flags: Callable[[], Mapping[str, str]]
    """Settings under the names of Prometheus' command-line flags, where it has one."""
    runtime: Callable[[], Runtime]
    cardinality: CardinalityCounter


def status_answers(facts: ServerFacts) -> dict[str, Answering]:
    """Return the answering function of each path below `/api/v1/status/`."""
    return {
        "config": lambda _: encode_success(orjson.dumps({"yaml": facts.config()})),
        "flags": lambda _: encode_success(orjson.dumps(dict(facts.flags()), option=orjson.OPT_SORT_KEYS)),
        "runtimeinfo": lambda _: encode_success(orjson.dumps(_runtime(facts.runtime()))),
        "tsdb": lambda asked: _tsdb(facts.cardinality, asked.params),
    }


def build_info(settings: HttpSettings) -> bytes:
    """Tell which Prometheus API is spoken. No features: Grafana takes any for Mimir's."""
    body = {
        "version": settings.version,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "application": "ninesight",
        "features": {},
    }
    return encode_success(orjson.dumps(body))


def _runtime(found: Runtime) -> dict[str, object]:
    """Return Prometheus' keys. What is Go's own is told in our terms: a goroutine is a thread."""
    return {
        "startTime": rfc3339(found.started_ms),
        "CWD": found.folder,
        "hostname": found.host,
        "serverTime": rfc3339(found.now_ms),
        "reloadConfigSuccess": True,
        "lastConfigTime": rfc3339(found.config_ms),
        "corruptionCount": found.corruptions,
        "goroutineCount": threading.active_count(),
        "GOMAXPROCS": os.cpu_count() or 1,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": found.retention,
        **found.more,
    }


def _tsdb(counter: CardinalityCounter, params: Params) -> bytes:
    limit = params.whole("limit", _LIMIT)
    if not 0 < limit <= LIMIT_MAX:
        raise ParseError(
            f'invalid parameter "limit": limit must be a positive number up to {LIMIT_MAX}, got {limit}'
        )
    found = counter.get()
    seen, series = counter.series_max, len(found.head.labels)
    warnings = (f"only the first {seen} of {series} series are counted",) if series > seen else ()
    return encode_success(orjson.dumps(found.document(limit)), warnings)
