"""Deltas for receivers that want them: what came since the snapshot that was delivered last.

Nothing is queued: a delivery that fails leaves the next delta larger. So memory is one snapshot, and
only a receiver that took a push and could not say so counts it twice (as with any delta protocol).
What was delivered outlives the exporter (settings may change), and the process where workers share a folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ninesight.buckets import upper_bound
from ninesight.contract import Family, HistogramPoint, HistogramValue, Kind, Labels, NumberPoint, Snapshot

if TYPE_CHECKING:
    from ninesight.workers import Workers

__all__ = ["Delivered", "Deliveries", "Deltas"]

Points = dict[tuple[str, Labels], float | HistogramValue]


class Delivered(Protocol):
    """Keeps the snapshot that was delivered last."""

    def last(self) -> Snapshot | None:
        """Return it; None before the first."""

    def note(self, snapshot: Snapshot) -> None:
        """Keep this one instead. Never raises."""


class Deliveries:
    """Of this process; of all of them together where workers share a folder, for any may push after another."""

    def __init__(self, sharing: Callable[[], Workers | None] = lambda: None) -> None:
        self._sharing = sharing
        self._own: Snapshot | None = None

    def last(self) -> Snapshot | None:
        """Return what was delivered last."""
        workers = self._sharing()
        return self._own if workers is None else workers.delivered()

    def note(self, snapshot: Snapshot) -> None:
        """Keep what was delivered."""
        workers = self._sharing()
        if workers is None:
            self._own = snapshot
        else:
            workers.note_delivered(snapshot)


class Deltas:
    """Takes what was delivered last from the totals. Used by the export thread only."""

    def __init__(self, delivered: Delivered | None = None) -> None:
        self._delivered = delivered or Deliveries()

    def since(self, snapshot: Snapshot) -> Snapshot:
        """Return what came since the last delivery; gauges as they are. Its `start_ns` is that delivery's time."""
        before = self._delivered.last()
        if before is None:
            return snapshot
        known: Points = {}
        for family in before.families:
            for labels, number in family.numbers:
                known[family.name, labels] = number
            for point in family.histograms:
                known[family.name, point.labels] = point.value
        families = tuple(_difference(family, known) for family in snapshot.families)
        return snapshot._replace(start_ns=before.time_ns, families=families)

    def delivered(self, snapshot: Snapshot) -> None:
        """Note that everything up to this snapshot has been taken."""
        self._delivered.note(snapshot)


def _difference(family: Family, known: Points) -> Family:
    if family.kind is Kind.GAUGE:
        return family
    numbers = []
    for labels, number in family.numbers:
        before = known.get((family.name, labels))
        # A total that shrank began anew, as one of another kind did: all of it is new.
        old = isinstance(before, int | float) and before <= number
        numbers.append(NumberPoint(labels, number - before if old else number))  # type: ignore[operator]
    histograms = []
    for point in family.histograms:
        value = known.get((family.name, point.labels))
        less = _less(point.value, value) if isinstance(value, HistogramValue) else point.value
        if less.zero_count < 0 or any(count < 0 for _, count in (*less.positive, *less.negative)):
            less = point.value
        histograms.append(HistogramPoint(point.labels, less, point.exemplars))
    return family._replace(numbers=tuple(numbers), histograms=tuple(histograms))


def _less(now: HistogramValue, before: HistogramValue) -> HistogramValue:
    """Subtract counts. Extremes of the difference are known to a bucket's width."""
    schema = min(now.schema, before.schema)
    finer = (now.schema - schema, before.schema - schema)
    positive = _buckets_less(now.positive, before.positive, *finer)
    negative = _buckets_less(now.negative, before.negative, *finer)
    zeros = now.zero_count - before.zero_count
    low, high = _extremes(now, schema, positive, negative, zeros)
    same_bounds = now.bounds == before.bounds
    return HistogramValue(
        schema=schema,
        count=now.count - before.count,
        sum=now.sum - before.sum,
        low=low,
        high=high,
        zero_threshold=now.zero_threshold,
        zero_count=zeros,
        positive=positive,
        negative=negative,
        # Other bounds (a new version of the app): what lies below them is not known of the difference.
        bounds=now.bounds if same_bounds else (),
        cumulative=tuple(
            after - earlier for after, earlier in zip(now.cumulative, before.cumulative, strict=True)
        )
        if same_bounds
        else (now.count - before.count,),
    )


def _buckets_less(
    now: tuple[tuple[int, int], ...],
    before: tuple[tuple[int, int], ...],
    finer_now: int,
    finer_before: int,
) -> tuple[tuple[int, int], ...]:
    """Subtract; each may be finer than the result by so many schemas."""
    left: dict[int, int] = {}
    for buckets, sign, finer in ((now, 1, finer_now), (before, -1, finer_before)):
        for index, count in buckets:
            place = -(-index >> finer)
            left[place] = left.get(place, 0) + sign * count
    return tuple((index, count) for index, count in sorted(left.items()) if count)


def _extremes(
    now: HistogramValue,
    schema: int,
    positive: tuple[tuple[int, int], ...],
    negative: tuple[tuple[int, int], ...],
    zeros: int,
) -> tuple[float, float]:
    edges = [-upper_bound(index, schema) for index, _ in negative[-1:]]
    edges += [0.0] if zeros else []
    edges += [upper_bound(positive[0][0] - 1, schema)] if positive and not edges else []
    if not edges:
        return 0.0, 0.0
    tops = [upper_bound(index, schema) for index, _ in positive[-1:]]
    tops += [0.0] if zeros else []
    tops += [-upper_bound(negative[0][0] - 1, schema)] if negative and not tops else []
    return max(now.low, edges[0]), min(now.high, tops[0])
