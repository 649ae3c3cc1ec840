"""Several processes' snapshots as one: counters and histograms are summed, gauges as their family says."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from ninesight.contract import OTHER, Exemplar, Family, HistogramPoint, Kind, Labels, NumberPoint, Snapshot
from ninesight.histogram import Histogram

__all__ = ["bounded", "counts_only", "merged"]

_WORDS = frozenset(("outcome", "served_by", "direction", "result", "basis"))
"""Labels whose values are words of ours: they cannot grow in number."""

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


def bounded(snapshot: Snapshot, points_max: int, *, buckets_max: int = 1024) -> Snapshot:
    """Return a snapshot with at most about `points_max` points a family: the first stay, the rest are `__other__`.

    Budgets hold within a process; this holds over any number of them. Sums are kept.
    """
    families = (
        _cut(family, points_max, buckets_max)
        if len(family.numbers) + len(family.histograms) > points_max
        else family
        for family in snapshot.families
    )
    return snapshot._replace(families=tuple(families))


def _cut(family: Family, points_max: int, buckets_max: int) -> Family:
    """Keep the first points, and the sum of the others as `__other__`. A family holds points of one sort."""
    numbers: dict[Labels, float] = {}
    for labels, number in family.numbers[points_max:]:
        place = _other(labels)
        numbers[place] = numbers.get(place, 0.0) + number
    histograms: dict[Labels, HistogramPoint] = {}
    for point in family.histograms[points_max:]:
        moved = point._replace(labels=_other(point.labels))
        known = histograms.get(moved.labels)
        histograms[moved.labels] = moved if known is None else _sum(known, moved, buckets_max)
    kept = family._replace(numbers=family.numbers[:points_max], histograms=family.histograms[:points_max])
    rest = family._replace(
        numbers=tuple(NumberPoint(*item) for item in numbers.items()), histograms=tuple(histograms.values())
    )
    return _both(kept, rest, buckets_max, lambda _: None)


def _other(labels: Labels) -> Labels:
    return tuple((name, value if name in _WORDS else OTHER) for name, value in labels)


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
