"""Reading selectors: from the matrices that a source keeps between queries, else by `select`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from ninesight_store import Cover
from ninesight_store.contract import HistogramColumns, Matcher, Source

from ninesight_query.samples import Samples

__all__ = ["Fetcher", "Read"]

Covering = Callable[[tuple[Matcher, ...], int, int], Cover]


@dataclass(frozen=True, slots=True)
class Read:
    """The samples of one selector, possibly of more than the span asked for."""

    samples: Samples
    loaded: int
    """Samples within the span; two buckets count as one, for they take the memory of one with its time."""


class Fetcher:
    """Reads selectors of one source. Safe to use from many threads.

    What was laid out of a cover (tiles, stale markers) lives as long as the cover.
    """

    def __init__(self, source: Source, *, use_starts: bool = False) -> None:
        self._source = source
        self._use_starts = use_starts
        # A cover leaves start timestamps out.
        self._covering: Covering | None = None if use_starts else getattr(source, "cover", None)
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[Cover, Samples] = WeakKeyDictionary()

    def read(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> Read:
        """Return the samples of start <= t <= end. Raises what the source raises."""
        if self._covering is None:
            columns = self._source.select(matchers, start_ms, end_ms)
            if not self._use_starts:
                points = replace(columns.histograms, start_timestamps=None)
                columns = replace(columns, start_timestamps=None, histograms=points)
            loaded = len(columns.timestamps) + _points(columns.histograms)
            return Read(Samples.of_columns(columns), loaded)
        cover = self._covering(matchers, start_ms, end_ms)
        with self._lock:
            samples = self._known.get(cover)
            if samples is None:
                samples = self._known[cover] = Samples.of_cover(cover)
        return Read(samples, cover.samples_in(start_ms, end_ms) + _points(cover.histograms))


def _points(points: HistogramColumns) -> int:
    return len(points) + (len(points.positive_count) + len(points.negative_count)) // 2
