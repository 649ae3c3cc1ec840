"""What goes out in one request: time series with their samples, whichever version will carry them.

    Batch ──parts_of──► Outgoing per shard ──encode──► 2.0 bytes (spooled)
    spooled bytes ──outgoing_of──► Outgoing ──encode──► 1.0 bytes

A message is one time series of a request; it holds float samples or histograms, never both (2.0 forbids it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import (
    Batch,
    ExemplarColumns,
    Float64,
    HistogramColumns,
    Int32,
    Int64,
    Labels,
    Metadata,
)
from ninesight_store.histograms import take_histograms, with_series

__all__ = ["Outgoing", "Part", "parts_of", "without_empty"]


def _no_times() -> Int64:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Outgoing:
    """Time series of one request, side by side."""

    labels: Sequence[Labels]
    """One a message."""
    owner: Int64 = field(default_factory=_no_times)
    """[N] message of each float sample, ascending."""
    timestamps: Int64 = field(default_factory=_no_times)
    values: Float64 = field(default_factory=lambda: np.zeros(0))
    start_timestamps: Int64 | None = None
    histograms: HistogramColumns = field(default_factory=HistogramColumns)
    """`series` is the message, ascending."""
    exemplars: ExemplarColumns = field(default_factory=ExemplarColumns)
    """`series` is the message, ascending."""
    metadata: Sequence[Metadata | None] = ()
    """One a message, or empty for none at all."""
    shape: bytes | None = None
    """Equal for equal labels and metadata: what was made of them may be used again."""

    @cached_property
    def samples(self) -> int:
        """Floats and histograms together."""
        return len(self.timestamps) + len(self.histograms)


@dataclass(frozen=True, slots=True)
class Part:
    """One request's share of a batch."""

    shard: int
    outgoing: Outgoing


def parts_of(
    batch: Batch,
    shard_of_row: Int32,
    samples_max: int,
    metadata: Sequence[Metadata | None],
    shape: bytes,
) -> Iterator[Part]:
    """Cut a batch into requests: by shard, samples of a series by time, at most `samples_max` each.

    `metadata` has one entry a row of the batch's series table; `shape` stands for both.
    """
    floats, points = batch.series_index, batch.histograms
    by_float, by_point = shard_of_row[floats], shard_of_row[points.series]
    by_exemplar = shard_of_row[batch.exemplars.series]
    counts = np.bincount(np.concatenate((by_float, by_point, by_exemplar)))
    for shard in np.flatnonzero(counts).tolist():
        rows = _ascending(np.flatnonzero(by_float == shard), floats, batch.timestamps)
        point_rows = _ascending(np.flatnonzero(by_point == shard), points.series, points.timestamps)
        exemplars = np.flatnonzero(by_exemplar == shard)
        while len(rows) or len(point_rows) or len(exemplars):
            room = max(0, samples_max - len(rows))
            part = _Cut(batch, rows[:samples_max], point_rows[:room], exemplars, metadata)
            yield Part(shard, part.outgoing(shape))
            rows, point_rows, exemplars = rows[samples_max:], point_rows[room:], exemplars[:0]


def without_empty(outgoing: Outgoing) -> Outgoing:
    """Return the same without messages that hold nothing: 2.0 forbids them."""
    used = np.zeros(len(outgoing.labels), np.bool_)
    for owner in (outgoing.owner, outgoing.histograms.series, outgoing.exemplars.series):
        used[owner] = True
    if used.all():
        return outgoing
    place = np.cumsum(used) - 1
    kept = np.flatnonzero(used).tolist()
    return replace(
        outgoing,
        labels=[outgoing.labels[row] for row in kept],
        owner=place[outgoing.owner],
        histograms=with_series(outgoing.histograms, place[outgoing.histograms.series].astype(np.int32)),
        exemplars=replace(outgoing.exemplars, series=place[outgoing.exemplars.series].astype(np.int32)),
        metadata=[outgoing.metadata[row] for row in kept] if outgoing.metadata else (),
        shape=None if outgoing.shape is None else outgoing.shape + used.tobytes(),
    )


def _ascending(
    rows: npt.NDArray[np.intp], series: npt.NDArray[np.integer], timestamps: Int64
) -> npt.NDArray[np.intp]:
    """Sort by series and time; the order of equal times stays."""
    if not len(rows):
        return rows
    mine, times = series[rows], timestamps[rows]
    if (np.diff(mine) > 0).all():
        return rows
    return rows[np.lexsort((times, mine))]


class _Cut:
    def __init__(
        self,
        batch: Batch,
        rows: npt.NDArray[np.intp],
        point_rows: npt.NDArray[np.intp],
        exemplar_rows: npt.NDArray[np.intp],
        metadata: Sequence[Metadata | None],
    ) -> None:
        self._batch, self._metadata = batch, metadata
        self._rows, self._points, self._exemplars = rows, point_rows, exemplar_rows

    def outgoing(self, shape: bytes) -> Outgoing:
        batch = self._batch
        float_series, owner = _runs(batch.series_index[self._rows])
        point_series, point_owner = _runs(batch.histograms.series[self._points])
        messages = np.concatenate((float_series, point_series))
        exemplars, messages = self._exemplar_columns(messages)
        labels = [batch.series.labels[row] for row in messages.tolist()]
        starts = batch.start_timestamps
        histograms = HistogramColumns()
        if len(self._points):
            taken = take_histograms(batch.histograms, self._points)
            histograms = with_series(taken, (point_owner + len(float_series)).astype(np.int32))
        return Outgoing(
            labels,
            owner,
            batch.timestamps[self._rows],
            batch.values[self._rows],
            None if starts is None else starts[self._rows],
            histograms,
            exemplars,
            [self._metadata[row] for row in messages.tolist()],
            shape + messages.astype(np.int32).tobytes(),
        )

    def _exemplar_columns(self, messages: Int64) -> tuple[ExemplarColumns, Int64]:
        """Exemplars go with the samples of their series; a series without any gets a message of its own."""
        if not len(self._exemplars):
            return ExemplarColumns(), messages
        told = self._batch.exemplars
        place: dict[int, int] = {}
        for position, series in enumerate(messages.tolist()):
            place.setdefault(series, position)
        series_of = told.series[self._exemplars].tolist()
        extra = [series for series in dict.fromkeys(series_of) if series not in place]
        place |= {series: len(messages) + number for number, series in enumerate(extra)}
        owner = np.array([place[series] for series in series_of], np.int32)
        order = np.lexsort((told.timestamps[self._exemplars], owner))
        rows = self._exemplars[order]
        columns = ExemplarColumns(
            owner[order],
            told.timestamps[rows],
            told.values[rows],
            tuple(told.labels[row] for row in rows.tolist()),
        )
        return columns, np.concatenate((messages, np.array(extra, np.int64)))


def _runs(series: npt.NDArray[np.integer]) -> tuple[Int64, Int64]:
    """Return each series once, and for each sample which of these it belongs to."""
    if not len(series):
        return _no_times(), _no_times()
    first = np.ones(len(series), np.bool_)
    first[1:] = series[1:] != series[:-1]
    return series[first].astype(np.int64), (np.cumsum(first) - 1).astype(np.int64)
