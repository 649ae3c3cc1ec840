"""PromQL: parse, evaluate with numpy, answer over HTTP as Prometheus does.

The evaluator, pydantic and Starlette are imported when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ninesight_query.cancel import cancelling
from ninesight_query.contract import (
    Answer,
    Capabilities,
    Engine,
    Labels,
    Matcher,
    Matrix,
    Metadata,
    Ragged,
    Scalar,
    String,
    Value,
    Vector,
    labels_of,
)
from ninesight_query.errors import (
    BusyError,
    DeadlineError,
    ExecutionError,
    LimitError,
    ParseError,
    QueryCancelledError,
    QueryError,
    UnavailableError,
)
from ninesight_query.histogram import Histogram
from ninesight_query.parse import parse, parse_selector, prettify, tree_of
from ninesight_query.settings import EngineSettings

if TYPE_CHECKING:
    from ninesight_query.config import EngineConfig
    from ninesight_query.durations import duration_ms, format_duration
    from ninesight_query.engine import LocalEngine
    from ninesight_query.http import HttpSettings, routes
    from ninesight_query.remote import RemoteEngine, RemoteSettings

__all__ = [
    "Answer",
    "BusyError",
    "Capabilities",
    "DeadlineError",
    "Engine",
    "EngineConfig",
    "EngineSettings",
    "ExecutionError",
    "Histogram",
    "HttpSettings",
    "Labels",
    "LimitError",
    "LocalEngine",
    "Matcher",
    "Matrix",
    "Metadata",
    "ParseError",
    "QueryCancelledError",
    "QueryError",
    "Ragged",
    "RemoteEngine",
    "RemoteSettings",
    "Scalar",
    "String",
    "UnavailableError",
    "Value",
    "Vector",
    "cancelling",
    "duration_ms",
    "format_duration",
    "labels_of",
    "parse",
    "parse_selector",
    "prettify",
    "routes",
    "tree_of",
]

_LAZY = {
    "EngineConfig": "config",
    "HttpSettings": "http",
    "LocalEngine": "engine",
    "RemoteEngine": "remote",
    "RemoteSettings": "remote",
    "duration_ms": "durations",
    "format_duration": "durations",
    "routes": "http",
}


def __getattr__(name: str) -> Any:
    """Import on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
