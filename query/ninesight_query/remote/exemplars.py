"""The answer of `/api/v1/query_exemplars` as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ninesight_store.contract import Exemplar, Labels, SeriesExemplars

__all__ = ["exemplars_of"]


def exemplars_of(rows: Sequence[Mapping[str, Any]]) -> tuple[SeriesExemplars, ...]:
    """Return the exemplars of each series, sorted. Raises KeyError, TypeError or ValueError for no answer."""
    found = (SeriesExemplars(_labels(row["seriesLabels"]), _exemplars(row["exemplars"])) for row in rows)
    return tuple(sorted((each for each in found if each.exemplars), key=lambda each: each.series))


def _exemplars(told: Sequence[Mapping[str, Any]]) -> tuple[Exemplar, ...]:
    found = (
        Exemplar(_labels(one["labels"]), float(one["value"]), round(float(one["timestamp"]) * 1000.0))
        for one in told
    )
    return tuple(sorted(found, key=lambda one: one.timestamp_ms))


def _labels(told: Mapping[str, Any]) -> Labels:
    return tuple(sorted((str(key), str(value)) for key, value in told.items()))
