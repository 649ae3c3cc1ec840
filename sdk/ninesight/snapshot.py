"""Everything the process knows, as values that exporters may keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite

from ninesight.contract import Exemplar, Family, HistogramPoint, Labels, NumberPoint
from ninesight.histogram import Histogram
from ninesight.metrics import METRICS
from ninesight.series import ModelSeries
from ninesight.slots import Buffers

__all__ = ["families_of", "gauges_of", "histograms_of"]

Gauges = Mapping[ModelSeries, Mapping[str, float]]
"""Gauges of each series by metric name."""


def histograms_of(series: ModelSeries) -> list[tuple[str, Labels, Histogram]]:
    """Return (metric, labels, histogram) of a series; those that may stay unused only once they were used."""
    labels = series.labels
    found = [("model_request_duration_seconds", labels, series.duration)]
    for stage, histogram in sorted(series.stages.items()):
        found.append(("model_stage_duration_seconds", (*labels, ("stage", stage)), histogram))
    for name, histogram in (
        ("model_time_to_first_token_seconds", series.time_to_first_token),
        ("model_time_per_output_token_seconds", series.time_per_output_token),
        ("model_batch_size", series.batch_size),
    ):
        if histogram.count:
            found.append((name, labels, histogram))
    return found


def gauges_of(all_series: Iterable[ModelSeries]) -> dict[ModelSeries, dict[str, float]]:
    """Ask for the gauges. Hold no lock: a user's callable may ask the SDK something."""
    return {
        series: {name: value for name in list(series.gauges) if (value := _gauge(series, name)) is not None}
        for series in all_series
    }


def families_of(all_series: Iterable[ModelSeries], buffers: Buffers, gauges: Gauges) -> list[Family]:
    """Return the families of the models, in the order of the table. Hold the aggregation lock."""
    numbers: dict[str, list[NumberPoint]] = {}
    histograms: dict[str, list[HistogramPoint]] = {}
    in_flight = _in_flight(buffers)
    for series in all_series:
        for name, labels, value in _numbers(series, in_flight.get(series, 0)):
            numbers.setdefault(name, []).append(NumberPoint(labels, value))
        for name, value in gauges.get(series, {}).items():
            numbers.setdefault(name, []).append(NumberPoint(series.labels, value))
        for name, labels, histogram in histograms_of(series):
            kept = _exemplars(series) if histogram is series.duration else ()
            histograms.setdefault(name, []).append(HistogramPoint(labels, histogram.value(), kept))
    return [
        Family(
            info.name,
            info.kind,
            info.unit,
            info.help,
            tuple(numbers.get(info.name, ())),
            tuple(histograms.get(info.name, ())),
            info.across,
        )
        for info in METRICS.values()
        if info.name in numbers or info.name in histograms
    ]


def _exemplars(series: ModelSeries) -> tuple[Exemplar, ...]:
    return tuple(exemplar for _, exemplar in sorted(series.exemplars.items()))


def _in_flight(buffers: Buffers) -> dict[ModelSeries, int]:
    """Count the calls running now that are no objects: a slot's start is set exactly while its function runs."""
    running: dict[ModelSeries, int] = {}
    slots = [slot for buffer in buffers.threads[:] for slot in buffer.slots[:]]
    points = [slot.point for slot in slots if slot.start is not None]
    flights = buffers.flights
    points += [point for mark, (point, _) in flights.started.copy().items() if mark not in flights.asked]
    for point in points:
        running[point.series] = running.get(point.series, 0) + 1
    return running


def _numbers(series: ModelSeries, in_flight: int) -> Iterable[tuple[str, Labels, float]]:
    labels = series.labels
    for (outcome, served_by), count in sorted(series.requests.items()):
        yield (
            "model_requests_total",
            (*labels, ("outcome", outcome), ("served_by", served_by)),
            float(count),
        )
    yield "model_predictions_total", labels, float(series.predictions)
    yield "model_requests_in_flight", labels, float(in_flight + len(series.running))
    for direction, count in sorted(series.tokens.items()):
        yield "model_tokens_total", (*labels, ("direction", direction)), float(count)
    for (gpu, basis), seconds in sorted(series.accelerator_s.items()):
        yield "model_accelerator_seconds_total", (*labels, ("gpu", gpu), ("basis", basis)), seconds
    for (cache, result), count in sorted(series.cache_lookups.items()):
        yield "model_cache_lookups_total", (*labels, ("cache", cache), ("result", result)), float(count)
    if series.info is not None:
        yield "model_info", (*labels, *sorted(series.info.items())), 1.0


def _gauge(series: ModelSeries, name: str) -> float | None:
    """Ask for a gauge; a user's callable that raises or returns no number is counted, not fatal."""
    told = series.gauges.get(name)
    if told is None or isinstance(told, int | float):
        return told
    try:
        value = float(told())
    except Exception as error:
        series.faults.internal(f"the callable of {name}", error)
        return None
    if not isfinite(value):
        series.faults.refuse(f"{name} must be finite", value, "left out")
        return None
    return value
