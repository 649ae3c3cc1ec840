"""Exemplars as the store takes them: which ones fit, and plain values of columns.

OpenMetrics bounds an exemplar's labels to 128 characters, names and values together. One that does not fit is
left out and counted; the batch around it is kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from ninesight_store.contract import Exemplar, ExemplarColumns, Labels

__all__ = ["LABEL_CHARACTERS_MAX", "fitting", "identity", "newest", "ordered"]

LABEL_CHARACTERS_MAX = 128


def fitting(columns: ExemplarColumns) -> Iterator[tuple[int, Exemplar]]:
    """Yield (row of the series table, exemplar) of those that fit, labels sorted."""
    rows = zip(
        columns.series.tolist(),
        columns.timestamps.tolist(),
        columns.values.tolist(),
        columns.labels,
        strict=True,
    )
    for series, time, value, labels in rows:
        if _fits(labels):
            yield series, Exemplar(tuple(sorted(labels)), value, time)


def ordered(found: Iterable[Exemplar]) -> tuple[Exemplar, ...]:
    """Return exemplars by ascending timestamp; of one timestamp by labels and value."""
    return tuple(sorted(found, key=identity))


def identity(one: Exemplar) -> tuple[int, Labels, bytes]:
    """Return what makes two exemplars the same one, and orders them: NaN, bit for bit, equals itself."""
    return one.timestamp_ms, one.labels, struct.pack(">d", one.value)


def newest(found: Iterable[Exemplar], most: int) -> tuple[Exemplar, ...]:
    """Return the last `most` of them, ascending."""
    every = ordered(found)
    return every[max(0, len(every) - most) :]


def _fits(labels: Labels) -> bool:
    try:
        size = sum(len(name) + len(value) for name, value in labels)
        "".join(name + value for name, value in labels).encode()
    except (TypeError, ValueError, AttributeError):
        return False
    names = {name for name, _ in labels}
    return size <= LABEL_CHARACTERS_MAX and len(names) == len(labels) and "" not in names
