"""Numbers, names and labels as the export formats write them; what a writer of a format counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ninesight_store.contract import STALE_BITS, Columns, Exemplar, Float64, Labels

__all__ = ["Counted", "SeriesWriter", "escaped", "json_number", "metric_name", "number", "plain", "seconds"]


@dataclass
class Counted:
    """What a writer wrote, and what its format cannot hold."""

    samples: int = 0
    points: int = 0
    exemplars: int = 0
    points_left_out: int = 0
    stale_left_out: int = 0
    starts_left_out: int = 0
    exemplars_left_out: int = 0


class SeriesWriter(Protocol):
    """Writes series after series in one format."""

    counted: Counted

    def series(self, columns: Columns, row: int, exemplars: tuple[Exemplar, ...]) -> None:
        """Write one series."""

    def lone(self, labels: Labels, exemplars: tuple[Exemplar, ...]) -> None:
        """Write the exemplars of a series without samples in the span."""

    def end(self) -> None:
        """Write what closes the format."""


def metric_name(labels: Labels) -> str:
    """Return the metric's name, "" if there is none."""
    return next((value for name, value in labels if name == "__name__"), "")


def plain(values: Float64) -> list[float]:
    """Return values as Python floats."""
    return [float(value) for value in values.tolist()]


def json_number(value: float) -> float | str:
    """Return a number as JSON can hold it: words for what is not finite."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "stale" if int(np.float64(value).view(np.uint64)) == STALE_BITS else "NaN"
    return "+Inf" if value > 0 else "-Inf"


def number(value: float) -> str:
    """Return a number as the exposition formats write it."""
    return repr(value) if math.isfinite(value) else str(json_number(value))


def seconds(time_ms: int) -> str:
    """Return milliseconds as exact seconds."""
    sign, size = "-" if time_ms < 0 else "", abs(time_ms)
    return f"{sign}{size // 1000}.{size % 1000:03d}" if size % 1000 else f"{sign}{size // 1000}"


def escaped(text: str) -> str:
    """Return text as it stands between quotes."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
