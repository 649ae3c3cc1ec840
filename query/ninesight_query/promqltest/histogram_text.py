"""Histograms as text: `{{schema:0 sum:5 count:4 buckets:[1 2 1]}}`, read and written."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from ninesight_store.contract import STALE_NAN, ResetHint

from ninesight_query.histogram import CUSTOM_SCHEMA, Histogram
from ninesight_query.histogram_layout import compact
from ninesight_query.promqltest.errors import NotationError
from ninesight_query.promqltest.numbers import format_number, number

__all__ = ["format_histogram", "parse_histogram"]

_ENTRY = re.compile(r"\s*([a-z_]+)\s*:\s*(\[[^\]]*\]|[^\s\]\[]+)")
_HINTS = {
    "unknown": ResetHint.UNKNOWN,
    "reset": ResetHint.RESET,
    "not_reset": ResetHint.NOT_RESET,
    "gauge": ResetHint.GAUGE,
}
_SCALARS = frozenset({"schema", "sum", "count", "z_bucket", "z_bucket_w", "offset", "n_offset"})
_LISTS = frozenset({"buckets", "n_buckets", "custom_values"})
_HINT = "counter_reset_hint"


def parse_histogram(body: str) -> tuple[Histogram, bool]:
    """Read what stands between `{{` and `}}`; the flag says whether the text names the reset hint.

    Raises NotationError for an unknown, doubled or ill-formed entry.
    """
    entries = _entries(body)
    scalars = {
        key: STALE_NAN if (key, value) == ("sum", "stale") else number(value)
        for key, value in entries.items()
        if key in _SCALARS
    }
    lists = {
        key: np.array([number(item) for item in value[1:-1].split()], np.float64)
        for key, value in entries.items()
        if key in _LISTS
    }
    hint = entries.get(_HINT, "unknown")
    if hint not in _HINTS:
        raise NotationError(f"{_HINT} must be one of {', '.join(_HINTS)}, got {hint}")
    schema = int(scalars.get("schema", 0))
    if schema != CUSTOM_SCHEMA and not -4 <= schema <= 8:
        raise NotationError(f"schema must be from -4 to 8, or -53 for custom_values, got {schema}")
    none = np.zeros(0)
    histogram = Histogram(
        schema=schema,
        count=scalars.get("count", 0.0),
        sum=scalars.get("sum", 0.0),
        zero_threshold=scalars.get("z_bucket_w", 0.0),
        zero_count=scalars.get("z_bucket", 0.0),
        positive_start=int(scalars.get("offset", 0)),
        positive=lists.get("buckets", none),
        negative_start=int(scalars.get("n_offset", 0)),
        negative=lists.get("n_buckets", none),
        bounds=tuple(float(bound) for bound in lists.get("custom_values", none)),
        hint=_HINTS[hint],
    )
    return histogram, _HINT in entries


def _entries(body: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    position = 0
    while body[position:].strip():
        match = _ENTRY.match(body, position)
        if match is None:
            raise NotationError(f"a histogram must be key:value entries, got {body[position:].strip()!r}")
        key, value = match.groups()
        if key not in _SCALARS | _LISTS | {_HINT}:
            known = ", ".join(sorted(_SCALARS | _LISTS | {_HINT}))
            raise NotationError(f"a histogram entry must be one of {known}; got {key}")
        if key in entries:
            raise NotationError(f"a histogram entry must stand once, got {key} twice; drop one")
        if (key in _LISTS) != value.startswith("["):
            shape = "a list, as in buckets:[1 2 1]" if key in _LISTS else "one value"
            raise NotationError(f"{key} must be {shape}, got {value}")
        entries[key] = value
        position = match.end()
    return entries


def format_histogram(histogram: Histogram) -> str:
    """Return the notation of a histogram: only what differs from zero, buckets compacted."""
    h = compact(histogram)
    parts: list[str] = []
    scalars: Sequence[tuple[str, float]] = (
        ("schema", h.schema),
        ("count", h.count),
        ("sum", h.sum),
        ("z_bucket", h.zero_count),
        ("z_bucket_w", h.zero_threshold),
        ("offset", h.positive_start if len(h.positive) else 0),
        ("n_offset", h.negative_start if len(h.negative) else 0),
    )
    parts += [f"{key}:{format_number(value)}" for key, value in scalars if value != 0]
    for key, values in (("buckets", h.positive), ("n_buckets", h.negative), ("custom_values", h.bounds)):
        if len(values):
            parts.append(f"{key}:[{' '.join(format_number(float(value)) for value in values)}]")
    if h.hint is not ResetHint.UNKNOWN:
        parts.append(f"{_HINT}:{h.hint.name.lower()}")
    return "{{" + " ".join(parts) + "}}"
