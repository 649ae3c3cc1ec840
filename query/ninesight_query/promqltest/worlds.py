"""Other worlds for the same script.

`Scattered` is a store whose samples lie hot, sealed and merged; `Halves` an engine that asks each range as two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
from ninesight_store import Cover, Rollup
from ninesight_store.contract import (
    Batch,
    Columns,
    Int64,
    Labels,
    Matcher,
    Metadata,
    SeriesExemplars,
    Sink,
    Source,
)
from ninesight_store.histograms import take_histograms

from ninesight_query.contract import Answer, Capabilities, Engine, Matrix

__all__ = ["AsWritten", "Halves", "Keeping", "Kept", "Maintained", "Rolled", "Scattered", "Summing"]

_LATER_MS = 1 << 50
_FINE_EDGES_MAX = 200


class Maintained(Sink, Source, Protocol):
    """A store that seals and merges when it is told to."""

    def seal(self, now_ms: int | None = None) -> object:
        """Compress what is closed at `now_ms`."""

    def merge(self, now_ms: int | None = None) -> object:
        """Join what is sealed and closed at `now_ms`."""


class Keeping(Maintained, Protocol):
    """One that also keeps what it read."""

    def cover(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Cover:
        """Return the selector's samples of at least the span, as matrices."""


class Scattered:
    """Writes each batch in four: the two oldest parts end merged, the next sealed, the newest hot.

    Within one hour too: a later part meets the sealed hour as late samples. Samples of one time stay together.
    """

    def __init__(self, store: Maintained) -> None:
        self._store = store

    def write(self, batch: Batch) -> None:
        """Keep the batch in four parts."""
        floats, points = batch.timestamps, batch.histograms.timestamps
        times = np.concatenate((floats, points))
        edges = np.quantile(times, [0.25, 0.5, 0.75], method="nearest") if len(times) else np.zeros(3)
        parts = [
            _part(batch, np.searchsorted(edges, floats) == k, np.searchsorted(edges, points) == k)
            for k in range(4)
        ]
        for k, part in enumerate(parts):
            self._store.write(part)
            if k < 3:
                self._store.seal(_LATER_MS)
            if k == 1:
                self._store.merge(_LATER_MS)

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Columns:
        """Read all parts."""
        return self._store.select(matchers, start_ms, end_ms)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> tuple[Labels, ...]:
        """Return the series of all parts."""
        return self._store.series(matchers, start_ms, end_ms)

    def metadata(self) -> Iterable[Metadata]:
        """Return what is known of each metric."""
        return self._store.metadata()


class Summing(Maintained, Protocol):
    """One that also sums samples up."""

    def rollup(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, edges: Int64, columns: Collection[str]
    ) -> Rollup:
        """Return the selector's samples within the span as bins."""


class Rolled(Scattered):
    """The same, read as bins of at most `width_ms`: windows hold several, and their edges fall between any two."""

    def __init__(self, store: Summing, width_ms: int) -> None:
        super().__init__(store)
        self._rolling, self._width_ms = store.rollup, width_ms
        self.asked = 0
        """How often bins were read."""

    def rollup(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, edges: Int64, columns: Collection[str]
    ) -> Rollup:
        """Cut bins at the edges asked for and at every multiple of the width near the span's ends."""
        self.asked += 1
        few = range(-_FINE_EDGES_MAX // 2, _FINE_EDGES_MAX // 2)
        near = [(at // self._width_ms + k) * self._width_ms for at in (start_ms, end_ms) for k in few]
        finer = np.union1d(edges, np.array(near, np.int64))
        return self._rolling(matchers, start_ms, end_ms, finer, columns)


class Kept(Scattered):
    """The same, read through what the store keeps in memory between queries."""

    def __init__(self, store: Keeping) -> None:
        super().__init__(store)
        self.cover = store.cover


def _part(batch: Batch, floats: npt.NDArray[np.bool_], points: npt.NDArray[np.bool_]) -> Batch:
    return replace(
        batch,
        series_index=batch.series_index[floats],
        timestamps=batch.timestamps[floats],
        values=batch.values[floats],
        start_timestamps=None if batch.start_timestamps is None else batch.start_timestamps[floats],
        histograms=take_histograms(batch.histograms, np.flatnonzero(points)),
    )


class AsWritten:
    """An engine that is only asked as it is written: without `pinned`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def capabilities(self) -> Capabilities:
        """Those of the engine."""
        return self._engine.capabilities

    def instant(self, query: str, at_ms: int) -> Answer:
        """Ask the engine."""
        return self._engine.instant(query, at_ms)

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """Ask the engine."""
        return self._engine.range(query, start_ms, end_ms, step_ms)

    def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[Labels, ...]:
        """Ask the engine."""
        return self._engine.series(selectors, start_ms, end_ms)

    def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Ask the engine."""
        return self._engine.label_names(selectors, start_ms, end_ms)

    def label_values(
        self, name: str, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[str, ...]:
        """Ask the engine."""
        return self._engine.label_values(name, selectors, start_ms, end_ms)

    def metadata(self) -> tuple[Metadata, ...]:
        """Ask the engine."""
        return self._engine.metadata()

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> tuple[SeriesExemplars, ...]:
        """Ask the engine."""
        return self._engine.exemplars(selectors, start_ms, end_ms)


class Halves(AsWritten):
    """Evaluates a range as two, the second after the first, and puts the answers together."""

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """Ask for the first half of the steps, then for the rest."""
        steps = (end_ms - start_ms) // step_ms + 1
        if steps < 2:
            return super().range(query, start_ms, end_ms, step_ms)
        middle_ms = start_ms + (steps // 2) * step_ms
        first = super().range(query, start_ms, middle_ms - step_ms, step_ms)
        second = super().range(query, middle_ms, end_ms, step_ms)
        assert isinstance(first.value, Matrix)
        assert isinstance(second.value, Matrix)
        return Answer(
            _joined(first.value, second.value),
            tuple(dict.fromkeys(first.warnings + second.warnings)),
            tuple(dict.fromkeys(first.infos + second.infos)),
        )


def _joined(first: Matrix, second: Matrix) -> Matrix:
    labels = tuple(sorted({*first.labels, *second.labels}))
    row_of = {name: row for row, name in enumerate(labels)}
    shape = (len(labels), len(first.timestamps) + len(second.timestamps))
    values, present, histograms = np.zeros(shape), np.zeros(shape, np.bool_), {}
    for part, start in ((first, 0), (second, len(first.timestamps))):
        columns = slice(start, start + len(part.timestamps))
        for row, name in enumerate(part.labels):
            values[row_of[name], columns] = part.values[row]
            present[row_of[name], columns] = part.present[row]
        for (row, step), point in part.histograms.items():
            histograms[row_of[part.labels[row]], start + step] = point
    return Matrix(np.concatenate((first.timestamps, second.timestamps)), labels, values, present, histograms)
