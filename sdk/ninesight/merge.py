"""Several processes' snapshots as one: counters and histograms are summed, gauges as their family says."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from ninesight.contract import Exemplar, Family, HistogramPoint, Kind, NumberPoint, Snapshot
from ninesight.histogram import Histogram

__all__ = ["counts_only", "merged"]

_ACROSS: dict[str, Callable[[float, float], float]] = {
    "sum": lambda one, other: one + other,
    "max": max,
    "min": min,
}


def merged(
    snapshots: Iterable[Snapshot], *, buckets_max: int = 1024, refused: Callable[[str], None] = lambda _: None
) -> Snapshot:
    """Return one snapshot of all; resource and time are the first one's, the start is the earliest.

    A histogram whose classic bounds differ from an earlier one's of the same labels cannot be added:
    it is left out, and `refused` is told its name.
    """
    first, *others = snapshots
    families = {family.name: family for family in first.families}
    start_ns = first.start_ns
    for snapshot in others:
        start_ns = min(start_ns, snapshot.start_ns)
        for family in snapshot.families:
            known = families.get(family.name)
            families[family.name] = family if known is None else _both(known, family, buckets_max, refused)
    return Snapshot(start_ns, first.time_ns, first.resource, tuple(families.values()))


def counts_only(snapshot: Snapshot) -> Snapshot:
    """Return what outlives its process: counters and histograms."""
    families = tuple(family for family in snapshot.families if family.kind is not Kind.GAUGE)
    return snapshot._replace(families=families)


def _both(one: Family, other: Family, buckets_max: int, refused: Callable[[str], None]) -> Family:
    if one.kind is not other.kind:
        refused(one.name)
        return one
    add = _ACROSS[one.across] if one.kind is Kind.GAUGE and one.across in _ACROSS else _ACROSS["sum"]
    numbers = dict(one.numbers)
    for labels, number in other.numbers:
        numbers[labels] = add(numbers[labels], number) if labels in numbers else number
    histograms = {point.labels: point for point in one.histograms}
    for point in other.histograms:
        known = histograms.get(point.labels)
        if known is None:
            histograms[point.labels] = point
        elif known.value.bounds == point.value.bounds:
            histograms[point.labels] = _sum(known, point, buckets_max)
        else:
            refused(one.name)
    return one._replace(
        numbers=tuple(NumberPoint(*item) for item in numbers.items()),
        histograms=tuple(histograms.values()),
    )


def _sum(one: HistogramPoint, other: HistogramPoint, buckets_max: int) -> HistogramPoint:
    whole = Histogram.of(one.value, buckets_max=buckets_max)
    whole.merge(Histogram.of(other.value, buckets_max=buckets_max))
    latest: dict[int, Exemplar] = {}
    for exemplar in sorted((*one.exemplars, *other.exemplars), key=lambda item: item.time_ns):
        latest[bisect_left(whole.bounds, exemplar.value)] = exemplar
    return HistogramPoint(one.labels, whole.value(), tuple(item for _, item in sorted(latest.items())))
