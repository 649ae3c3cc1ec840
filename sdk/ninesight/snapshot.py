"""Everything the process knows, as values that exporters may keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite

from ninesight.contract import Family, HistogramPoint, Labels, NumberPoint
from ninesight.histogram import Histogram
from ninesight.metrics import METRICS
from ninesight.series import ModelSeries
from ninesight.slots import Buffers

__all__ = ["depths_of", "families_of", "histograms_of"]


def histograms_of(series: ModelSeries) -> list[tuple[str, Labels, Histogram]]:
    """Return (metric, labels, histogram) of a series; those that may stay unused only once they were used."""
    labels = _labels(series)
    found = [("model_request_duration_seconds", labels, series.duration)]
    for stage, histogram in sorted(series.stages.items()):
        found.append(("model_stage_duration_seconds", (*labels, ("stage", stage)), histogram))
    if series.batch_size.count:
        found.append(("model_batch_size", labels, series.batch_size))
    return found


def depths_of(all_series: Iterable[ModelSeries]) -> dict[ModelSeries, float]:
    """Ask for the queue depths. Hold no lock: a user's callable may ask the SDK something."""
    depths = ((series, _depth(series)) for series in all_series)
    return {series: depth for series, depth in depths if depth is not None}


def families_of(
    all_series: Iterable[ModelSeries], buffers: Buffers, depths: Mapping[ModelSeries, float]
) -> list[Family]:
    """Return the families of the models, in the order of the table. Hold the aggregation lock."""
    numbers: dict[str, list[NumberPoint]] = {}
    histograms: dict[str, list[HistogramPoint]] = {}
    plain = _plain_in_flight(buffers)
    for series in all_series:
        for name, labels, value in _numbers(series, plain.get(series, 0), depths.get(series)):
            numbers.setdefault(name, []).append(NumberPoint(labels, value))
        for name, labels, histogram in histograms_of(series):
            histograms.setdefault(name, []).append(HistogramPoint(labels, histogram.value()))
    return [
        Family(
            info.name,
            info.kind,
            info.unit,
            info.help,
            tuple(numbers.get(info.name, ())),
            tuple(histograms.get(info.name, ())),
        )
        for info in METRICS.values()
        if info.name in numbers or info.name in histograms
    ]


def _labels(series: ModelSeries) -> Labels:
    return (("model", series.model), ("version", series.version))


def _plain_in_flight(buffers: Buffers) -> dict[ModelSeries, int]:
    """Count the plain calls running now: a slot's start is set exactly while its function runs."""
    running: dict[ModelSeries, int] = {}
    for buffer in buffers.threads[:]:
        for slot in buffer.slots[:]:
            if slot.start is not None:
                running[slot.point.series] = running.get(slot.point.series, 0) + 1
    return running


def _numbers(
    series: ModelSeries, plain_in_flight: int, depth: float | None
) -> Iterable[tuple[str, Labels, float]]:
    labels = _labels(series)
    for (outcome, served_by), count in sorted(series.requests.items()):
        yield (
            "model_requests_total",
            (*labels, ("outcome", outcome), ("served_by", served_by)),
            float(count),
        )
    yield "model_predictions_total", labels, float(series.predictions)
    yield "model_requests_in_flight", labels, float(plain_in_flight + len(series.running))
    for gpu, seconds in sorted(series.accelerator_s.items()):
        yield "model_accelerator_seconds_total", (*labels, ("gpu", gpu)), seconds
    if depth is not None:
        yield "model_queue_depth", labels, depth
    if series.load_duration_s is not None:
        yield "model_load_duration_seconds", labels, series.load_duration_s
    if series.ready is not None:
        yield "model_ready", labels, float(series.ready)
    if series.info is not None:
        yield "model_info", (*labels, *sorted(series.info.items())), 1.0


def _depth(series: ModelSeries) -> float | None:
    """Ask for the queue depth; a user's callable that raises or returns no number is counted, not fatal."""
    depth = series.queue_depth
    if depth is None or isinstance(depth, int | float):
        return depth
    try:
        value = float(depth())
    except Exception as error:
        series.faults.internal("the queue_depth callable", error)
        return None
    if not isfinite(value):
        series.faults.refuse("queue depth must be finite", value, "left out")
        return None
    return value
