"""One evaluation: the source, the limits, the clock, what was fetched, what is to be said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from ninesight_store.contract import Matcher
from ninesight_store.errors import MatcherError, StoreError

from ninesight_query.annotations import Annotations
from ninesight_query.bins import Bins
from ninesight_query.block import Block
from ninesight_query.budget import Share
from ninesight_query.cancel import Cancelled, never
from ninesight_query.contract import Answer, QueryStats, Value
from ninesight_query.errors import (
    DeadlineError,
    ExecutionError,
    LimitError,
    NotAtOnceError,
    QueryCancelledError,
    QueryError,
    UnavailableError,
)
from ninesight_query.fetch import BinWish, Fetching
from ninesight_query.narrow import Narrow
from ninesight_query.samples import Samples
from ninesight_query.settings import EngineSettings

__all__ = ["LABEL_TEXT_MAX", "Context", "Fetched"]

LABEL_TEXT_MAX = 1 << 25
"""Characters of label values that the functions of one query may make."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The samples of one selector over one span, both ends included."""

    start_ms: int
    end_ms: int
    samples: Samples


@dataclass
class Context:
    """State of one query. Used by one thread."""

    fetcher: Fetching
    settings: EngineSettings
    start_ms: int
    """Of the whole query, for `@ start()`."""
    end_ms: int
    step_ms: int
    clock_s: Callable[[], float]
    """Monotonic seconds."""
    deadline_s: float
    """On that clock."""
    began_s: float
    """On that clock."""
    cancelled: Cancelled
    share: Share
    """Of what all queries may hold together."""
    annotations: Annotations = field(default_factory=Annotations)
    spans: dict[tuple[Matcher, ...], list[tuple[int, int]]] = field(default_factory=dict)
    """Planned before evaluation: what each selector will need, overlapping spans joined."""
    bin_wishes: dict[tuple[Matcher, ...], list[BinWish]] = field(default_factory=dict)
    """The same of what is read as bins."""
    narrow: Mapping[int, Narrow] = field(default_factory=dict)
    """By `id`, the calls of the query that share their work (narrow.py)."""
    wide: dict[tuple[int, int, int, int], Block | None] = field(default_factory=dict)
    """What was worked out for them, by the `id` of the wide call and the grid; None where it is not to be shared."""
    find_resets: bool = False
    """Whether selectors look for resets of histograms, as upstream does below histogram_count, _sum, _avg."""
    busy_left: Callable[[], bool] | None = None
    """Set where the thread must not be held up: then nothing is done that looks at every sample kept, and it says
    whether the thread was busy for less than it may, for the clock runs on while others have the processor."""
    held: int = 0
    """Cells of finished results that have to wait while others are worked out."""
    _fetched: dict[tuple[Matcher, ...], list[Fetched]] = field(default_factory=dict)
    _binned: dict[tuple[Matcher, ...], list[tuple[BinWish, Bins]]] = field(default_factory=dict)
    _loaded: int = 0
    _text: int = 0
    _peak: int = 0
    _read_s: float = 0.0

    def answer(self, value: Value) -> Answer:
        """Return the value with what is to be said about it, and what it cost."""
        spent_s = self.clock_s() - self.began_s
        stats = QueryStats(
            self._loaded, max(self._peak, self._loaded), self._read_s, max(0.0, spent_s - self._read_s)
        )
        return Answer(value, self.annotations.warnings, self.annotations.infos, stats)

    @contextmanager
    def finding_resets(self, wanted: bool) -> Iterator[None]:
        """Set `find_resets` for what is evaluated inside."""
        before, self.find_resets = self.find_resets, wanted
        try:
            yield
        finally:
            self.find_resets = before

    def check_deadline(self) -> None:
        """Raise DeadlineError once the query ran too long, QueryCancelledError once nobody waits for it."""
        if self.cancelled is not never and self.cancelled():
            raise QueryCancelledError("the query was cancelled: who asked does not wait for it any more")
        if self.clock_s() > self.deadline_s and not (self.busy_left and self.busy_left()):
            raise DeadlineError(
                f"a query may run at most {self.settings.deadline_s:g} s; "
                "narrow its selectors, its range or its steps, or raise the engine's deadline_s"
            )

    def check_text(self, characters: int) -> None:
        """Count the characters of a label value that a function made. Raises LimitError past the bound."""
        self._text += characters
        if self._text > LABEL_TEXT_MAX:
            raise LimitError(
                f"functions of a query may make label values of at most {LABEL_TEXT_MAX} characters in all; "
                "take shorter parts in label_replace() and label_join(), or fewer series"
            )

    def check_cells(self, series: int, steps: int) -> None:
        """Raise LimitError if a result of this size, beside what is loaded and held, is too large."""
        cells = series * steps + self._loaded + self.held
        if cells <= self._peak:
            return
        self._peak = cells
        if cells > self.settings.samples_max:
            raise LimitError(
                f"a query may hold at most {self.settings.samples_max} samples, this one needs {cells} "
                f"({series} series x {steps} steps beside {self._loaded + self.held} loaded and held); "
                "aggregate more, take fewer steps, or raise the engine's samples_max"
            )
        self.share.grow_to(cells)

    def check_points(self, points: int) -> None:
        """Raise LimitError if an answer has too many points to be handed out."""
        if points > self.settings.result_points_max:
            raise LimitError(
                f"an answer may have at most {self.settings.result_points_max} points, this one has {points}; "
                "aggregate more, take fewer steps, or raise the engine's result_points_max"
            )

    def fetch(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> Samples:
        """Return the samples of start <= t <= end, possibly more; each planned span is read once."""
        # What nobody planned, nobody else asks for.
        planned = self.spans.get(matchers) if self.spans else None
        if planned is not None:
            for known in self._fetched.get(matchers, ()):
                if known.start_ms <= start_ms and end_ms <= known.end_ms:
                    return known.samples.with_resets() if self.find_resets else known.samples
            for low, high in planned:
                if low <= start_ms and end_ms <= high:
                    start_ms, end_ms = low, high
        self.check_deadline()
        began_s = self.clock_s()
        try:
            read = self.fetcher.read(matchers, start_ms, end_ms)
        except (MatcherError, StoreError) as error:
            raise _as_query_error(error) from error
        finally:
            self._read_s += self.clock_s() - began_s
        samples = read.samples
        self._count(len(samples.labels), read.loaded)
        if planned is not None:
            self._fetched.setdefault(matchers, []).append(Fetched(start_ms, end_ms, samples))
        return samples.with_resets() if self.find_resets else samples

    def cleaned(self, samples: Samples) -> Samples:
        """Return samples without stale markers. Raises NotAtOnceError where that takes too long."""
        if self.busy_left is not None and not samples.cleaned:
            raise NotAtOnceError("stale markers must be taken out first; ask again and wait")
        return samples.clean()

    def fetch_bins(self, matchers: tuple[Matcher, ...], wish: BinWish) -> Bins:
        """Return the bins wished for, possibly more; each planned wish is read once."""
        for known, bins in self._binned.get(matchers, ()):
            if known.holds(wish):
                return bins
        wish = next((each for each in self.bin_wishes.get(matchers, ()) if each.holds(wish)), wish)
        self.check_deadline()
        began_s = self.clock_s()
        try:
            read = self.fetcher.read_bins(matchers, wish)
        except (MatcherError, StoreError) as error:
            raise _as_query_error(error) from error
        finally:
            self._read_s += self.clock_s() - began_s
        self._count(len(read.bins.labels), read.loaded)
        self._binned.setdefault(matchers, []).append((wish, read.bins))
        return read.bins

    def _count(self, series: int, loaded: int) -> None:
        """Count what was read. Raises LimitError, DeadlineError."""
        if series > self.settings.series_max:
            raise LimitError(
                f"a selector may match at most {self.settings.series_max} series, this one matches "
                f"{series}; add matchers, or raise the engine's series_max"
            )
        self._loaded += loaded
        if self._loaded > self.settings.samples_max:
            raise LimitError(
                f"a query may load at most {self.settings.samples_max} samples, this one loads {self._loaded}; "
                "take narrower selectors or shorter ranges, or raise the engine's samples_max"
            )
        self.share.grow_to(self._loaded)
        self.check_deadline()


def _as_query_error(error: MatcherError | StoreError) -> QueryError:
    if isinstance(error, MatcherError):
        return ExecutionError(str(error))
    return UnavailableError(f"reading the store: {error}")
