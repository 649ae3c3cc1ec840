"""Hand-written samples as batches, and columns as plain Python: for tests and examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ninesight_store.contract import (
    Batch,
    Columns,
    ExemplarColumns,
    Float64,
    HistogramColumns,
    Labels,
    Metadata,
    ResetHint,
    SeriesTable,
    labels_of,
)
from ninesight_store.histograms import arrays_of, offsets_of

__all__ = ["Point", "batch_of", "bits_of", "exemplars_of", "histograms_of", "samples_of"]


@dataclass(frozen=True)
class Point:
    """One native-histogram point, written by hand. Buckets are absolute counts under Prometheus indexes."""

    count: float
    sum: float
    positive: Mapping[int, float] = field(default_factory=dict)
    negative: Mapping[int, float] = field(default_factory=dict)
    schema: int = 3
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    bounds: tuple[float, ...] = ()
    hint: ResetHint = ResetHint.UNKNOWN


def histograms_of(rows: Sequence[tuple[int, int, Point]]) -> HistogramColumns:
    """Return columns of (series row, timestamp in ms, point) rows, in this order."""
    points = [point for _, _, point in rows]

    def floats(numbers: Iterable[float]) -> Float64:
        return np.array(list(numbers), np.float64)

    positive = [sorted(point.positive.items()) for point in points]
    negative = [sorted(point.negative.items()) for point in points]
    return HistogramColumns(
        series=np.array([series for series, _, _ in rows], np.int32),
        timestamps=np.array([time for _, time, _ in rows], np.int64),
        schema=np.array([point.schema for point in points], np.int32),
        hint=np.array([point.hint for point in points], np.int32),
        count=floats(point.count for point in points),
        sum=floats(point.sum for point in points),
        zero_threshold=floats(point.zero_threshold for point in points),
        zero_count=floats(point.zero_count for point in points),
        positive_offsets=offsets_of(np.array([len(buckets) for buckets in positive], np.int64)),
        positive_index=np.array([index for buckets in positive for index, _ in buckets], np.int32),
        positive_count=floats(count for buckets in positive for _, count in buckets),
        negative_offsets=offsets_of(np.array([len(buckets) for buckets in negative], np.int64)),
        negative_index=np.array([index for buckets in negative for index, _ in buckets], np.int32),
        negative_count=floats(count for buckets in negative for _, count in buckets),
        bounds_offsets=offsets_of(np.array([len(point.bounds) for point in points], np.int64)),
        bounds=floats(bound for point in points for bound in point.bounds),
    )


def batch_of(
    samples: Mapping[Labels | str, Sequence[tuple[int, float | Point]]], metadata: Sequence[Metadata] = ()
) -> Batch:
    """Return a batch of hand-written samples: series (or metric name) -> (timestamp in ms, value or `Point`)."""
    table = SeriesTable(tuple(labels_of(key) if isinstance(key, str) else key for key in samples))
    floats: list[tuple[int, int, float]] = []
    points: list[tuple[int, int, Point]] = []
    for row, pairs in enumerate(samples.values()):
        for time, value in pairs:
            if isinstance(value, Point):
                points.append((row, time, value))
            else:
                floats.append((row, time, value))
    return Batch(
        table,
        np.array([row for row, _, _ in floats], np.int32),
        np.array([time for _, time, _ in floats], np.int64),
        np.array([value for _, _, value in floats], np.float64),
        histograms_of(points),
        tuple(metadata),
    )


def exemplars_of(rows: Sequence[tuple[int, Mapping[str, str], float, int]]) -> ExemplarColumns:
    """Return columns of (series row, labels, value, timestamp in ms) rows, in this order."""
    return ExemplarColumns(
        np.array([row for row, _, _, _ in rows], np.int32),
        np.array([time for _, _, _, time in rows], np.int64),
        np.array([value for _, _, value, _ in rows], np.float64),
        tuple(tuple(labels.items()) for _, labels, _, _ in rows),
    )


def samples_of(columns: Columns) -> dict[Labels, list[tuple[int, float]]]:
    """Return the float samples as plain Python: series -> (timestamp in ms, value) pairs."""
    times, values, offsets = columns.timestamps.tolist(), columns.values.tolist(), columns.offsets.tolist()
    return {
        labels: list(zip(times[low:high], values[low:high], strict=True))
        for labels, low, high in zip(columns.labels, offsets[:-1], offsets[1:], strict=True)
    }


def bits_of(columns: Columns) -> dict[str, object]:
    """Return everything in the columns in a form that `==` compares bit by bit (NaN equals itself)."""
    arrays = {
        name: getattr(columns, name) for name in ("offsets", "timestamps", "values", "histogram_offsets")
    }
    if columns.start_timestamps is not None:
        arrays["start_timestamps"] = columns.start_timestamps
    arrays |= {f"histograms.{name}": array for name, array in arrays_of(columns.histograms).items()}
    return {"labels": columns.labels} | {
        name: (array.dtype.str, array.view(f"u{array.itemsize}").tolist()) for name, array in arrays.items()
    }
