"""The totals for `prometheus_client`: exact classic buckets, in text 0.0.4 and OpenMetrics."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ninesight.contract import Exemplar, Family, HistogramValue, Kind, Snapshot
from ninesight.forks import importing

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["NinesightCollector", "classic_buckets"]


def classic_buckets(value: HistogramValue) -> list[tuple[str, float]]:
    """Return (le, cumulative count) of each classic bucket, +Inf last. Counts are exact, not interpolated."""
    bounds = [*map(_bound_text, value.bounds), "+Inf"]
    return list(zip(bounds, map(float, value.cumulative), strict=True))


class NinesightCollector:
    """A custom collector. Each scrape aggregates first, so it answers with every call that has ended."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names appear as models do, and registering must not collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield a metric family each, in the order of the table."""
        for family in self._snapshot().families:
            yield _metric(family)


def _metric(family: Family) -> Metric:
    with importing():
        from prometheus_client.core import Metric

    if family.kind is Kind.COUNTER:
        metric = Metric(family.name.removesuffix("_total"), family.help, "counter")
    elif family.name.endswith("_info"):
        metric = Metric(family.name.removesuffix("_info"), family.help, "info")
    else:
        metric = Metric(family.name, family.help, str(family.kind))
    for number in family.numbers:
        metric.add_sample(family.name, dict(number.labels), number.value)
    for histogram in family.histograms:
        labels = dict(histogram.labels)
        kept = {bisect_left(histogram.value.bounds, item.value): item for item in histogram.exemplars}
        for place, (le, count) in enumerate(classic_buckets(histogram.value)):
            exemplar = _exemplar(kept[place]) if place in kept else None
            metric.add_sample(f"{family.name}_bucket", {**labels, "le": le}, count, exemplar=exemplar)
        metric.add_sample(f"{family.name}_count", labels, float(histogram.value.count))
        metric.add_sample(f"{family.name}_sum", labels, histogram.value.sum)
    return metric


def _exemplar(exemplar: Exemplar) -> Any:
    """OpenMetrics carries it, with the ids as OpenTelemetry writes them; text 0.0.4 leaves it out."""
    with importing():
        from prometheus_client.samples import Exemplar as Sampled

    ids = {"trace_id": f"{exemplar.trace_id:032x}", "span_id": f"{exemplar.span_id:016x}"}
    return Sampled(ids, exemplar.value, exemplar.time_ns / 1e9)


def _bound_text(bound: float) -> str:
    with importing():
        from prometheus_client.utils import floatToGoString

    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return text
