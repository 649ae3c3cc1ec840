"""A snapshot as JSON, for the processes of one server to read each other's. Floats come back to the last bit."""

from __future__ import annotations

import json
from typing import Any

from ninesight.contract import (
    Exemplar,
    Family,
    HistogramPoint,
    HistogramValue,
    Kind,
    Labels,
    NumberPoint,
    Snapshot,
)

__all__ = ["FORMAT", "decode", "encode"]

FORMAT = 1


def encode(snapshot: Snapshot, **more: Any) -> bytes:
    """Return a snapshot, without its resource, and more JSON values beside it."""
    families = [
        [
            family.name,
            str(family.kind),
            family.unit,
            family.help,
            family.across,
            [[point.labels, point.value] for point in family.numbers],
            [[point.labels, _of_histogram(point.value), point.exemplars] for point in family.histograms],
        ]
        for family in snapshot.families
    ]
    whole = {
        "format": FORMAT,
        "start_ns": snapshot.start_ns,
        "time_ns": snapshot.time_ns,
        "families": families,
    }
    return json.dumps({**whole, **more}, separators=(",", ":")).encode()


def decode(data: bytes) -> tuple[Snapshot, dict[str, Any]]:
    """Return the snapshot and what lies beside it. Raises ValueError for anything that `encode` did not make."""
    try:
        whole = json.loads(data)
        if whole["format"] != FORMAT:
            raise ValueError(f"format must be {FORMAT}, got {whole['format']!r}")
        families = tuple(map(_family, whole["families"]))
        return Snapshot(int(whole["start_ns"]), int(whole["time_ns"]), {}, families), whole
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a snapshot: {type(error).__name__} {error}") from None


def _of_histogram(value: HistogramValue) -> list[Any]:
    return [
        value.schema,
        value.count,
        value.sum,
        value.low,
        value.high,
        value.zero_threshold,
        value.zero_count,
        value.positive,
        value.negative,
        value.bounds,
        value.cumulative,
    ]


def _family(row: Any) -> Family:
    name, kind, unit, help_text, across, numbers, histograms = row
    return Family(
        name,
        Kind(kind),
        unit,
        help_text,
        tuple(NumberPoint(_labels(labels), float(value)) for labels, value in numbers),
        tuple(map(_point, histograms)),
        across,
    )


def _point(row: Any) -> HistogramPoint:
    labels, value, exemplars = row
    kept = (Exemplar(float(v), int(t), int(trace_id), int(span_id)) for v, t, trace_id, span_id in exemplars)
    return HistogramPoint(_labels(labels), _histogram(value), tuple(kept))


def _labels(pairs: Any) -> Labels:
    return tuple((str(name), str(value)) for name, value in pairs)


def _histogram(row: Any) -> HistogramValue:
    schema, count, total, low, high, zero_threshold, zero_count, positive, negative, bounds, cumulative = row
    return HistogramValue(
        schema=int(schema),
        count=int(count),
        sum=float(total),
        low=float(low),
        high=float(high),
        zero_threshold=float(zero_threshold),
        zero_count=int(zero_count),
        positive=tuple((int(index), int(counted)) for index, counted in positive),
        negative=tuple((int(index), int(counted)) for index, counted in negative),
        bounds=tuple(map(float, bounds)),
        cumulative=tuple(map(int, cumulative)),
    )
