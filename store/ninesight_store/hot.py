"""Hot rows: one batch (of one hour and kind) as raw columns, from which single series are picked by position.

A *folded* row (folder.py) holds several batches of one layout, one after the other as they were written: it has as
many samples of each series, and the layout is repeated in thought.

starts  start timestamps (starts.py), or nothing
times   b"" if all samples have the row's start_ms, else int32 offsets to it in ms
data    float64 values, or a point table (point_table.py) for histograms
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ninesight_store.checks import body_sum
from ninesight_store.config import HOUR_MS
from ninesight_store.contract import Batch, Float64, HistogramColumns, Int32, Int64
from ninesight_store.histograms import take_histograms
from ninesight_store.point_table import pack_points
from ninesight_store.schema import FLOATS, POINTS
from ninesight_store.starts import encode_starts

__all__ = ["HotDraft", "drafts_of", "times_blob", "times_from_blob", "values_from_blob"]


@dataclass(frozen=True)
class HotDraft:
    """A hot row before its series have ids: `rows` are rows of the batch's series table."""

    kind: int
    hour: int
    rows: Int32
    start_ms: int
    end_ms: int
    times: bytes
    data: bytes
    body_sum: int
    """Checksum of the blobs."""
    starts: bytes | None = None
    """Start timestamps, if any sample has one."""

    @property
    def count(self) -> int:
        """Samples in the row."""
        return len(self.rows)


def drafts_of(batch: Batch) -> list[HotDraft]:
    """Cut a checked batch into hot rows: floats first, then histogram points, hour by hour."""
    begun = batch.start_timestamps
    drafts = [
        _draft(
            FLOATS,
            hour,
            batch.series_index[rows],
            batch.timestamps[rows],
            _values_blob(batch.values[rows]),
            None if begun is None else begun[rows],
        )
        for hour, rows in _by_hour(batch.timestamps)
    ]
    points: HistogramColumns = batch.histograms
    for hour, rows in _by_hour(points.timestamps):
        taken = points if isinstance(rows, slice) else take_histograms(points, rows)
        drafts.append(
            _draft(POINTS, hour, taken.series, taken.timestamps, pack_points(taken), taken.start_timestamps)
        )
    return drafts


def times_from_blob(blob: bytes, start_ms: int, count: int) -> Int64:
    """Return the timestamps of a row: one a sample, or one for each of as many equal parts of the samples.

    Raises ValueError if they are not for `count` samples.
    """
    if not blob:
        return np.full(1, start_ms, np.int64)
    offsets = np.frombuffer(blob, "<i4").astype(np.int64) + start_ms
    if len(offsets) == count:
        return offsets
    half = len(offsets) // 2
    lengths = np.frombuffer(blob, "<u4")[half:]
    if len(lengths) != half or int(lengths.sum()) != count:
        raise ValueError(f"the timestamps are not those of {count} samples")
    even = bool((lengths == lengths[0]).all())
    return offsets[:half] if even else np.repeat(offsets[:half], lengths)


def values_from_blob(blob: bytes) -> Float64:
    """Return the values of a row; they share the blob's memory."""
    return np.frombuffer(blob, "<f8")


def _by_hour(timestamps: Int64) -> Iterator[tuple[int, slice | Int64]]:
    if not len(timestamps):
        return
    first, last = int(timestamps.min()) // HOUR_MS, int(timestamps.max()) // HOUR_MS
    if first == last:
        yield first, slice(None)
        return
    hours = timestamps.astype(np.int64) // HOUR_MS
    order = np.argsort(hours, kind="stable")
    edges = np.flatnonzero(np.diff(hours[order])) + 1
    for rows in np.split(order, edges):
        yield int(hours[rows[0]]), rows


def _draft(
    kind: int, hour: int, rows: Int32, timestamps: Int64, data: bytes, starts: Int64 | None
) -> HotDraft:
    start, end = int(timestamps.min()), int(timestamps.max())
    times = times_blob(timestamps, start, end)
    sum_of_both = body_sum(times, data)
    return HotDraft(kind, hour, rows, start, end, times, data, sum_of_both, encode_starts(starts))


def times_blob(timestamps: Int64, start: int, end: int) -> bytes:
    """Return the timestamps of a row as bytes; `start` and `end` are the first and last of them in time."""
    if start == end:
        return b""
    changes = np.flatnonzero(timestamps[1:] != timestamps[:-1]) + 1
    if 2 * (len(changes) + 1) >= len(timestamps):
        return (timestamps - start).astype("<i4").tobytes()
    firsts = np.concatenate([np.zeros(1, np.int64), changes])
    lengths = np.diff(np.append(firsts, len(timestamps)))
    offsets: bytes = (timestamps[firsts] - start).astype("<i4").tobytes()
    return offsets + lengths.astype("<u4").tobytes()


def _values_blob(values: Float64) -> bytes:
    return values.astype("<f8", copy=False).tobytes()
