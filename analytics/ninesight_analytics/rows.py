"""Read an engine's answers: one row per series, labels as a mapping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ninesight_query.contract import Answer, Engine, Scalar, Vector
from ninesight_query.histogram import Histogram

from ninesight_analytics.contract import Key

__all__ = ["Row", "ask", "key_of", "number", "rows", "totals"]


@dataclass(frozen=True, slots=True)
class Row:
    """One series of an instant answer."""

    labels: Mapping[str, str]
    value: float
    histogram: Histogram | None = None

    @property
    def simulated(self) -> bool:
        """True where the series says so."""
        return self.labels.get("simulated") == "true"


def ask(engine: Engine, query: str, at_ms: int) -> list[Row]:
    """Ask for one time and return the rows. Raises QueryError."""
    return list(rows(engine.instant(query, at_ms)))


def rows(answer: Answer) -> Iterator[Row]:
    """Return the rows of a vector; a NaN is no figure and is left out."""
    value = answer.value
    if isinstance(value, Scalar):
        if not math.isnan(value.value):
            yield Row({}, value.value)
        return
    if not isinstance(value, Vector):
        raise TypeError(f"an instant query must give a vector or a scalar, got {type(value).__name__}")
    for index, labels in enumerate(value.labels):
        if (histogram := value.histograms.get(index)) is not None:
            yield Row(dict(labels), math.nan, histogram)
        elif not math.isnan(number := float(value.values[index])):
            yield Row(dict(labels), number)


def number(engine: Engine, query: str, at_ms: int) -> float | None:
    """Return the one number a query gives, None where it gives nothing."""
    found = ask(engine, query, at_ms)
    return math.fsum(row.value for row in found) if found else None


def key_of(row: Row, by: Sequence[str]) -> Key:
    """Return the row's values of the `by` labels; a missing label is ""."""
    return tuple(row.labels.get(name, "") for name in by)


def totals(found: Iterable[Row], by: Sequence[str]) -> dict[Key, float]:
    """Add up the rows of each key."""
    sums: dict[Key, float] = {}
    for row in found:
        key = key_of(row, by)
        sums[key] = sums.get(key, 0.0) + row.value
    return sums
