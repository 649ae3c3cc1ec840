"""Write PromQL: selectors with safe quoting, ranges, grouping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ninesight_query.durations import format_duration

from ninesight_analytics.contract import Scope, Window

__all__ = ["grouping", "quoted", "range_of", "scoped", "selector"]


def quoted(value: str) -> str:
    """Return a PromQL string literal of any text."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def selector(metric: str, equal: Mapping[str, str] | None = None, *more: str) -> str:
    """Return `metric{label="value", ...}`; `more` are matchers already written, such as `outcome!="ok"`."""
    matchers = [f"{name}={quoted(value)}" for name, value in (equal or {}).items()]
    matchers += more
    return f"{metric}{{{','.join(matchers)}}}" if matchers else metric


def scoped(metric: str, scope: Scope, *more: str) -> str:
    """Return the selector of a metric within a scope."""
    given = {"model": scope.model, "version": scope.version, "instance": scope.instance}
    return selector(metric, {name: value for name, value in given.items() if value is not None}, *more)


def range_of(window: Window) -> str:
    """Return `[5m]` for a window of five minutes."""
    return f"[{format_duration(window.end_ms - window.start_ms)}]"


def grouping(labels: Iterable[str]) -> str:
    """Return `by (a, b)`, each label once."""
    return f"by ({', '.join(dict.fromkeys(labels))})"
