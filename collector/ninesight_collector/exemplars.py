"""Exemplars of one look on their way into a Batch: checked, bounded, what is repeated taken once.

A page shows the same exemplar at every scrape until a newer one takes its place; only the first time
it is passed on. One that is not as OpenMetrics has it is left out and counted, its sample is kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from ninesight_store.contract import ExemplarColumns, Labels

__all__ = ["LABELS_CHARACTERS_MAX", "ExemplarRows", "exemplar_labels"]

LABELS_CHARACTERS_MAX = 128
"""Names and values together, as OpenMetrics bounds them."""
ROWS_MAX = 10_000
_FUTURE_MS_MAX = 600_000


class _Seen(NamedTuple):
    labels: Labels
    value: float
    timestamp_ms: int | None
    """None where the sender gave none."""


class ExemplarRows:
    """Collects the exemplars of one look. Used by one thread at a time."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self._rows_max = rows_max
        self._rows: list[tuple[int, int, _Seen]] = []
        self._last: dict[int, _Seen] = {}
        self.left_out: Counter[str] = Counter()
        """Left out so far, by reason: labels, value, timestamp, many."""

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self, row: int, labels: Mapping[str, str], value: float, timestamp_ms: int | None, now_ms: int
    ) -> None:
        """Add one to a row of the batch's table; without a time of its own it gets `now_ms`."""
        seen = _Seen(tuple(sorted(labels.items())), value, timestamp_ms)
        if self._last.get(row) == seen:
            return
        if problem := _problem(seen, now_ms):
            self.left_out[problem] += 1
        elif len(self._rows) >= self._rows_max:
            self.left_out["many"] += 1
        else:
            self._rows.append((row, now_ms if timestamp_ms is None else timestamp_ms, seen))

    def columns(self) -> ExemplarColumns:
        """Return what was added since the last call."""
        rows, self._rows = self._rows, []
        if not rows:
            return ExemplarColumns()
        self._last.update((row, seen) for row, _, seen in rows)
        return ExemplarColumns(
            np.array([row for row, _, _ in rows], np.int32),
            np.array([time for _, time, _ in rows], np.int64),
            np.array([seen.value for _, _, seen in rows], np.float64),
            tuple(seen.labels for _, _, seen in rows),
        )

    def discard(self) -> None:
        """Forget what was added since the last `columns`."""
        self._rows = []

    def renumber(self, places: Mapping[int, int]) -> None:
        """Follow a renumbering of the table; rows that are gone are forgotten."""
        self._last = {places[row]: seen for row, seen in self._last.items() if row in places}

    def take_left_out(self) -> Mapping[str, int]:
        """Return the number left out by reason since the last call."""
        taken, self.left_out = self.left_out, Counter()
        return taken


def exemplar_labels(trace_id: str, span_id: str, others: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of an exemplar that names a span; the others only if all fit."""
    ids = {name: text for name, text in (("trace_id", trace_id), ("span_id", span_id)) if text}
    whole = {**others, **ids}
    return whole if _characters(whole) <= LABELS_CHARACTERS_MAX else ids


def _characters(labels: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in labels.items())


def _problem(seen: _Seen, now_ms: int) -> str:
    if _characters(dict(seen.labels)) > LABELS_CHARACTERS_MAX or not all(name for name, _ in seen.labels):
        return "labels"
    if math.isnan(seen.value):
        return "value"
    if seen.timestamp_ms is not None and not -(1 << 53) < seen.timestamp_ms <= now_ms + _FUTURE_MS_MAX:
        return "timestamp"
    return ""
