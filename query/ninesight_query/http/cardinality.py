"""Which metrics, labels and pairs make most series: the body of `/api/v1/status/tsdb`.

    series of the last hours ──count──► top `limit` of each list ──kept for a while──► replies

Counting costs time and holds the interpreter, so at most `series_max` series are looked at and a count is
kept for `keep_s`; one count runs at a time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ninesight_store.contract import Labels

__all__ = ["Cardinality", "CardinalityCounter", "Head", "cardinality_of"]

SERIES_MAX = 500_000
KEEP_S = 30.0
LIMIT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Head:
    """What is alive: series with samples in the last hours."""

    labels: Sequence[Labels]
    chunks: int
    """Pieces of data that hold the samples."""
    min_ms: int
    """Time of the first sample, 0 where there is none."""
    max_ms: int
    more: Mapping[str, object] = field(default_factory=dict)
    """What we tell beyond Prometheus."""


@dataclass(frozen=True)
class Cardinality:
    """Counts over the series looked at, each list the largest first."""

    head: Head
    label_pairs: int
    by_metric: Counter[str]
    values_by_label: Counter[str]
    bytes_by_label: Counter[str]
    """UTF-8 bytes of the distinct values."""
    by_pair: Counter[str]
    """`name=value`."""

    def document(self, limit: int) -> dict[str, object]:
        """Return the data of a reply, `limit` entries a list."""
        return {
            "headStats": {
                "numSeries": len(self.head.labels),
                "numLabelPairs": self.label_pairs,
                "chunkCount": self.head.chunks,
                "minTime": self.head.min_ms,
                "maxTime": self.head.max_ms,
            },
            "seriesCountByMetricName": _top(self.by_metric, limit),
            "labelValueCountByLabelName": _top(self.values_by_label, limit),
            "memoryInBytesByLabelName": _top(self.bytes_by_label, limit),
            "seriesCountByLabelValuePair": _top(self.by_pair, limit),
            **self.head.more,
        }


def _top(counts: Mapping[str, int], limit: int) -> list[dict[str, object]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"name": name, "value": count} for name, count in islice(ordered, limit)]


def cardinality_of(head: Head, series_max: int = SERIES_MAX) -> Cardinality:
    """Count over the first `series_max` series."""
    pairs: Counter[tuple[str, str]] = Counter()
    for labels in islice(head.labels, series_max):
        pairs.update(labels)
    values, size = Counter[str](), defaultdict[str, int](int)
    for name, value in pairs:
        values[name] += 1
        size[name] += len(value.encode("utf-8", "replace"))
    return Cardinality(
        head,
        len(pairs),
        Counter({value: count for (name, value), count in pairs.items() if name == "__name__"}),
        values,
        Counter(size),
        Counter(_named(pairs.items())),
    )


def _named(pairs: Iterable[tuple[tuple[str, str], int]]) -> dict[str, int]:
    return {f"{name}={value}": count for (name, value), count in pairs}


class CardinalityCounter:
    """Keeps a count for a while. Safe to call from many threads."""

    def __init__(
        self,
        head: Callable[[], Head],
        *,
        series_max: int = SERIES_MAX,
        keep_s: float = KEEP_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._head = head
        self._series_max = series_max
        self._keep_s = keep_s
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._kept: Cardinality | None = None
        self._kept_s = 0.0

    @property
    def series_max(self) -> int:
        """Series looked at, at most."""
        return self._series_max

    def get(self) -> Cardinality:
        """Return a count that is at most `keep_s` old. Raises what the head raises."""
        with self._lock:
            now_s = self._clock_s()
            if self._kept is None or now_s - self._kept_s > self._keep_s:
                self._kept = cardinality_of(self._head(), self._series_max)
                self._kept_s = now_s
            return self._kept
