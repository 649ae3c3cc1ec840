"""What one selector reads, as matrices, kept between queries: dashboards ask the same selectors again and again.

    cover(matchers, span) ──► kept and nothing was committed since ──► the same object
                              only newer rows since ──► those rows appended
                              else ──► read anew

A cover that reaches the newest data has no end; one of older data is aligned to hours. What this process seals and
merges changes no sample (moves.py); retention, and sealing by another process, end all covers. One that grew
for an hour is cut to what was asked for meanwhile. The memory is bounded; the least recently used go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ninesight_store.contract import HistogramColumns, Int64, Labels, Matcher
from ninesight_store.histograms import histogram_nbytes
from ninesight_store.sheets import Sheet

__all__ = ["Cover", "CoverCache", "Kept", "State"]

_PER_SELECTOR_MAX = 4
_ENTRY_BYTES = 2_000


@dataclass(eq=False)
class Cover:
    """The samples of a selector's series over at least the span asked for. Nobody changes them.

    Series are sorted by labels; some may have no sample in the span asked for.
    """

    labels: tuple[Labels, ...]
    start_ms: int
    """First millisecond that is covered, ends included."""
    end_ms: int
    sheets: tuple[Sheet, ...]
    """The float samples, stale markers included."""
    histogram_offsets: Int64
    """[S+1] rows of `histograms` of each series."""
    histograms: HistogramColumns = field(default_factory=HistogramColumns)
    """Points by series and time; `series` holds the row of `labels`."""
    laid: object = field(default=None, init=False, repr=False)
    """What a reader made of it and wants to find again with it; the store does not look at it."""

    @property
    def span(self) -> tuple[int, int]:
        """First and last millisecond."""
        return self.start_ms, self.end_ms

    @property
    def nbytes(self) -> int:
        """Memory it holds, its labels left out (the index shares them)."""
        return _ENTRY_BYTES + sum(sheet.nbytes for sheet in self.sheets) + histogram_nbytes(self.histograms)

    def samples_in(self, start_ms: int, end_ms: int) -> int:
        """Count the float samples within a span, ends included.

        Of a sheet with many groups only the first is searched: the others are taken to be as dense.
        """
        number = 0
        for sheet in self.sheets:
            times, size = sheet.times[0], int(sheet.lengths[0])
            low, high = int(times.searchsorted(start_ms)), int(times.searchsorted(end_ms, "right"))
            number += len(sheet.rows) * (min(high, size) - low)
        return number


@dataclass(frozen=True, slots=True)
class State:
    """What a cover has seen of the database."""

    hot_last: int
    """Highest id of a hot row."""
    moves: int
    """How often something was sealed, merged or retired (moves.py)."""
    upkeep: int
    """How often this process retired something."""
    folded: int
    """Highest id of a row that was folded into another (folder.py)."""


@dataclass(slots=True)
class Kept:
    """A cover, with what it depends on."""

    cover: Cover
    ids: Int64
    """Series it was read for."""
    state: State
    token: tuple[int, int] | None
    """The database's version when it was last found up to date."""
    since_ms: int
    """End of the span asked for when the cover was read, or last cut."""
    lowest_ms: int
    """The earliest time that was asked for since."""


class CoverCache:
    """Covers by selector. Safe to use from many threads."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Matcher, ...], list[Kept]] = OrderedDict()
        self._bytes = 0
        self.hits = 0
        self.misses = 0

    @property
    def nbytes(self) -> int:
        """Memory that the covers hold."""
        return self._bytes

    def find(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Kept | None:
        """Return a cover of the span, None if there is none."""
        with self._lock:
            for kept in self._kept.get(tuple(matchers), ()):
                if kept.cover.start_ms <= start_ms and end_ms <= kept.cover.end_ms:
                    self._kept.move_to_end(tuple(matchers))
                    kept.lowest_ms = min(kept.lowest_ms, start_ms)
                    self.hits += 1
                    return kept
            self.misses += 1
            return None

    def current(
        self, token: tuple[int, int], matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Cover | None:
        """Return a cover of the span that was up to date at that version of the database, None if there is none."""
        found = self.find(matchers, start_ms, end_ms)
        return None if found is None or found.token != token else found.cover

    def keep(self, matchers: Sequence[Matcher], fresh: Kept) -> None:
        """Keep a cover in the place of those that it covers; one of more than a quarter of all memory is not kept."""
        key, cover = tuple(matchers), fresh.cover
        with self._lock:
            old = self._kept.pop(key, [])
            rest = [one for one in old if not _covers(cover, one.cover)]
            kept = [fresh, *rest][:_PER_SELECTOR_MAX] if cover.nbytes * 4 <= self.bytes_max else rest
            self._bytes += sum(one.cover.nbytes for one in kept) - sum(one.cover.nbytes for one in old)
            if kept:
                self._kept[key] = kept
            while self._bytes > self.bytes_max:
                gone = self._kept.popitem(last=False)[1]
                self._bytes -= sum(one.cover.nbytes for one in gone)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0


def _covers(outer: Cover, inner: Cover) -> bool:
    return outer.start_ms <= inner.start_ms and inner.end_ms <= outer.end_ms
