"""Reading selectors: from the matrices that a source keeps between queries, else by `select`; or as bins."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from ninesight_store import Cover, Rollup
from ninesight_store.contract import HistogramColumns, Int64, Matcher, Source

from ninesight_query.bins import Bins
from ninesight_query.errors import NotAtOnceError
from ninesight_query.samples import Samples

__all__ = ["AtHand", "BinRead", "BinWish", "Fetcher", "Fetching", "Read"]

Covering = Callable[[tuple[Matcher, ...], int, int], Cover]
Keeping = Callable[[tuple[Matcher, ...], int, int], Cover | None]
Rolling = Callable[[tuple[Matcher, ...], int, int, Int64, Collection[str]], Rollup]


@dataclass(slots=True)
class Read:
    """The samples of one selector, possibly of more than the span asked for."""

    samples: Samples
    loaded: int
    """Samples within the span; two buckets count as one, for they take the memory of one with its time."""


@dataclass(frozen=True, slots=True)
class BinWish:
    """Which bins of a selector are wanted."""

    start_ms: int
    """First and last time, ends included."""
    end_ms: int
    edges: Int64
    """Where they have to end beside the multiples of ROLLUP_MS, ascending."""
    columns: frozenset[str]
    """Of `ROLLUP_COLUMNS`."""

    def holds(self, other: BinWish) -> bool:
        """Whether who has these bins has the others too."""
        within = self.start_ms <= other.start_ms and other.end_ms <= self.end_ms
        return within and other.columns <= self.columns and bool(np.isin(other.edges, self.edges).all())

    def and_also(self, other: BinWish) -> BinWish:
        """Return what both want, of spans that touch."""
        return BinWish(
            min(self.start_ms, other.start_ms),
            max(self.end_ms, other.end_ms),
            np.union1d(self.edges, other.edges),
            self.columns | other.columns,
        )


@dataclass(frozen=True, slots=True)
class BinRead:
    """The bins of one selector."""

    bins: Bins
    loaded: int
    """Bins, and histogram points that were kept, as in `Read`."""


class Fetching(Protocol):
    """Where a query's samples come from."""

    has_bins: bool
    """Whether `read_bins` can be asked."""

    def read(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> Read:
        """Return the samples of start <= t <= end, or more. Raises StoreError, NotAtOnceError."""

    def read_bins(self, matchers: tuple[Matcher, ...], wish: BinWish) -> BinRead:
        """Return the samples of a span as bins. Raises StoreError, NotAtOnceError."""


class Fetcher:
    """Reads selectors of one source. Safe to use from many threads.

    What was laid out of a cover (tiles, stale markers) is kept with it.
    """

    def __init__(self, source: Source, *, use_starts: bool = False) -> None:
        self._source = source
        self._use_starts = use_starts
        # Covers and rollups leave start timestamps out.
        self._covering: Covering | None = None if use_starts else getattr(source, "cover", None)
        self._rolling: Rolling | None = None if use_starts else getattr(source, "rollup", None)
        self.keeping: Callable[[], Keeping | None] = (
            _keeping_nothing if use_starts else getattr(source, "kept_covers", _keeping_nothing)
        )
        """Returns what hands out the covers that are kept now; None where nothing is. Waits for nobody."""
        self.has_bins = self._rolling is not None
        """Whether the source can sum samples up."""
        self._lock = threading.Lock()

    def read_bins(self, matchers: tuple[Matcher, ...], wish: BinWish) -> BinRead:
        """Return the samples of a span as bins. Raises what the source raises."""
        assert self._rolling is not None
        rollup = self._rolling(matchers, wish.start_ms, wish.end_ms, wish.edges, wish.columns)
        return BinRead(Bins(rollup), len(rollup.bins) + _points(rollup.histograms))

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
            samples = cover.laid
            if not isinstance(samples, Samples):
                samples = cover.laid = Samples.of_cover(cover)
        return Read(samples, cover.samples_in(start_ms, end_ms) + _points(cover.histograms))


class AtHand:
    """Reads only what needs no reading at this moment, and raises NotAtOnceError for all else.

    Histograms are never at hand: what is worked out of them takes longer than reading. Nor are bins.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._keeping = fetcher.keeping()
        self.has_bins = fetcher.has_bins
        """As the fetcher: long windows are answered from bins or not at all."""

    def read(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> Read:
        """Return the samples of start <= t <= end, or more."""
        cover = None if self._keeping is None else self._keeping(matchers, start_ms, end_ms)
        samples = None if cover is None else cover.laid
        if cover is None or not isinstance(samples, Samples) or samples.histograms or samples.stale is None:
            raise NotAtOnceError("what the query reads is not at hand; ask again and wait")
        return Read(samples, cover.samples_in(start_ms, end_ms))

    def read_bins(self, matchers: tuple[Matcher, ...], wish: BinWish) -> BinRead:
        """Refuse."""
        raise NotAtOnceError("bins are not at hand; ask again and wait")


def _keeping_nothing() -> None:
    return None


def _points(points: HistogramColumns) -> int:
    return len(points) + (len(points.positive_count) + len(points.negative_count)) // 2
