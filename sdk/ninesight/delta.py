"""Deltas for receivers that want them: what came since the snapshot that was delivered last.

Nothing is queued: a delivery that fails leaves the next delta larger. So memory is one snapshot, and
only a receiver that took a push and could not say so counts it twice (as with any delta protocol).
"""

from __future__ import annotations

from ninesight.buckets import upper_bound
from ninesight.contract import Family, HistogramPoint, HistogramValue, Kind, Labels, NumberPoint, Snapshot

__all__ = ["Deltas"]

Points = dict[tuple[str, Labels], float | HistogramValue]


class Deltas:
    """Remembers the snapshot delivered last. Used by the export thread only."""

    def __init__(self) -> None:
        self._delivered: Snapshot | None = None

    def since(self, snapshot: Snapshot) -> Snapshot:
        """Return what came since the last delivery; gauges as they are. Its `start_ns` is that delivery's time."""
        before = self._delivered
        if before is None or before.start_ns != snapshot.start_ns:
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
        self._delivered = snapshot


def _difference(family: Family, known: Points) -> Family:
    if family.kind is Kind.GAUGE:
        return family
    numbers = []
    for labels, number in family.numbers:
        before = known.get((family.name, labels), 0.0)
        assert isinstance(before, int | float), "a metric does not change its kind"
        # A total that shrank began anew: all of it is new.
        numbers.append(NumberPoint(labels, number - before if before <= number else number))
    histograms = []
    for point in family.histograms:
        value = known.get((family.name, point.labels))
        assert value is None or isinstance(value, HistogramValue), "a metric does not change its kind"
        if value is not None and value.count <= point.value.count:
            point = HistogramPoint(point.labels, _less(point.value, value), point.exemplars)  # noqa: PLW2901
        histograms.append(point)
    return family._replace(numbers=tuple(numbers), histograms=tuple(histograms))


def _less(now: HistogramValue, before: HistogramValue) -> HistogramValue:
    """Subtract counts. Extremes of the difference are known to a bucket's width."""
    positive = _buckets_less(now.positive, before.positive, before.schema - now.schema)
    negative = _buckets_less(now.negative, before.negative, before.schema - now.schema)
    zeros = now.zero_count - before.zero_count
    low, high = _extremes(now, positive, negative, zeros)
    return HistogramValue(
        schema=now.schema,
        count=now.count - before.count,
        sum=now.sum - before.sum,
        low=low,
        high=high,
        zero_threshold=now.zero_threshold,
        zero_count=zeros,
        positive=positive,
        negative=negative,
        bounds=now.bounds,
        cumulative=tuple(
            after - earlier for after, earlier in zip(now.cumulative, before.cumulative, strict=True)
        ),
    )


def _buckets_less(
    now: tuple[tuple[int, int], ...], before: tuple[tuple[int, int], ...], coarser: int
) -> tuple[tuple[int, int], ...]:
    """Subtract; the earlier buckets may be finer by so many schemas."""
    left = dict(now)
    for index, count in before:
        place = -(-index >> coarser)
        left[place] = left.get(place, 0) - count
    return tuple((index, count) for index, count in sorted(left.items()) if count)


def _extremes(
    now: HistogramValue,
    positive: tuple[tuple[int, int], ...],
    negative: tuple[tuple[int, int], ...],
    zeros: int,
) -> tuple[float, float]:
    edges = [-upper_bound(index, now.schema) for index, _ in negative[-1:]]
    edges += [0.0] if zeros else []
    edges += [upper_bound(positive[0][0] - 1, now.schema)] if positive and not edges else []
    if not edges:
        return 0.0, 0.0
    tops = [upper_bound(index, now.schema) for index, _ in positive[-1:]]
    tops += [0.0] if zeros else []
    tops += [-upper_bound(negative[0][0] - 1, now.schema)] if negative and not tops else []
    return max(now.low, edges[0]), min(now.high, tops[0])
